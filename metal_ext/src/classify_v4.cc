// The kernels of the class-count layer for x86-64 with vectors of 64 bytes.

#define WNN_KERNELS kLevel4
#include "classify_kernels.h"
