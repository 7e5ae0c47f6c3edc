#include "bilevel/ops/operator_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace bilevel {
inline namespace v0 {
namespace {

/// Sums of products beyond double precision, so that their own rounding does not count.
template <class T>
long double dot(const std::vector<T>& a, const std::vector<T>& b, std::size_t image, std::size_t size_a) {
  long double sum = 0;
  for (std::size_t e = image * size_a; e < (image + 1) * size_a; ++e)
    sum += static_cast<long double>(a[e]) * static_cast<long double>(b[e]);
  return sum;
}

double ratio(long double error, long double allowed) {
  return error > 0 ? static_cast<double>(error / allowed) : static_cast<double>(error);
}

template <class T>
class OperatorChecker {
 public:
  OperatorChecker(Context& context, const LinearOperator<T>& op, std::uint64_t seed)
      : context_(context),
        op_(op),
        generator_(seed),
        frame_(context),
        active_(context, frame_, op.domain().n),
        x_(frame_.view<T>(op.domain())),
        back_(frame_.view<T>(op.domain())),
        z_(frame_.view<T>(op.range())) {}

  OperatorReport run() {
    unit_ = static_cast<long double>(op_.rounding()) * std::numeric_limits<T>::epsilon() / 2;
    norm_ = std::sqrt(static_cast<long double>(op_.norm2()));
    report_.least2 = std::numeric_limits<double>::infinity();
    for (int trial = 0; trial < 3; ++trial) compare();
    iterate();
    if (op_.norm2() > 0) iterate_inversely();
    freeze();
    judge();
    return report_;
  }

 private:
  using Values = std::vector<T>;

  Values noise(const Shape& shape) {
    Values values(shape.count());
    for (T& v : values) v = static_cast<T>(std::ldexp(static_cast<double>(generator_() >> 11), -52) - 1);
    return values;
  }
  std::size_t images() const { return static_cast<std::size_t>(op_.domain().n); }
  long double of_x(const Values& a, const Values& b, std::size_t i) const {
    return dot(a, b, i, op_.domain().image());
  }
  long double of_z(const Values& a, const Values& b, std::size_t i) const {
    return dot(a, b, i, op_.range().image());
  }
  Values apply(const Values& x) {
    upload<T>(context_, x, x_);
    op_.apply(context_, active_.active(), x_, z_);
    return download(context_, z_);
  }
  Values adjoint(const Values& z) {
    upload<T>(context_, z, z_);
    op_.adjoint(context_, active_.active(), z_, back_);
    return download(context_, back_);
  }
  Values normal(const Values& x) {
    upload<T>(context_, x, x_);
    op_.normal(context_, active_.active(), x_, back_);
    return download(context_, back_);
  }

  void compare() {
    const Values x = noise(op_.domain()), z = noise(op_.range());
    const Values ax = apply(x), atz = adjoint(z), both = adjoint(ax);
    Values difference = normal(x);
    for (std::size_t e = 0; e < difference.size(); ++e) difference[e] -= both[e];
    for (std::size_t i = 0; i < images(); ++i) {
      const long double xx = of_x(x, x, i), zz = of_z(z, z, i);
      worse(report_.adjoint_gap,
            ratio(std::abs(of_z(ax, z, i) - of_x(x, atz, i)), 2 * unit_ * std::sqrt(xx) * std::sqrt(zz)));
      worse(report_.normal_gap,
            ratio(std::sqrt(of_x(difference, difference, i)), 4 * norm_ * unit_ * std::sqrt(xx)));
      report_.least2 = std::min(report_.least2, static_cast<double>(of_z(ax, ax, i) / xx));
    }
  }
  /// Power iterations, every image for itself.
  void iterate() {
    Values x = noise(op_.domain());
    for (int step = 0; step < 20; ++step) {
      const Values ax = apply(x), next = adjoint(ax);
      for (std::size_t i = 0; i < images(); ++i) {
        const long double xx = of_x(x, x, i), length = std::sqrt(of_x(next, next, i));
        if (xx > 0) worse(report_.norm2, static_cast<double>(of_z(ax, ax, i) / xx));
        const std::size_t size = op_.domain().image();
        for (std::size_t e = i * size; e < (i + 1) * size; ++e)
          x[e] = length > 0 ? static_cast<T>(static_cast<long double>(next[e]) / length) : T(0);
      }
    }
  }
  /// Power iterations of norm2 - A^T A, whose largest eigenvalue belongs to the smallest of A^T A.
  void iterate_inversely() {
    Values x = noise(op_.domain());
    const std::size_t size = op_.domain().image();
    for (int step = 0; step < 30; ++step) {
      const Values ax = apply(x), next = adjoint(ax);
      for (std::size_t i = 0; i < images(); ++i) {
        const long double xx = of_x(x, x, i);
        if (!(xx > 0)) continue;
        report_.least2 = std::min(report_.least2, static_cast<double>(of_z(ax, ax, i) / xx));
        for (std::size_t e = i * size; e < (i + 1) * size; ++e)
          x[e] = static_cast<T>((x[e] - next[e] / op_.norm2()) / std::sqrt(xx));
      }
    }
  }
  /// The last image is frozen.
  void freeze() {
    const Values x = noise(op_.domain()), z = noise(op_.range());
    std::vector<std::uint8_t> open(images(), 1);
    open.back() = 0;
    active_.assign(context_, open);
    constexpr T mark = T(0.75);
    const auto kept = [&](const Values& result) {
      const auto size = static_cast<std::ptrdiff_t>(result.size() / images());
      report_.leaves_frozen = report_.leaves_frozen && std::all_of(result.end() - size, result.end(),
                                                                   [](T value) { return value == mark; });
    };
    fill(context_, z_, mark);
    kept(apply(x));
    fill(context_, back_, mark);
    kept(adjoint(z));
    fill(context_, back_, mark);
    kept(normal(x));
  }
  /// `worst` becomes the larger one; what is not a number is the worst.
  static void worse(double& worst, double value) {
    if (!(value <= worst)) worst = value;
  }

  void judge() {
    const auto blame = [&](bool right, const std::string& sentence) {
      if (!right && report_.fault.empty()) report_.fault = sentence;
    };
    const long double slack = norm_ > 0 ? 4 * unit_ / norm_ : 0;
    blame(report_.adjoint_gap <= 1, "<A x, z> and <x, A^T z> differ by " +
                                        std::to_string(report_.adjoint_gap) +
                                        " times what rounding() allows; correct adjoint() or rounding().");
    blame(report_.normal_gap <= 1, "normal() differs from adjoint() of apply() by " +
                                       std::to_string(report_.normal_gap) +
                                       " times what rounding() allows; correct normal() or rounding().");
    blame(report_.norm2 <= op_.norm2() * (1 + slack),
          "|A x|^2 / |x|^2 = " + std::to_string(report_.norm2) +
              " was found above norm2() = " + std::to_string(op_.norm2()) + "; norm2() must be a bound.");
    blame(report_.least2 >= op_.least2() - slack * op_.norm2(),
          "|A x|^2 / |x|^2 = " + std::to_string(report_.least2) +
              " was found below least2() = " + std::to_string(op_.least2()) + "; least2() must be a bound.");
    blame(report_.leaves_frozen,
          "the results of an image that was not active changed; work on those of Active.");
  }

  Context& context_;
  const LinearOperator<T>& op_;
  std::mt19937_64 generator_;
  Frame frame_;
  ActiveSet active_;
  View<T> x_, back_, z_;
  OperatorReport report_;
  long double unit_ = 0, norm_ = 0;
};

}  // namespace

template <class T>
OperatorReport check_operator(Context& context, const LinearOperator<T>& op, std::uint64_t seed) {
  return OperatorChecker<T>(context, op, seed).run();
}
template BILEVEL_API OperatorReport check_operator(Context&, const LinearOperator<float>&, std::uint64_t);
template BILEVEL_API OperatorReport check_operator(Context&, const LinearOperator<double>&, std::uint64_t);

}  // namespace v0
}  // namespace bilevel
