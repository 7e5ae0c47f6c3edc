#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/upper_loss.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "model/checks.hpp"
#include "model/classifier.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// Measures g, |grad g|^2 and |x|^2.
template <class T>
class CrossEntropy final : public UpperLoss<T> {
 public:
  CrossEntropy(Context& context, std::shared_ptr<const LinearOperator<T>> a, std::span<const int> labels)
      : of_(context, std::move(a), labels), mean_(of_.equal_weights(1.0 / of_.samples())) {}

  const char* name() const override { return "cross entropy"; }
  Shape shape() const override { return of_.shape(); }
  double lipschitz() const override { return of_.lipschitz(mean_); }
  bool convex() const override { return true; }
  double lower_bound() const override { return 0; }
  double value_error(std::span<const double> measured) const override {
    const double norm = std::sqrt(measured[2]);
    return of_.unit * (of_.value_reading(mean_) * norm + of_.value_still(mean_) + 4 * measured[0]) +
           summation_rounding(static_cast<std::size_t>(of_.samples())) * measured[0];
  }
  double gradient_error(double norm) const override {
    return of_.unit * (of_.reading(mean_) * norm + of_.still(mean_));
  }

  int measures() const override { return 3; }
  void measure(Context& context, const Active& active, View<const T> x, View<double> out) const override {
    const int n = shape().n;
    require_view(shape(), x, "cross entropy (point)");
    require_room(3 * static_cast<std::size_t>(n), out, "cross entropy (numbers)");
    Frame frame(context);
    const View<T> gradient = frame.view<T>(shape());
    of_.gradient(context, active, x, mean_, gradient, out.device_data());
    const auto square = [&](View<const T> v, double* to) {
      kernel_table<T>(context).dot(stream_of(context),
                                   {active, v.shape().image(), v.device_data(), v.device_data(), false, to});
    };
    square(gradient, out.device_data() + n);
    square(x, out.device_data() + 2 * n);
  }
  void gradient(Context& context, const Active& active, View<const T> x, double scale,
                View<T> out) const override {
    require_view(shape(), x, "cross entropy (point)");
    require_view(shape(), out, "cross entropy (gradient)");
    Frame frame(context);
    of_.gradient(context, active, x, scaled(scale), out,
                 frame.view<double>({shape().n, 1, 1, 1}).device_data());
  }
  bool weigh(Context& context, const Active& active, View<const T> x, View<const T> v,
             View<T> out) const override {
    require_view(shape(), x, "cross entropy (point)");
    require_view(shape(), v, "cross entropy (direction)");
    require_view(shape(), out, "cross entropy (weighed)");
    Frame frame(context);
    const View<T> probabilities = frame.view<T>(of_.a().range());
    of_.probabilities(context, active, x, probabilities.device_data());
    of_.product(context, active, probabilities.device_data(), v, mean_, out);
    return true;
  }

 private:
  SampleWeights scaled(double factor) const { return of_.equal_weights(factor * mean_.scale); }

  Classifier<T> of_;
  SampleWeights mean_;
};

}  // namespace

template <class T>
std::shared_ptr<const UpperLoss<T>> cross_entropy(Context& context,
                                                  std::shared_ptr<const LinearOperator<T>> a,
                                                  std::span<const int> labels) {
  return std::make_shared<CrossEntropy<T>>(context, std::move(a), labels);
}

#define BILEVEL_INSTANTIATE(T)                                            \
  template BILEVEL_API std::shared_ptr<const UpperLoss<T>> cross_entropy( \
      Context&, std::shared_ptr<const LinearOperator<T>>, std::span<const int>);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
