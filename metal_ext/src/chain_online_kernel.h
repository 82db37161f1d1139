// The kernels of the chain model that learns while it reads, compiled once for each kind of processor. They call no
// function that another file might define too.

#pragma once

#include "chain_online_learning.h"
#include "chain_online_predicting.h"

namespace wnn {
namespace chain {

extern const OnlineKernel WNN_ONLINE_KERNEL{Locate, Fetch, Read, Weigh, Finish, Learn};

}  // namespace chain
}  // namespace wnn
