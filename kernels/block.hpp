#pragma once

// Block collectives. A kernel body is written once against this interface and compiled with HostBlock (g++)
// or CudaBlock (nvcc): rectangles of a tile are visited by for_each and reduce, each of which ends with a
// barrier. Sums go to arrays that the whole block shares. Control flow between collectives is uniform over
// the block.

#ifdef __CUDACC__
#include "kernels/cuda_block.hpp"
#else
#include "kernels/host_block.hpp"
#endif
