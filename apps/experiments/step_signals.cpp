#include "apps/experiments/step_signals.hpp"

#include <memory>
#include <span>

#include "apps/experiments/legacy_random.hpp"
#include "bilevel/model/term.hpp"
#include "bilevel/ops/host_operator.hpp"

namespace bilevel_app::experiments {

namespace {

using bilevel::Shape;

/// (K x)_i = x_i - x_{i-1}, x_{-1} = 0. |K|^2 <= 4, a row has norm sqrt 2; one subtraction rounds an entry,
/// |fl(a - b) - (a - b)| <= u (|a| + |b|).
class ZeroLeftDifferences final : public bilevel::HostOperator<double> {
 public:
  explicit ZeroLeftDifferences(const Shape& shape)
      : HostOperator(shape, shape, forward, backward, Constants{4, 2}) {}
  double pixel_norm2() const override { return 2; }

 private:
  static void forward(std::span<const double> x, std::span<double> z) {
    z[0] = x[0];
    for (std::size_t i = 1; i < x.size(); ++i) z[i] = x[i] - x[i - 1];
  }
  static void backward(std::span<const double> z, std::span<double> x) {
    const std::size_t last = z.size() - 1;
    for (std::size_t i = 0; i < last; ++i) x[i] = z[i] - z[i + 1];
    x[last] = z[last];
  }
};

}  // namespace

StepSignals step_signals(std::uint32_t seed) {
  LegacyRandom random(seed);
  StepSignals out;
  for (int k = 0; k < kSignals; ++k) {
    const double centre = random.uniform(-1, 1), radius = random.uniform(-0.5, -1);
    for (int i = 0; i < kSignalLength; ++i) {
      const double t = i + 1 == kSignalLength ? 2 : i * (4.0 / (kSignalLength - 1)) - 2;
      out.clean.push_back((t - centre) * (t - centre) < radius * radius ? 1 : 0);
    }
  }
  for (const double x : out.clean) out.noisy.push_back(x + 0.1 * random.normal());
  return out;
}

bilevel::RegulariserSum signal_regulariser(SignalBorder border, const Shape& shape) {
  if (border == SignalBorder::neumann) return bilevel::TvOptions{};
  return bilevel::RegulariserSum(
      std::vector<bilevel::RegulariserOptions>{},
      {std::make_shared<bilevel::OperatorTerm<double>>(std::make_shared<ZeroLeftDifferences>(shape))});
}

}  // namespace bilevel_app::experiments
