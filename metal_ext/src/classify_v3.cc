// The kernels of the class-count layer for x86-64 with vectors of 32 bytes.

#define WNN_KERNELS kLevel3
#include "classify_kernels.h"
