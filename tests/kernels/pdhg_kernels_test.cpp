#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/pdhg_args.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

// The steps of the primal-dual hybrid gradient method against their definitions, pixel by pixel.

namespace bilevel {
namespace {

using namespace testing_support;
using Doubles = std::vector<double>;

constexpr int batch = 2;

template <class T>
class PdhgKernels : public ::testing::Test {
 protected:
  struct Sizes {
    int height, width, components;
    std::size_t plane() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
    std::size_t count() const { return batch * static_cast<std::size_t>(components) * plane(); }
  };
  static constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

  /// Values over several scales.
  Doubles values(const Sizes& s, double scale) {
    Doubles v;
    for (std::size_t e = 0; e < s.count(); ++e)
      v.push_back(static_cast<T>(scale * random_.normal() * std::pow(10.0, random_.uniform(-3, 1))));
    return v;
  }
  View<T> put(const Sizes& s, const Doubles& v) {
    tensors_.emplace_back(context_, Shape{batch, s.components, s.height, s.width},
                          std::vector<T>(v.begin(), v.end()));
    return tensors_.back().view();
  }
  Doubles get(View<T> v) {
    const std::vector<T> values = download<T>(context_, v);
    return {values.begin(), values.end()};
  }
  void TearDown() override { tensors_.clear(); }

  Random random_{seed(505)};
  Context context_{Device::open(test_device("cpu:2"))};
  Frame frame_{context_};
  ActiveSet active_{context_, frame_, batch};
  std::vector<Tensor<T>> tensors_;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PdhgKernels, Precisions);

/// |psi(p)| of the two potentials.
double psi(bool huber, double nu, double p) {
  if (!huber) return p / std::hypot(p, nu);
  return p < nu ? p / nu * (2 - p / nu) : 1;
}

/// alpha psi(p) for p + a psi(p) = r, by bisection.
double dual_modulus(bool huber, double alpha, double nu, double a, double r) {
  double low = 0, high = r;
  while (true) {
    const double p = 0.5 * (low + high);
    if (p == low || p == high) break;
    (p + a * psi(huber, nu, p) < r ? low : high) = p;
  }
  return alpha * psi(huber, nu, high);
}

TYPED_TEST(PdhgKernels, DualStepIsTheProximalMapOfTheConjugate) {
  using T = TypeParam;
  const std::pair<int, int> shapes[] = {{1, 1}, {1, 70}, {9, 1}, {17, 129}, {33, 66}};
  for (const auto& [height, width] : shapes)
    for (const int components : {1, 2})
      for (int kind = 0; kind < 4; ++kind)
        for (const double inverse_step : {0.0, 0.03, 40.0}) {
          const bool huber = kind % 2 == 1, isotropic = kind < 2;
          const double alpha = static_cast<T>(this->random_.log_uniform(0.01, 1)),
                       nu = static_cast<T>(this->random_.log_uniform(1e-3, 0.1)), a = alpha * inverse_step;
          const typename TestFixture::Sizes s{height, width, components};
          Doubles w[2] = {this->values(s, alpha), this->values(s, alpha)};
          const Doubles x = this->values(s, 1);
          if (inverse_step == 0)
            for (Doubles& v : w) std::fill(v.begin(), v.end(), std::numeric_limits<double>::quiet_NaN());
          const View<T> wx = this->put(s, w[0]), wy = this->put(s, w[1]), vx = this->put(s, x);
          kernel_table<T>(this->context_)
              .pdhg_dual(stream_of(this->context_),
                         {{height, width, static_cast<kernels::Potential>(huber), isotropic, alpha, nu, 0},
                          this->active_.active(),
                          components,
                          vx.device_data(),
                          inverse_step,
                          wx.device_data(),
                          wy.device_data()});
          const Doubles got[2] = {this->get(wx), this->get(wy)};
          const std::size_t plane = s.plane(), columns = static_cast<std::size_t>(width);
          const auto depth = static_cast<std::size_t>(components);
          for (std::size_t i = 0; i < batch; ++i)
            for (std::size_t p = 0; p < plane; ++p) {
              Doubles z, term;
              for (std::size_t k = 0; k < depth; ++k)
                for (const std::size_t direction : {0u, 1u}) {
                  const std::size_t e = (i * depth + k) * plane + p;
                  const bool inside = direction == 0 ? (p + 1) % columns != 0 : p + columns < plane;
                  const double next = inside ? x[e + (direction == 0 ? 1 : columns)] : x[e];
                  const double old = inverse_step > 0 ? inverse_step * w[direction][e] : 0;
                  z.push_back(old + next - x[e]);
                  term.push_back(2 * std::fabs(old) + std::fabs(next) + std::fabs(x[e]));
                }
              double r = norm(z), modulus = isotropic ? dual_modulus(huber, alpha, nu, a, r) : 0;
              for (std::size_t c = 0; c < z.size(); ++c) {
                if (!isotropic) {
                  r = std::fabs(z[c]);
                  modulus = dual_modulus(huber, alpha, nu, a, r);
                }
                const double want = r > 0 ? modulus * z[c] / r : 0;
                const double have = got[c % 2][(i * depth + c / 2) * plane + p];
                // d modulus / d r <= alpha l_1 / (1 + a l_1)
                const double steep = alpha * (huber ? 2 : 1) / (nu + a * (huber ? 2 : 1));
                const double error =
                    this->unit * (20 * modulus + 8 * steep * (norm(term) + r)) + 1e-13 * alpha;
                ASSERT_NEAR(have, want, error) << "huber " << huber << ", isotropic " << isotropic << ", r "
                                               << r << ", nu " << nu << ", a " << a;
              }
            }
          this->tensors_.clear();
        }
}

TYPED_TEST(PdhgKernels, PrimalStepIsTheProximalMapOfTheDataTerm) {
  using T = TypeParam;
  const std::pair<int, int> shapes[] = {{1, 1}, {1, 70}, {9, 1}, {17, 129}, {33, 66}};
  for (const auto& [height, width] : shapes)
    for (const int components : {1, 2})
      for (const bool masked : {false, true})
        for (const auto& [pull, fit] : {std::pair{1.0, 1.0}, std::pair{-1.0, 0.0}}) {
          const typename TestFixture::Sizes s{height, width, components};
          const double tau = static_cast<T>(0.7), theta = static_cast<T>(0.9), xi = static_cast<T>(0.2);
          const Doubles w[2] = {this->values(s, 1), this->values(s, 1)};
          const Doubles source = this->values(s, 1), x = this->values(s, 1);
          const Doubles mask = random_mask(height, width, 0.5, this->random_);
          const View<T> wx = this->put(s, w[0]), wy = this->put(s, w[1]), y = this->put(s, source),
                        vx = this->put(s, x), out = this->put(s, x);
          const Tensor<T> sampling(this->context_, {1, 1, height, width},
                                   std::vector<T>(mask.begin(), mask.end()));
          kernel_table<T>(this->context_)
              .pdhg_primal(stream_of(this->context_), {{height, width, {}, true, 1, 1, xi},
                                                       this->active_.active(),
                                                       components,
                                                       wx.device_data(),
                                                       wy.device_data(),
                                                       y.device_data(),
                                                       masked ? sampling.view().device_data() : nullptr,
                                                       pull,
                                                       fit,
                                                       tau,
                                                       theta,
                                                       vx.device_data(),
                                                       out.device_data()});
          const Doubles moved = this->get(vx), extrapolated = this->get(out);
          const std::size_t plane = s.plane(), columns = static_cast<std::size_t>(width);
          for (std::size_t e = 0; e < s.count(); ++e) {
            const std::size_t p = e % plane;
            const double before = p % columns > 0 ? w[0][e - 1] : 0,
                         above = p >= columns ? w[1][e - columns] : 0;
            const double adjoint = before - w[0][e] + above - w[1][e], weight = masked ? mask[p] : 1;
            const double next =
                (x[e] + tau * (pull * weight * source[e] - adjoint)) / (1 + tau * (xi + fit * weight));
            const double size = std::fabs(x[e]) + std::fabs(source[e]) + std::fabs(before) +
                                std::fabs(w[0][e]) + std::fabs(above) + std::fabs(w[1][e]);
            ASSERT_NEAR(moved[e], next, 10 * this->unit * size);
            ASSERT_NEAR(extrapolated[e], next + theta * (next - x[e]), 24 * this->unit * size);
          }
          this->tensors_.clear();
        }
}

}  // namespace
}  // namespace bilevel
