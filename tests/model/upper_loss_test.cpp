#include "bilevel/model/upper_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "bilevel/core/context.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/ops/host_operator.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"
#include "tests/support/thrown.hpp"

// Losses of the upper level against loops in extended precision: values, gradients, enclosures.

namespace bilevel {
namespace {

using namespace testing_support;
using Vector = std::vector<double>;

template <class T>
Vector widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

/// One loss of every kind on the same images: the library's, g_i in extended precision, H v, and L.
template <class T>
struct LossCase {
  std::string name;
  std::shared_ptr<const UpperLoss<T>> loss;
  std::function<long double(int i, std::span<const double> x)> value;
  std::function<double(std::size_t e)> weight;  ///< of a squared error, else empty
  /// H v, where it is neither that of a squared error nor left out.
  std::function<Vector(std::span<const double> x, std::span<const double> v)> product = {};
};

/// A x = matrix times an image, to `classes` channels of `samples`, as an operator and in extended precision.
struct MatrixOperator {
  int classes, samples;
  Vector a;  // row-major

  std::size_t rows() const { return static_cast<std::size_t>(classes * samples); }
  template <class From, class To>
  void apply(std::span<const From> x, std::span<To> z) const {
    for (std::size_t r = 0; r < rows(); ++r) {
      To sum = 0;
      for (std::size_t e = 0; e < x.size(); ++e)
        sum += static_cast<To>(a[r * x.size() + e]) * static_cast<To>(x[e]);
      z[r] = sum;
    }
  }
  template <class From, class To>
  void adjoint(std::span<const From> z, std::span<To> x) const {
    std::fill(x.begin(), x.end(), To(0));
    for (std::size_t r = 0; r < rows(); ++r)
      for (std::size_t e = 0; e < x.size(); ++e)
        x[e] += static_cast<To>(a[r * x.size() + e]) * static_cast<To>(z[r]);
  }
  template <class T>
  std::shared_ptr<const LinearOperator<T>> on(const Shape& images) const {
    const double rounding = static_cast<double>(images.image() + rows() + 3) * norm(a);
    return std::make_shared<HostOperator<T>>(
        images, Shape{images.n, classes, 1, samples},
        [m = *this](std::span<const T> x, std::span<T> z) { m.apply(x, z); },
        [m = *this](std::span<const T> z, std::span<T> x) { m.adjoint(z, x); },
        typename HostOperator<T>::Constants{dot(a, a) * (1 + 1e-12), rounding});
  }
  std::vector<long double> exact(std::span<const double> x) const {
    std::vector<long double> z(rows());
    apply(x, std::span<long double>(z));
    return z;
  }
};

template <class T>
class UpperLosses : public ::testing::Test {
 public:
  /// Squared errors on some channels, with and without weights; losses behind a matrix; smoothed absolute
  /// values, convex; a sine, which is not.
  std::vector<LossCase<T>> cases() {
    std::vector<LossCase<T>> out;
    const auto each = shape_.image(),
               pixels = static_cast<std::size_t>(shape_.h) * static_cast<std::size_t>(shape_.w);
    for (const int channels : {1, 2, 3})
      for (const bool weighted : {false, true}) {
        const std::size_t compared = static_cast<std::size_t>(channels) * pixels;
        const Shape part{shape_.n, channels, shape_.h, shape_.w};
        const Vector t = representable<T>(random_.normal_vector(part.count()));
        Vector w;
        for (std::size_t e = 0; e < compared && weighted; ++e)
          w.push_back(random_.integer(0, 2) == 0 ? 0 : random_.log_uniform(1e-3, 1e3));
        if (weighted) w[0] = 1;
        w = representable<T>(w);
        tensors_.push_back(std::make_unique<Tensor<T>>(context_, part, narrow<T>(t)));
        const View<const T> truth = std::as_const(*tensors_.back()).view();
        out.push_back(
            {"squared error, " + std::to_string(channels) + (weighted ? " channels, weighted" : " channels"),
             weighted ? squared_error<T>(context_, truth, w, shape_) : squared_error<T>(truth, shape_),
             [=](int i, std::span<const double> x) {
               long double sum = 0;
               for (std::size_t e = 0; e < compared; ++e) {
                 const long double d =
                     static_cast<long double>(x[e]) - t[static_cast<std::size_t>(i) * compared + e];
                 sum += (weighted ? w[e] : 1) * d * d / 2;
               }
               return sum;
             },
             [=](std::size_t e) { return e < compared ? (weighted ? w[e] : 1) : 0; }});
      }
    for (const int classes : {0, 1, 3}) add_behind_matrix(out, classes);
    const Vector t = representable<T>(random_.normal_vector(each));
    const double nu = 0.1;
    const auto add = [&](const char* name, auto value, auto slope, double l, bool convex, double bound) {
      out.push_back({name,
                     std::make_shared<HostLoss<T>>(
                         shape_,
                         [=](int i, std::span<const T> x) {
                           double sum = 0;
                           for (std::size_t e = 0; e < x.size(); ++e)
                             sum += value(static_cast<double>(x[e]) - t[e] * (i + 1));
                           return sum;
                         },
                         [=](int i, std::span<const T> x, std::span<T> b) {
                           for (std::size_t e = 0; e < x.size(); ++e)
                             b[e] = static_cast<T>(slope(static_cast<double>(x[e]) - t[e] * (i + 1)));
                         },
                         typename HostLoss<T>::Constants{l, convex, bound}),
                     [=](int i, std::span<const double> x) {
                       long double sum = 0;
                       for (std::size_t e = 0; e < x.size(); ++e)
                         sum += value(static_cast<long double>(x[e]) - t[e] * (i + 1));
                       return sum;
                     },
                     {}});
    };
    add(
        "smoothed absolute values", [=](auto d) { return std::sqrt(d * d + nu * nu); },
        [=](auto d) { return d / std::sqrt(d * d + nu * nu); }, 1 / nu, true, 0);
    add(
        "sine", [](auto d) { return std::sin(3 * d) / 9; }, [](auto d) { return std::cos(3 * d) / 3; }, 1,
        false, -static_cast<double>(each) / 9);
    return out;
  }
  /// Cross entropy, or without classes least squares, of seven samples.
  void add_behind_matrix(std::vector<LossCase<T>>& out, int classes) {
    MatrixOperator m{std::max(classes, 1), 7, {}};
    m.a = representable<T>(random_.normal_vector(m.rows() * shape_.image()));
    for (double& e : m.a) e = static_cast<double>(static_cast<T>(0.2 * e));
    const std::size_t samples = 7, rows = m.rows();
    if (classes == 0) {
      const Shape range{shape_.n, 1, 1, 7};
      const Vector b = representable<T>(random_.normal_vector(range.count()));
      tensors_.push_back(std::make_unique<Tensor<T>>(context_, range, narrow<T>(b)));
      out.push_back(
          {"observed least squares",
           observed_least_squares<T>(context_, m.on<T>(shape_), std::as_const(*tensors_.back()).view()),
           [=](int i, std::span<const double> x) {
             const std::vector<long double> z = m.exact(x);
             long double sum = 0;
             for (std::size_t r = 0; r < rows; ++r) {
               const long double d = z[r] - b[static_cast<std::size_t>(i) * rows + r];
               sum += d * d / 2;
             }
             return sum;
           },
           {},
           [=](std::span<const double>, std::span<const double> v) {
             const std::vector<long double> z = m.exact(v);
             Vector h(v.size());
             m.adjoint(std::span<const long double>(z), std::span<double>(h));
             return h;
           }});
      return;
    }
    std::vector<int> labels;
    for (std::size_t j = 0; j < samples; ++j) labels.push_back(random_.integer(0, std::max(classes - 1, 1)));
    const auto probabilities = [=](std::span<const double> x) {
      std::vector<long double> s = m.exact(x), p(rows);
      for (std::size_t j = 0; j < samples; ++j) {
        long double sum = classes == 1 ? 1 : 0;
        for (std::size_t r = j; r < rows; r += samples) sum += std::exp(s[r]);
        for (std::size_t r = j; r < rows; r += samples) p[r] = std::exp(s[r]) / sum;
      }
      return p;
    };
    out.push_back({"cross entropy, " + std::to_string(classes),
                   cross_entropy<T>(context_, m.on<T>(shape_), labels),
                   [=](int, std::span<const double> x) {
                     const std::vector<long double> p = probabilities(x);
                     long double sum = 0;
                     for (std::size_t j = 0; j < samples; ++j) {
                       const auto label = static_cast<std::size_t>(labels[j]);
                       const long double own = classes > 1 ? p[label * samples + j] : label ? p[j] : 1 - p[j];
                       sum -= std::log(own) / samples;
                     }
                     return sum;
                   },
                   {},
                   [=](std::span<const double> x, std::span<const double> v) {
                     const std::vector<long double> p = probabilities(x);
                     std::vector<long double> z = m.exact(v);
                     for (std::size_t j = 0; j < samples; ++j) {
                       long double mean = 0;
                       for (std::size_t r = j; r < rows; r += samples) mean += p[r] * z[r];
                       for (std::size_t r = j; r < rows; r += samples) z[r] = p[r] * (z[r] - mean) / samples;
                     }
                     Vector h(v.size());
                     m.adjoint(std::span<const long double>(z), std::span<double>(h));
                     return h;
                   }});
  }
  /// What was measured of image i.
  Vector numbers(const UpperLoss<T>& loss, const Vector& measured, int i) const {
    Vector own;
    for (int row = 0; row < loss.measures(); ++row)
      own.push_back(measured[static_cast<std::size_t>(row * shape_.n + i)]);
    return own;
  }
  Tensor<T> tensor(const Vector& values) { return Tensor<T>(context_, shape_, narrow<T>(values)); }
  Vector measured(const UpperLoss<T>& loss, const Tensor<T>& x) {
    Tensor<double> out(context_, {loss.measures(), shape_.n, 1, 1});
    loss.measure(context_, all_.active(), x.view(), out.view());
    return download(context_, out);
  }
  Vector gradient(const UpperLoss<T>& loss, const Tensor<T>& x, double scale = 1) {
    Tensor<T> out = tensor(random_.normal_vector(shape_.count()));
    loss.gradient(context_, all_.active(), x.view(), scale, out.view());
    return widened(download(context_, out));
  }
  Vector part(const Vector& v, int i) const {
    const auto each = static_cast<std::ptrdiff_t>(shape_.image());
    return {v.begin() + i * each, v.begin() + (i + 1) * each};
  }

  Random random_{seed(1401)};
  Context context_{Device::open(test_device("cpu:1"))};
  Shape shape_{3, 3, 4, 5};
  Frame frame_{context_};
  ActiveSet all_{context_, frame_, shape_.n};
  std::vector<std::unique_ptr<Tensor<T>>> tensors_;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(UpperLosses, Precisions);

TYPED_TEST(UpperLosses, GradientsAreThoseOfTheValue) {
  const double unit = unit_roundoff<TypeParam>;
  for (const LossCase<TypeParam>& c : this->cases()) {
    SCOPED_TRACE(c.name);
    const Vector x = representable<TypeParam>(this->random_.normal_vector(this->shape_.count()));
    const Tensor<TypeParam> at = this->tensor(x);
    const Vector b = this->gradient(*c.loss, at, 0.25), measured = this->measured(*c.loss, at);
    for (int i = 0; i < this->shape_.n; ++i) {
      const Vector own = this->part(x, i), g = this->part(b, i), d = this->random_.normal_vector(own.size());
      const Vector numbers = this->numbers(*c.loss, measured, i);
      const double value = static_cast<double>(c.value(i, own));
      EXPECT_NEAR(c.loss->enclose(numbers, 0).value, value,
                  c.loss->value_error(numbers) + 1e-12 * (1 + std::abs(value)));
      // the remainder of the Taylor expansion falls as h^2, down to rounding
      for (double h = 1e-1; h > 1e-5; h /= 4) {
        const double change = static_cast<double>(c.value(i, add_scaled(own, h, d)) - c.value(i, own));
        // rounding of b in T, and of the point moved in double
        const double slope = 4 * norm(g) + c.loss->lipschitz() * h * norm(d);
        const double rounding =
            h * 16 * unit * norm(d) * (4 * norm(g) + c.loss->lipschitz() * (norm(own) + 10)) +
            4 * h * norm(d) * c.loss->gradient_error(norm(own)) +
            4 * unit_roundoff<double> * slope * (norm(own) + h * norm(d));
        EXPECT_LE(std::abs(change - 4 * h * dot(g, d)),
                  c.loss->lipschitz() * h * h * dot(d, d) / 2 * (1 + 1e-9) + rounding);
      }
    }
  }
}

TYPED_TEST(UpperLosses, WeighedVectorsAreThoseOfTheHessian) {
  for (const LossCase<TypeParam>& c : this->cases()) {
    SCOPED_TRACE(c.name);
    const Vector v = representable<TypeParam>(this->random_.normal_vector(this->shape_.count()));
    const Tensor<TypeParam> direction = this->tensor(v);
    Tensor<TypeParam> out = this->tensor(v);
    if (!c.loss->weigh(this->context_, this->all_.active(), direction.view(), direction.view(), out.view())) {
      EXPECT_EQ(widened(download(this->context_, out)), v);
      if (c.weight) {
        EXPECT_EQ(c.loss->lipschitz(), 1) << "the identity";
      }
      continue;
    }
    const Vector got = widened(download(this->context_, out));
    if (c.product) {
      for (int i = 0; i < this->shape_.n; ++i) {
        const Vector own = this->part(v, i), wanted = c.product(own, own);
        EXPECT_LE(distance(this->part(got, i), wanted),
                  1000 * unit_roundoff<TypeParam> * c.loss->lipschitz() * norm(own));
        EXPECT_GT(norm(wanted), 0);
      }
      continue;
    }
    for (std::size_t e = 0; e < v.size(); ++e)
      EXPECT_NEAR(got[e], c.weight(e % this->shape_.image()) * v[e],
                  2 * unit_roundoff<TypeParam> * std::abs(got[e]));
  }
}

/// For xhat at most epsilon from x: along the gradient, against it, towards the edge of the ball or anywhere.
TYPED_TEST(UpperLosses, EnclosuresContainTheValue) {
  for (const LossCase<TypeParam>& c : this->cases()) {
    SCOPED_TRACE(c.name);
    const std::string kind = std::string(sizeof(TypeParam) == 4 ? "float, " : "double, ") + c.name;
    RatioRecorder plain_width(kind + ", width / change"),
        sharp_width(kind + ", with adjoint, width / change");
    for (int trial = 0; trial < 60 * repetitions(1); ++trial) {
      const Vector x = representable<TypeParam>(this->random_.normal_vector(this->shape_.count()));
      const Tensor<TypeParam> at = this->tensor(x);
      const Vector measured = this->measured(*c.loss, at), b = this->gradient(*c.loss, at);
      const double penalty = this->random_.uniform(0, 1), n = this->shape_.n;
      Vector epsilon, product, error;
      long double exact = penalty, before = penalty, slack = 1e-18L;
      for (int i = 0; i < this->shape_.n; ++i) {
        const Vector own = this->part(x, i), g = this->part(b, i);
        const int kind_of = this->random_.integer(0, 2);
        Vector e = kind_of == 0 || norm(g) == 0 ? this->random_.normal_vector(own.size()) : g;
        e = scaled_to(e, (kind_of == 1 ? 1 : -1) * this->random_.log_uniform(1e-7, 10));
        const Vector xhat = add_scaled(own, 1, e);
        epsilon.push_back(norm(add_scaled(xhat, -1, own)) * (1 + 1e-12) *
                          (this->random_.integer(0, 1) ? 1 : this->random_.uniform(1, 3)));
        exact += c.value(i, xhat) / n;
        before += c.value(i, own) / n;
        slack += 1e-14L * (std::abs(c.value(i, own)) + norm(g) * norm(e) + 1) / n;
        // <b, e> as the adjoint tells it, wrong by up to its error; the gradient is rounded to T
        const double along = dot(g, e) / n, off = std::abs(along) * this->random_.log_uniform(1e-6, 1e-1);
        const double rounding =
            8 * unit_roundoff<TypeParam> * norm(e) / n * (norm(g) + c.loss->lipschitz() * (norm(own) + 10));
        product.push_back(-along + off * this->random_.uniform(-1, 1));
        error.push_back(off + rounding);
      }
      const LossEnclosure plain = enclose_loss<TypeParam>(*c.loss, measured, epsilon, penalty);
      const LossEnclosure sharp =
          enclose_loss<TypeParam>(*c.loss, measured, epsilon, product, error, penalty);
      for (const LossEnclosure& f : {plain, sharp}) {
        EXPECT_LE(f.lower, exact + slack);
        EXPECT_GE(f.upper, exact - slack);
        EXPECT_LE(f.lower, f.value);
        EXPECT_LE(f.value, f.upper);
      }
      EXPECT_GE(sharp.lower, plain.lower - static_cast<double>(slack));
      EXPECT_LE(sharp.upper, plain.upper + static_cast<double>(slack));
      const auto change = static_cast<double>(std::abs(exact - before));
      plain_width.add((plain.upper - plain.lower) / change);
      sharp_width.add((sharp.upper - sharp.lower) / change);
    }
  }
}

TYPED_TEST(UpperLosses, EnclosuresAreExactWithoutErrorAndNeverBelowTheirBound) {
  Tensor<TypeParam> truth(this->context_, this->shape_);
  const auto loss = squared_error<TypeParam>(std::as_const(truth).view(), this->shape_);
  const Vector squares = {9, 16, 0}, zero(3, 0), large(3, 100), infinite = {HUGE_VAL, 0, 0};
  const LossEnclosure exact = enclose_loss<TypeParam>(*loss, squares, zero, 0.5);
  EXPECT_DOUBLE_EQ(exact.lower, 0.5 + 12.5 / 3);
  EXPECT_EQ(exact.value, exact.lower);
  EXPECT_EQ(exact.upper, exact.lower);
  EXPECT_EQ(enclose_loss<TypeParam>(*loss, squares, large, 0.5).lower, 0.5);
  EXPECT_EQ(enclose_loss<TypeParam>(*loss, squares, infinite, 0.5).upper, HUGE_VAL);
  EXPECT_DOUBLE_EQ(enclose_loss<TypeParam>(*loss, squares, infinite, 0.5).lower, 0.5 + 8.0 / 3);
  const auto cases = this->cases();
  const LossCase<TypeParam>& sine = cases.back();
  const Vector any = {1, 1};
  EXPECT_EQ(sine.loss->enclose(any, 100).lower, sine.loss->lower_bound());
  EXPECT_EQ(sine.loss->enclose(any, HUGE_VAL).upper, HUGE_VAL);
}

TYPED_TEST(UpperLosses, BehindAnOperatorAreRefusedWithoutWhatTheyNeed) {
  using T = TypeParam;
  const Shape shape{2, 1, 1, 3};
  const MatrixOperator three{3, 2, Vector(18, 1.0)}, one{1, 2, Vector(6, 1.0)};
  const auto message = [&](const MatrixOperator& m, std::vector<int> labels) {
    return message_of<ConfigError>([&] { cross_entropy<T>(this->context_, m.on<T>(shape), labels); });
  };
  EXPECT_NE(
      message(three, {0, 3}).find("label 3 of sample 1 is out of range; with 3 scores a sample it is 0 to 2"),
      std::string::npos);
  EXPECT_NE(message(one, {-1, 1}).find("0 to 1"), std::string::npos);
  EXPECT_THROW(cross_entropy<T>(this->context_, nullptr, std::vector<int>{0}), ConfigError);
  EXPECT_THROW(cross_entropy<T>(this->context_, one.on<T>(shape), std::vector<int>{0}), ShapeError);
  Tensor<T> b(this->context_, {2, 1, 1, 2}),
      infinite(this->context_, {2, 1, 1, 2}, std::vector<T>(4, HUGE_VALF));
  EXPECT_THROW(observed_least_squares<T>(this->context_, nullptr, b.view()), ConfigError);
  EXPECT_THROW(observed_least_squares<T>(this->context_, three.on<T>(shape), b.view()), ShapeError);
  EXPECT_THROW(observed_least_squares<T>(this->context_, one.on<T>(shape), infinite.view()), ConfigError);
  infinite.upload(this->context_, std::vector<T>(4, std::numeric_limits<T>::quiet_NaN()));
  EXPECT_THROW(observed_least_squares<T>(this->context_, one.on<T>(shape), infinite.view()), ConfigError);
}

/// The mean square of a region of interest is that of its pixels.
TYPED_TEST(UpperLosses, ReportsTellTheMeanSquareOfTheRegion) {
  const Shape shape{1, 1, 2, 3};
  Tensor<TypeParam> truth(this->context_, shape, std::vector<TypeParam>(6, 0)),
      x(this->context_, shape, std::vector<TypeParam>{1, 2, 3, 4, 5, 6});
  Frame frame(this->context_);
  ActiveSet all(this->context_, frame, 1);
  const Vector roi = {0, 1, 1, 0, 0, 0};
  const View<const TypeParam> t = std::as_const(truth).view();
  const auto whole = squared_error<TypeParam>(t, shape),
             part = squared_error<TypeParam>(this->context_, t, roi, shape);
  const auto mean = [&](const UpperLoss<TypeParam>& loss) {
    Tensor<double> out(this->context_, {1, 1, 1, 1});
    loss.measure(this->context_, all.active(), std::as_const(x).view(), out.view());
    return loss.mean_square(download(this->context_, out));
  };
  EXPECT_DOUBLE_EQ(mean(*whole), 91.0 / 6);
  EXPECT_DOUBLE_EQ(mean(*part), 13.0 / 2);
  EXPECT_TRUE(std::isnan(this->cases().back().loss->mean_square(roi)));
}

}  // namespace
}  // namespace bilevel
