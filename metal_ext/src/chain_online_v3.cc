// The kernels of the chain model that learns, for x86-64 with vectors of 32 bytes.

#define WNN_ONLINE_KERNEL kOnlineLevel3
#include "chain_online_kernel.h"
