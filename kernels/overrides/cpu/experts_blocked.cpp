#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void override_experts(Table<T>&) {}
template void override_experts(Table<float>&);
template void override_experts(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
