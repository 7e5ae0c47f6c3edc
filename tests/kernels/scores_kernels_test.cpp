#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/scores_args.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

// The kernels of classification against loops in extended precision, with scores that overflow an exp.

namespace bilevel {
namespace {

using namespace testing_support;
using Extended = std::vector<long double>;

constexpr int batch = 2;

/// One image of [classes][samples]; the derivatives of sum_j t_j l_j.
struct Naive {
  int classes, samples;

  std::size_t at(int c, int j) const { return static_cast<std::size_t>(c * samples + j); }
  /// Of one class the probabilities of class 1 and 0.
  std::vector<long double> probabilities(const Extended& s, int j) const {
    std::vector<long double> all;
    for (int c = 0; c < classes; ++c) all.push_back(s[at(c, j)]);
    if (classes == 1) all.push_back(0);
    const long double most = *std::max_element(all.begin(), all.end());
    long double sum = 0;
    for (long double& e : all) sum += e = std::exp(e - most);
    for (long double& e : all) e /= sum;
    return all;
  }
  std::size_t of(int label) const { return static_cast<std::size_t>(classes == 1 ? 1 - label : label); }
  /// What the other labels have, by which loss and slope keep their digits where it is small.
  long double others(const Extended& p, int label) const {
    long double sum = 0;
    for (std::size_t c = 0; c < p.size(); ++c) sum += c == of(label) ? 0 : p[c];
    return sum;
  }
  long double loss(const Extended& s, int label, int j) const {
    const Extended p = probabilities(s, j);
    if (others(p, label) < 0.5L) return -std::log1p(-others(p, label));
    std::vector<long double> all;
    for (int c = 0; c < classes; ++c) all.push_back(s[at(c, j)]);
    if (classes == 1) all.push_back(0);
    const long double own = all[of(label)];
    long double sum = 0;
    for (long double e : all) sum += std::exp(e - own - 11000);  // which may be as large as e^10000
    return std::log(sum) + 11000;
  }
  Extended slope(const Extended& s, int label, int j) const {
    Extended p = probabilities(s, j);
    p[of(label)] = -others(p, label);
    p.resize(static_cast<std::size_t>(classes));
    return p;
  }
};

template <class T>
class ScoreKernels : public ::testing::Test {
 public:
  struct Batch {
    std::vector<double> values;
    Tensor<T> tensor;
  };
  Batch scores(const Naive& of, double size) {
    std::vector<double> v(static_cast<std::size_t>(batch * of.classes * of.samples));
    for (double& e : v) e = random_.integer(0, 9) == 0 ? 0 : size * random_.normal();
    v = representable<T>(v);
    return {v, Tensor<T>(context_, {batch, of.classes, 1, of.samples}, narrow<T>(v))};
  }
  Extended part(const std::vector<double>& v, int i) const {
    const std::size_t each = v.size() / batch;
    return Extended(v.begin() + static_cast<std::ptrdiff_t>(each) * i,
                    v.begin() + static_cast<std::ptrdiff_t>(each) * (i + 1));
  }
  static std::vector<double> host(Context& context, const Tensor<T>& t) {
    const std::vector<T> v = download(context, t);
    return {v.begin(), v.end()};
  }

  Random random_{seed(3701)};
  Context context_{Device::open(test_device("cpu:2"))};
  Frame frame_{context_};
  ActiveSet all_{context_, frame_, batch};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ScoreKernels, Precisions);

TYPED_TEST(ScoreKernels, AreTheFormulas) {
  using T = TypeParam;
  const double u = unit_roundoff<T>;
  for (const int classes : {1, 2, 3, 10})
    for (const int samples : {1, 5, 130, 4100})
      for (const double size : {1e-3, 3.0, 1e3}) {
        SCOPED_TRACE(std::to_string(classes) + " classes, " + std::to_string(samples) + " samples, size " +
                     std::to_string(size));
        const Naive naive{classes, samples};
        auto s = this->scores(naive, size), m = this->scores(naive, 1);
        std::vector<std::int32_t> labels;
        std::vector<double> weights;
        for (int j = 0; j < samples; ++j) {
          labels.push_back(this->random_.integer(0, std::max(classes - 1, 1)));
          weights.push_back(this->random_.uniform());
        }
        const double scale = 0.3;
        Context& context = this->context_;
        const Tensor<std::int32_t> of(context, {1, 1, 1, samples}, labels);
        const Tensor<double> t(context, {1, 1, 1, samples}, weights);
        const kernels::ScoreShape shape{this->all_.active(), classes, samples};
        const kernels::Table<T>& kernel = kernel_table<T>(context);
        const kernels::Stream& stream = stream_of(context);
        const Shape image = s.tensor.shape();
        Tensor<T> probability(context, image), gradient(context, image), product(context, image);
        Tensor<double> value(context, {batch, 1, 1, 1}), mixed(context, {samples, batch, 1, 1});
        const T* scores = s.tensor.view().device_data();
        kernel.score_probability(stream, {shape, scores, probability.view().device_data()});
        kernel.score_product(stream, {shape, probability.view().device_data(), t.view().device_data(), scale,
                                      m.tensor.view().device_data(), product.view().device_data()});
        kernel.score_mixed(stream, {shape, batch, scores, of.view().device_data(), scale,
                                    m.tensor.view().device_data(), mixed.view().device_data()});
        kernel.score_gradient(stream, {shape, scores, of.view().device_data(), t.view().device_data(), scale,
                                       gradient.view().device_data(), value.view().device_data()});
        const auto p = this->host(context, probability), g = this->host(context, gradient),
                   h = this->host(context, product);
        const std::vector<double> values = download(context, value), rows = download(context, mixed);
        // in place
        kernel.score_gradient(stream, {shape, scores, of.view().device_data(), t.view().device_data(), scale,
                                       s.tensor.view().device_data(), value.view().device_data()});
        kernel.score_product(stream, {shape, probability.view().device_data(), t.view().device_data(), scale,
                                      m.tensor.view().device_data(), m.tensor.view().device_data()});
        EXPECT_EQ(this->host(context, s.tensor), g);
        EXPECT_EQ(this->host(context, m.tensor), h);

        const double smallest = 16 * static_cast<double>(std::numeric_limits<T>::min());
        const double off = (2 * classes + 12) * u;  // of the probabilities of a sample, in norm
        for (int i = 0; i < batch; ++i) {
          const Extended x = this->part(s.values, i), d = this->part(m.values, i);
          const std::size_t first = static_cast<std::size_t>(i * classes * samples);
          long double sum = 0, most = 0;
          for (int j = 0; j < samples; ++j) {
            const auto k = static_cast<std::size_t>(j);
            const Extended exact = naive.probabilities(x, j), slope = naive.slope(x, labels[k], j);
            const double t_j = scale * weights[k];
            long double mean = 0, along = 0, length = 0;
            for (int c = 0; c < classes; ++c) {
              const long double step = d[naive.at(c, j)];
              mean += exact[static_cast<std::size_t>(c)] * step;
              along += slope[static_cast<std::size_t>(c)] * step;
              length += step * step;
            }
            length = std::sqrt(length);
            double error_p = 0, error_g = 0, error_h = 0;
            for (int c = 0; c < classes; ++c) {
              const std::size_t e = first + naive.at(c, j), own = static_cast<std::size_t>(c);
              error_p = std::hypot(error_p, static_cast<double>(p[e] - exact[own]));
              error_g = std::hypot(error_g, static_cast<double>(g[e] - t_j * slope[own]));
              error_h = std::hypot(error_h,
                                   static_cast<double>(h[e] - t_j * exact[own] * (d[naive.at(c, j)] - mean)));
            }
            ASSERT_LE(error_p, off) << j;
            ASSERT_LE(error_g, t_j * off) << j;
            // relative to the slope and to the loss, however small: scores are given exactly here
            long double steep = 0;
            for (const long double e : slope) steep += e * e;
            ASSERT_LE(error_g,
                      t_j * (off + 4 * u * size * 20) * static_cast<double>(std::sqrt(steep)) + smallest)
                << j;
            ASSERT_LE(error_h, t_j * 3 * off * static_cast<double>(length)) << j;
            ASSERT_NEAR(rows[static_cast<std::size_t>(j * batch + i)], static_cast<double>(scale * along),
                        scale * off * static_cast<double>(length))
                << j;
            const long double loss = naive.loss(x, labels[k], j);
            sum += t_j * loss;
            most += t_j * (off + 4 * u * size * 20) * loss + smallest;
          }
          EXPECT_NEAR(values[static_cast<std::size_t>(i)], static_cast<double>(sum),
                      static_cast<double>(most + 1e-14L * sum));
        }
      }
}

}  // namespace
}  // namespace bilevel
