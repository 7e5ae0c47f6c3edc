// Blas on the CPU with CBLAS. Results are cut into tiles that do not depend on the number of threads; each
// tile is one job and one call of CBLAS on one thread, with the whole inner dimension.

#include <algorithm>
#include <cstdint>

#include "device/cblas_module.hpp"
#include "device/library_call.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

// Tiles of C: large enough that packing its operands costs a few per cent of the product.
constexpr std::int64_t tile_rows = 128, tile_columns = 256;
constexpr std::int64_t tile_vector = 256;  // entries of y

class SequentialScope {
 public:
  explicit SequentialScope(const CblasModule& module) : module_(module) { module_.begin(); }
  ~SequentialScope() { module_.end(); }
  SequentialScope(const SequentialScope&) = delete;
  SequentialScope& operator=(const SequentialScope&) = delete;

 private:
  const CblasModule& module_;
};

template <class T>
class CblasBlas final : public Blas<T> {
 public:
  explicit CblasBlas(Context& context) : Blas<T>(context), module_(cblas_module()) {
    if constexpr (sizeof(T) == sizeof(float))
      products_ = module_.products_float;
    else
      products_ = module_.products_double;
  }

 private:
  void run_gemm(Context& context, const Gemm<T>& g) const override {
    const std::int64_t across = (g.n + tile_columns - 1) / tile_columns;
    const std::int64_t down = (g.m + tile_rows - 1) / tile_rows;
    const SequentialScope sequential(module_);
    for_each_job(context, g.batch * down * across, [&g, down, across, this](std::int64_t job) {
      const std::int64_t matrix = job / (down * across);
      const std::int64_t i = job / across % down * tile_rows, j = job % across * tile_columns;
      Gemm<T> tile = g;
      tile.a += matrix * g.stride_a + i * (g.transpose_a == Transpose::no ? g.lda : 1);
      tile.b += matrix * g.stride_b + j * (g.transpose_b == Transpose::no ? 1 : g.ldb);
      tile.c += matrix * g.stride_c + i * g.ldc + j;
      tile.m = static_cast<int>(std::min(tile_rows, g.m - i));
      tile.n = static_cast<int>(std::min(tile_columns, g.n - j));
      products_.gemm(tile);
    });
  }

  void run_gemv(Context& context, const Gemv<T>& g) const override {
    const bool plain = g.transpose == Transpose::no;
    const std::int64_t rows = plain ? g.m : g.n;
    const SequentialScope sequential(module_);
    for_each_job(context, (rows + tile_vector - 1) / tile_vector, [&g, plain, rows, this](std::int64_t job) {
      const std::int64_t i = job * tile_vector;
      Gemv<T> tile = g;
      (plain ? tile.m : tile.n) = static_cast<int>(std::min(tile_vector, rows - i));
      tile.a += i * (plain ? g.lda : 1);
      tile.y += i;
      products_.gemv(tile);
    });
  }

  const CblasModule& module_;
  CblasProducts<T> products_;
};

}  // namespace

template <class T>
std::unique_ptr<Blas<T>> make_cpu_blas(Context& context) {
  return std::make_unique<CblasBlas<T>>(context);
}
template std::unique_ptr<Blas<float>> make_cpu_blas<float>(Context&);
template std::unique_ptr<Blas<double>> make_cpu_blas<double>(Context&);

}  // namespace v0
}  // namespace bilevel
