#include "apps/experiments/step_signals.hpp"

#include <memory>
#include <span>

#include "bilevel/model/term.hpp"
#include "bilevel/ops/host_operator.hpp"

namespace bilevel_app::experiments {

namespace {

using bilevel::Shape;

/// (K x)_i = x_i - x_{i-1}, x_{-1} = 0, of every channel. |K|^2 <= 4, a row has norm sqrt 2; one subtraction
/// rounds an entry, |fl(a - b) - (a - b)| <= u (|a| + |b|).
class ZeroLeftDifferences final : public bilevel::HostOperator<double> {
 public:
  explicit ZeroLeftDifferences(const Shape& shape)
      : HostOperator(shape, shape, forward(shape), backward(shape), Constants{4, 2}) {}
  double pixel_norm2() const override { return 2; }

 private:
  static Map forward(const Shape& shape) {
    return [w = static_cast<std::size_t>(shape.w)](std::span<const double> x, std::span<double> z) {
      for (std::size_t first = 0; first < x.size(); first += w) {
        z[first] = x[first];
        for (std::size_t i = first + 1; i < first + w; ++i) z[i] = x[i] - x[i - 1];
      }
    };
  }
  static Map backward(const Shape& shape) {
    return [w = static_cast<std::size_t>(shape.w)](std::span<const double> z, std::span<double> x) {
      for (std::size_t last = w - 1; last < z.size(); last += w) {
        for (std::size_t i = last + 1 - w; i < last; ++i) x[i] = z[i] - z[i + 1];
        x[last] = z[last];
      }
    };
  }
};

}  // namespace

StepSignals::StepSignals(std::uint32_t seed, int count, int length) : random(seed) {
  for (int k = 0; k < count; ++k) {
    const double centre = random.uniform(-1, 1), radius = random.uniform(-0.5, -1);
    for (int i = 0; i < length; ++i) {
      const double t = i + 1 == length ? 2 : i * (4.0 / (length - 1)) - 2;
      clean.push_back((t - centre) * (t - centre) < radius * radius ? 1 : 0);
    }
  }
}

std::vector<double> StepSignals::noisy(double sigma) {
  std::vector<double> out;
  for (const double x : clean) out.push_back(x + sigma * random.normal());
  return out;
}

bilevel::RegulariserSum signal_regulariser(SignalBorder border, const Shape& shape) {
  if (border == SignalBorder::neumann) return bilevel::TvOptions{};
  return bilevel::RegulariserSum(
      std::vector<bilevel::RegulariserOptions>{},
      {std::make_shared<bilevel::OperatorTerm<double>>(std::make_shared<ZeroLeftDifferences>(shape))});
}

}  // namespace bilevel_app::experiments
