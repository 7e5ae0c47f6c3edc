#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "bilevel/model/term.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

template <class T>
class TermChecker {
 public:
  TermChecker(Context& context, Term<T>& term, std::span<const double> values, std::uint64_t seed)
      : context_(context),
        term_(term),
        values_(values.begin(), values.end()),
        generator_(seed),
        shape_(term.shape()),
        n_(static_cast<std::size_t>(shape_.n)),
        frame_(context),
        active_(context, frame_, shape_.n),
        x_(frame_.view<T>(shape_)),
        p_(frame_.view<T>(shape_)),
        out_(frame_.view<T>(shape_)),
        value_(frame_.view<double>({shape_.n, 1, 1, 1})),
        sums_(frame_.view<double>(
            {static_cast<int>(std::max<std::size_t>(values_.size(), 1)), shape_.n, 1, 1})) {}

  TermReport run() {
    term_.bind(values_);
    constants_ = term_.constants();
    if (constants_.mixed_lipschitz.size() != values_.size()) {
      report_.fault = "constants() gives " + std::to_string(constants_.mixed_lipschitz.size()) +
                      " entries of mixed_lipschitz for " + std::to_string(values_.size()) + " values.";
      return report_;
    }
    report_.convexity = std::numeric_limits<double>::infinity();
    for (const double scale : {0.0, 0.01, 1.0}) {
      const Values x = image(scale);
      for (const double length : {1e-3, 0.03, 1.0}) {
        step(x, image(length));
        step(x, pixel(length));
        step(x, downhill(x, length));
      }
      products(x);
      iterate(x);
      mixed(x);
    }
    freeze();
    judge();
    return report_;
  }

 private:
  using Values = std::vector<T>;
  struct At {
    std::vector<double> value;
    Values gradient;
  };

  /// Uniform noise of at most `scale`.
  Values image(double scale) {
    Values values(shape_.count());
    for (T& v : values)
      v = static_cast<T>(scale * (std::ldexp(static_cast<double>(generator_() >> 11), -52) - 1));
    return values;
  }
  /// The same in one pixel of every image, where a potential of pixels bends most.
  Values pixel(double scale) {
    Values values(shape_.count(), T(0)), noise = image(scale);
    for (std::size_t i = 0; i < n_; ++i) {
      const std::size_t e = i * shape_.image() + generator_() % shape_.image();
      values[e] = noise[e];
    }
    return values;
  }
  /// Against the gradient, so that the value changes.
  Values downhill(const Values& x, double scale) {
    Values d = gradient(x).gradient;
    const double length = scale * std::sqrt(static_cast<double>(shape_.image()));
    for (std::size_t i = 0; i < n_; ++i) {
      const double steep = norm(d, i);
      for (std::size_t e = i * shape_.image(); e < (i + 1) * shape_.image(); ++e)
        d[e] = steep > 0 ? static_cast<T>(-length / steep * d[e]) : T(0);
    }
    return d;
  }
  double dot(const Values& a, const Values& b, std::size_t i) const {
    long double sum = 0;
    for (std::size_t e = i * shape_.image(); e < (i + 1) * shape_.image(); ++e)
      sum += static_cast<long double>(a[e]) * static_cast<long double>(b[e]);
    return static_cast<double>(sum);
  }
  double norm(const Values& a, std::size_t i) const { return std::sqrt(dot(a, a, i)); }
  static Values combined(const Values& a, double factor, const Values& b) {
    Values out = a;
    for (std::size_t e = 0; e < out.size(); ++e) out[e] = static_cast<T>(out[e] + factor * b[e]);
    return out;
  }

  At gradient(const Values& x) {
    upload<T>(context_, x, x_);
    term_.value_and_gradient(context_, active_.active(), x_, out_, value_);
    return {download(context_, View<const double>(value_)), download(context_, View<const T>(out_))};
  }
  Values product(const Values& x, const Values& p) {
    upload<T>(context_, x, x_);
    upload<T>(context_, p, p_);
    term_.hessian_product(context_, active_.active(), x_, p_, out_);
    return download(context_, View<const T>(out_));
  }
  Values column(const Values& x, std::size_t j) {
    std::vector<double> direction(values_.size(), 0);
    direction[j] = 1;
    upload<T>(context_, x, x_);
    term_.mixed_forward(context_, active_.active(), x_, direction, out_);
    return download(context_, View<const T>(out_));
  }
  double gradient_rounding(const Values& x, std::size_t i) const {
    return unit_ * (constants_.rounding * norm(x, i) + constants_.rounding_still);
  }
  static void worse(double& worst, double value) {
    if (!(value <= worst)) worst = value;
  }
  /// error / allowed; what is not a number is wrong.
  static double gap(double error, double allowed) {
    return error > 0 ? error / allowed : std::isnan(error) ? std::numeric_limits<double>::infinity() : 0;
  }

  /// Value and gradient along x + d: the remainders of Taylor's formula with the Hessian's Lipschitz
  /// constant.
  void step(const Values& x, const Values& d) {
    const Values moved = combined(x, 1, d), way = combined(moved, -1, x);  // what the sum really moved by
    const At before = gradient(x), after = gradient(moved);
    const Values bend = product(x, way);
    for (std::size_t i = 0; i < n_; ++i) {
      const double length = norm(way, i), h = constants_.hessian_lipschitz;
      const double rounding = gradient_rounding(x, i) + gradient_rounding(moved, i) +
                              unit_ * constants_.product_rounding * length;
      const double off = norm(combined(combined(after.gradient, -1, before.gradient), -1, bend), i);
      const double sums = unit_ * (norm(before.gradient, i) + norm(after.gradient, i) + norm(bend, i));
      worse(report_.gradient_gap, gap(off, h * length * length / 2 * slack + rounding + 4 * sums));
      const double remainder =
          after.value[i] - before.value[i] - dot(before.gradient, way, i) - dot(bend, way, i) / 2;
      const double values = 16 * unit_ * (std::abs(before.value[i]) + std::abs(after.value[i]) + 1);
      worse(report_.value_gap, gap(std::abs(remainder), h * length * length * length / 6 * slack +
                                                            (rounding + sums) * length + values));
    }
  }

  void products(const Values& x) {
    const Values p = image(1), q = image(1), hp = product(x, p), hq = product(x, q);
    for (std::size_t i = 0; i < n_; ++i) {
      const double size = norm(p, i) * norm(q, i);
      worse(report_.symmetry_gap,
            gap(std::abs(dot(hp, q, i) - dot(p, hq, i)),
                unit_ * (2 * constants_.product_rounding + 4 * constants_.lipschitz) * size));
      report_.convexity = std::min(report_.convexity, dot(hp, p, i) / dot(p, p, i));
    }
  }

  /// Power iterations, every image for itself.
  void iterate(const Values& x) {
    Values p = image(1);
    for (int k = 0; k < 20; ++k) {
      const Values next = product(x, p);
      for (std::size_t i = 0; i < n_; ++i) {
        const double square = dot(p, p, i), length = norm(next, i);
        if (square > 0) worse(report_.lipschitz, dot(next, p, i) / square);
        for (std::size_t e = i * shape_.image(); e < (i + 1) * shape_.image(); ++e)
          p[e] = length > 0 ? static_cast<T>(next[e] / length) : T(0);
      }
    }
  }

  void mixed(const Values& x) {
    const Values q = image(1), moved = combined(x, 1, image(0.3));
    upload<T>(context_, x, x_);
    upload<T>(context_, q, p_);
    if (!values_.empty()) term_.mixed_adjoint(context_, active_.active(), x_, p_, sums_);
    const std::vector<double> sums = download(context_, View<const double>(sums_));
    for (std::size_t j = 0; j < values_.size(); ++j) {
      const Values b = column(x, j), other = column(moved, j), slope = difference(x, j);
      for (std::size_t i = 0; i < n_; ++i) {
        const double length = norm(q, i), rounding = unit_ * constants_.mixed_rounding;
        worse(report_.adjoint_gap, gap(std::abs(dot(b, q, i) - sums[j * n_ + i]),
                                       (2 * rounding + 16 * unit_ * norm(b, i)) * length));
        worse(report_.mixed_gap,
              gap(norm(combined(b, -1, slope), i), difference_error_ * (norm(b, i) + scale_[i])));
        worse(report_.mixed_lipschitz_gap,
              gap(norm(combined(other, -1, b), i),
                  constants_.mixed_lipschitz[j] * norm(combined(moved, -1, x), i) * slack + 2 * rounding +
                      8 * unit_ * norm(b, i)));
      }
    }
  }
  /// Fourth-order differences of the gradient in t_j; what their rounding is relative to stays in scale_.
  Values difference(const Values& x, std::size_t j) {
    const double h = (std::is_same_v<T, float> ? 0.02 : 1e-3) * std::max(std::abs(values_[j]), 1e-6);
    Values sum(shape_.count(), T(0));
    scale_.assign(n_, 0);
    for (const auto& [at, weight] :
         {std::pair{-2.0, 1.0 / 12}, {-1.0, -8.0 / 12}, {1.0, 8.0 / 12}, {2.0, -1.0 / 12}}) {
      std::vector<double> t = values_;
      t[j] += at * h;
      term_.bind(t);
      const At there = gradient(x);
      sum = combined(sum, weight / h, there.gradient);
      for (std::size_t i = 0; i < n_; ++i)
        scale_[i] = std::max(scale_[i], norm(there.gradient, i) / std::max(std::abs(values_[j]), 1e-6));
    }
    term_.bind(values_);
    return sum;
  }

  /// The last image is frozen.
  void freeze() {
    const Values x = image(1);
    upload<T>(context_, x, x_);
    upload<T>(context_, x, p_);
    std::vector<std::uint8_t> open(n_, 1);
    open.back() = 0;
    active_.assign(context_, open);
    constexpr T mark = T(0.75);
    const auto kept = [&](const auto& f) {
      fill<T>(context_, out_, mark);
      f();
      const Values result = download(context_, View<const T>(out_));
      report_.leaves_frozen =
          report_.leaves_frozen && std::all_of(result.end() - static_cast<std::ptrdiff_t>(shape_.image()),
                                               result.end(), [mark](T v) { return v == mark; });
    };
    const std::vector<double> direction(values_.size(), 1);
    kept([&] { term_.value_and_gradient(context_, active_.active(), x_, out_, value_); });
    kept([&] { term_.hessian_product(context_, active_.active(), x_, p_, out_); });
    kept([&] { term_.mixed_forward(context_, active_.active(), x_, direction, out_); });
  }

  void judge() {
    const auto blame = [&](bool right, const std::string& sentence) {
      if (!right && report_.fault.empty()) report_.fault = sentence;
    };
    const auto times = [](double gap) { return std::to_string(gap) + " times what "; };
    blame(report_.gradient_gap <= 1,
          "gradient and hessian_product do not belong together, or hessian_lipschitz is too small: a step "
          "changes the gradient by " +
              times(report_.gradient_gap) + "the constants allow.");
    blame(report_.value_gap <= 1, "value and gradient do not belong together: a step changes the value by " +
                                      times(report_.value_gap) + "the constants allow.");
    blame(report_.symmetry_gap <= 1,
          "hessian_product is not symmetric, by " + times(report_.symmetry_gap) + "product_rounding allows.");
    const double rounding = unit_ * (constants_.product_rounding + 8 * constants_.lipschitz);
    blame(report_.convexity >= -rounding, "<p, R'' p> / |p|^2 = " + std::to_string(report_.convexity) +
                                              " was found below zero; a term must be convex.");
    blame(report_.lipschitz <= constants_.lipschitz + rounding,
          "<p, R'' p> / |p|^2 = " + std::to_string(report_.lipschitz) + " was found above lipschitz = " +
              std::to_string(constants_.lipschitz) + "; it must be a bound.");
    blame(report_.mixed_gap <= 1, "mixed_forward differs from differences of the gradient by " +
                                      times(report_.mixed_gap) + "they are exact to.");
    blame(report_.adjoint_gap <= 1, "mixed_adjoint is not the adjoint of mixed_forward, by " +
                                        times(report_.adjoint_gap) + "mixed_rounding allows.");
    blame(report_.mixed_lipschitz_gap <= 1, "a step changes the mixed derivative by " +
                                                times(report_.mixed_lipschitz_gap) +
                                                "mixed_lipschitz allows.");
    blame(report_.leaves_frozen,
          "the results of an image that was not active changed; work on those of Active.");
  }

  static constexpr double slack = 1 + 1e-9;
  static constexpr double unit_ = std::numeric_limits<T>::epsilon() / 2;
  static constexpr double difference_error_ = std::is_same_v<T, float> ? 1e-2 : 1e-6;
  Context& context_;
  Term<T>& term_;
  std::vector<double> values_, scale_;
  std::mt19937_64 generator_;
  Shape shape_;
  std::size_t n_;
  Frame frame_;
  ActiveSet active_;
  View<T> x_, p_, out_;
  View<double> value_, sums_;
  TermConstants constants_;
  TermReport report_;
};

}  // namespace

template <class T>
TermReport check_term(Context& context, Term<T>& term, std::span<const double> values, std::uint64_t seed) {
  return TermChecker<T>(context, term, values, seed).run();
}
template BILEVEL_API TermReport check_term(Context&, Term<float>&, std::span<const double>, std::uint64_t);
template BILEVEL_API TermReport check_term(Context&, Term<double>&, std::span<const double>, std::uint64_t);

}  // namespace v0
}  // namespace bilevel
