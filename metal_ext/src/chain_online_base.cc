// The kernels of the chain model that learns, for every processor.

#define WNN_ONLINE_KERNEL kOnlineBase
#include "chain_online_kernel.h"
