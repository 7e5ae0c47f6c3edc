#include "kernels/launch.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_experts(Table<T>&) {}
template void fill_experts(Table<float>&);
template void fill_experts(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
