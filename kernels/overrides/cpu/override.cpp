#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void override_analysis(Table<T>& table);
template <class T>
void override_experts(Table<T>& table);

/// The hand-tuned versions of this folder.
template <class T>
void override_kernels(Table<T>& table) {
  override_analysis(table);
#ifdef BILEVEL_FUSED_EXPERTS
  override_experts(table);
#endif
}
template void override_kernels(Table<float>&);
template void override_kernels(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
