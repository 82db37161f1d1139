// The kernels of the class-count layer for every processor.

#define WNN_KERNELS kBase
#include "classify_kernels.h"
