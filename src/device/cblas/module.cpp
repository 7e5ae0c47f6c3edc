#include <cblas.h>

#include "bilevel/core/version.hpp"
#include "device/cblas/sequential.hpp"
#include "device/cblas_module.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

CBLAS_TRANSPOSE cblas(Transpose t) { return t == Transpose::no ? CblasNoTrans : CblasTrans; }

void gemm_float(const Gemm<float>& g) {
  cblas_sgemm(CblasRowMajor, cblas(g.transpose_a), cblas(g.transpose_b), g.m, g.n, g.k, g.alpha, g.a, g.lda,
              g.b, g.ldb, g.beta, g.c, g.ldc);
}
void gemm_double(const Gemm<double>& g) {
  cblas_dgemm(CblasRowMajor, cblas(g.transpose_a), cblas(g.transpose_b), g.m, g.n, g.k, g.alpha, g.a, g.lda,
              g.b, g.ldb, g.beta, g.c, g.ldc);
}
void gemv_float(const Gemv<float>& g) {
  cblas_sgemv(CblasRowMajor, cblas(g.transpose), g.m, g.n, g.alpha, g.a, g.lda, g.x, 1, g.beta, g.y, 1);
}
void gemv_double(const Gemv<double>& g) {
  cblas_dgemv(CblasRowMajor, cblas(g.transpose), g.m, g.n, g.alpha, g.a, g.lda, g.x, 1, g.beta, g.y, 1);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const CblasModule* bilevel_cblas_module() {
  static constexpr CblasModule module = {{BILEVEL_VERSION, sizeof(CblasModule)},
                                         {gemm_float, gemv_float},
                                         {gemm_double, gemv_double},
                                         begin_sequential,
                                         end_sequential};
  return &module;
}

}  // namespace v0
}  // namespace bilevel
