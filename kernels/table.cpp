#include "kernels/table.hpp"

#ifdef BILEVEL_GENERIC_EXPERTS
namespace bilevel::kernels::BILEVEL_GENERIC_EXPERTS {
template <class T>
void fill_experts(Table<T>& table);
}
#endif

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_analysis_gradient(Table<T>& table);
template <class T>
void fill_analysis_second(Table<T>& table);
template <class T>
void fill_analysis_identity(Table<T>& table);
template <class T>
void fill_analysis_generalised(Table<T>& table);
template <class T>
void fill_experts(Table<T>& table);
template <class T>
void fill_experts_bound(Table<T>& table);
template <class T>
void fill_spectrum(Table<T>& table);
template <class T>
void fill_wavelet(Table<T>& table);
template <class T>
void fill_blur(Table<T>& table);
template <class T>
void fill_projected(Table<T>& table);
template <class T>
void fill_join(Table<T>& table);
template <class T>
void fill_loss(Table<T>& table);
template <class T>
void fill_scores(Table<T>& table);
template <class T>
void fill_krylov(Table<T>& table);
template <class T>
void fill_lbfgs(Table<T>& table);
template <class T>
void fill_probe(Table<T>& table);
template <class T>
void override_kernels(Table<T>& table);
template <class T>
void override_experts(Table<T>& table);

namespace {

/// The generic bodies of what override_experts replaces. An instruction set that has the latter takes those
/// of another one, or none where that is not built.
template <class T>
void fill_generic_experts(Table<T>& table) {
#if defined(BILEVEL_GENERIC_EXPERTS)
  BILEVEL_GENERIC_EXPERTS::fill_experts(table);
#elif defined(BILEVEL_FUSED_EXPERTS)
  override_experts(table);
#else
  fill_experts(table);
#endif
}

template <class T>
Table<T> filled(bool overrides) {
  Table<T> table{};
  fill_analysis_gradient(table);
  fill_analysis_second(table);
  fill_analysis_identity(table);
  fill_analysis_generalised(table);
  fill_generic_experts(table);
  fill_experts_bound(table);
  fill_spectrum(table);
  fill_wavelet(table);
  fill_blur(table);
  fill_projected(table);
  fill_join(table);
  fill_loss(table);
  fill_scores(table);
  fill_krylov(table);
  fill_lbfgs(table);
  fill_probe(table);
  if (overrides) override_kernels(table);
  return table;
}

}  // namespace

const Table<float>& table_float(bool overrides) {
  static const Table<float> generic = filled<float>(false), tuned = filled<float>(true);
  return overrides ? tuned : generic;
}
const Table<double>& table_double(bool overrides) {
  static const Table<double> generic = filled<double>(false), tuned = filled<double>(true);
  return overrides ? tuned : generic;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
