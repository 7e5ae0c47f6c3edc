// The squared error of the upper level; sums in double over a fixed partition.

#include "kernels/launch.hpp"
#include "kernels/loss_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T>
struct Misfit {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4;
  MisfitArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = image_of(a.x, a.image, t);
    const T* truth = a.truth ? image_of(a.truth, a.size, t) : nullptr;
    const T* weight = a.weight;
    if (!truth)
      block.reduce_elements<1>(
          t.column, t.columns,
          [=](int e) -> Sums<1> { return {{(weight ? double(weight[e]) : 1.0) * (double(x[e]) * x[e])}}; },
          partial);
    else if (weight)
      block.reduce_elements<1>(
          t.column, t.columns,
          [=](int e) -> Sums<1> {
            const double d = double(x[e]) - double(truth[e]);
            return {{double(weight[e]) * (d * d)}};
          },
          partial);
    else
      block.reduce_elements<1>(
          t.column, t.columns,
          [=](int e) -> Sums<1> {
            const double d = double(x[e]) - double(truth[e]);
            return {{d * d}};
          },
          partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.out[image] = total[0]; }
};

template <class T>
struct MisfitGradient {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  MisfitGradientArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* x = image_of(a.x, a.image, t);
    const T* truth = image_of(a.truth, a.size, t);
    const T* weight = a.weight;
    T* out = image_of(a.out, a.image, t);
    const double scale = a.scale;
    const int left = static_cast<int>(a.size) - t.column;
    const int compared = left < 0 ? 0 : left < t.columns ? left : t.columns;
    // In double, and the difference first, so that rounding is relative to it.
    const auto misfit = [=](int e) { return scale * (double(x[e]) - (truth ? double(truth[e]) : 0.0)); };
    if (weight)
      block.for_elements(t.column, compared, [=](int e) { out[e] = T(double(weight[e]) * misfit(e)); });
    else
      block.for_elements(t.column, compared, [=](int e) { out[e] = T(misfit(e)); });
    block.for_elements(t.column + compared, t.columns - compared, [=](int e) { out[e] = T(0); });
  }
};

template <class T>
void misfit(const Stream& stream, const MisfitArgs<T>& a) {
  launch_elements(stream, a.active, a.size, Misfit<T>{a});
}
template <class T>
void misfit_gradient(const Stream& stream, const MisfitGradientArgs<T>& a) {
  launch_elements(stream, a.active, a.image, MisfitGradient<T>{a});
}

}  // namespace

template <class T>
void fill_loss(Table<T>& table) {
  table.misfit = misfit<T>;
  table.misfit_gradient = misfit_gradient<T>;
}
template void fill_loss(Table<float>&);
template void fill_loss(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
