#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

inline TvOptions options_of(const oracle::TvModel& m) {
  return {static_cast<TvPotential>(m.potential), m.isotropic, m.xi_inside_alpha,
          static_cast<TvDifferences>(m.differences)};
}

/// alpha, nu and xi of the model with one transform each, learned or fixed.
inline Parameters parameters_of(const oracle::TvModel& m,
                                const std::array<Transform, 3>& transforms = {Transform::exp, Transform::exp,
                                                                              Transform::exp},
                                const std::array<bool, 3>& learned = {true, true, true}) {
  const std::array<const char*, 3> names = {"alpha", "nu", "xi"};
  const std::array<double, 3> values = {m.alpha, m.nu, m.xi};
  std::vector<Segment> segments;
  for (std::size_t k = 0; k < 3; ++k) {
    if (k == 1 && m.potential == oracle::Potential::quadratic) continue;
    const double lower = learned[k] && transforms[k] != Transform::identity ? 1e-14 : 0;
    segments.push_back({names[k], transforms[k], values[k], lower, 1e9, learned[k]});
  }
  return Parameters(segments);
}

/// A ComposedEnergy of differences on its own device with device memory for one batch; arrays cross as
/// vectors of double.
template <class T>
class TvLab {
 public:
  TvLab(const oracle::TvModel& m, int n, const std::vector<double>& y, const Parameters& parameters,
        const std::string& device = test_device("cpu:2"))
      : model_(m),
        n_(n),
        shape_{n, 1, m.height, m.width},
        context_(Device::open(device)),
        frame_(context_),
        active_(context_, frame_, n),
        y_(context_, shape_, narrow<T>(y)),
        energy_(context_, y_.view(), parameters, options_of(m), m.mask),
        x_(frame_.view<T>(shape_)),
        p_(frame_.view<T>(shape_)),
        out_(frame_.view<T>(shape_)),
        diagonal_(frame_.view<T>(shape_)),
        weights_(frame_.view<T>({n * energy_.weight_arrays(), 1, m.height, m.width})),
        dual_(frame_.view<float>({n * energy_.dual_arrays(), 1, m.height, m.width})),
        sums_(frame_.view<double>({16, n, 1, 1})),
        epsilon_(frame_.view<double>({n, 1, 1, 1})),
        gradient_(frame_.view<double>({n, 1, 1, 1})) {
    model_.alpha = energy_.value("alpha");
    if (m.potential != oracle::Potential::quadratic) model_.nu = energy_.value("nu");
    model_.xi = energy_.value("xi");
  }
  TvLab(const oracle::TvModel& m, int n, const std::vector<double>& y) : TvLab(m, n, y, parameters_of(m)) {}

  /// The oracle's model at exactly the values the energy is bound to.
  const oracle::TvModel& model() const { return model_; }
  ComposedEnergy<T>& energy() { return energy_; }
  Context& context() { return context_; }
  std::size_t pixels() const { return shape_.image(); }

  struct Gradient {
    std::vector<double> gradient, value, norm2, rounding;
  };
  Gradient gradient(const std::vector<double>& x) {
    put(x, x_);
    energy_.value_and_gradient(context_, active(), x_, out_, {row(0), row(1), row(2)});
    return {get(out_), get(row(0)), get(row(1)), get(row(2))};
  }

  /// Inverse diagonal; the weights stay for hessian_product. An empty `dual` asks for the exact Hessian.
  std::vector<double> linearise(const std::vector<double>& x, const std::vector<double>& dual = {}) {
    put(x, x_);
    if (!dual.empty()) upload<float>(context_, narrow<float>(dual), dual_);
    energy_.linearise(context_, active(), x_, dual.empty() ? View<const float>() : View<const float>(dual_),
                      weights_, diagonal_);
    return get(diagonal_);
  }
  struct Product {
    std::vector<double> product, inner;
  };
  Product hessian_product(const std::vector<double>& p) {
    put(p, p_);
    energy_.hessian_product(context_, active(), weights_, p_, out_, row(0));
    return {get(out_), get(row(0))};
  }

  /// Dual fields: horizontal components of all images, then the vertical ones.
  std::vector<double> start_dual(const std::vector<double>& x) {
    put(x, x_);
    energy_.start_dual(context_, active(), x_, dual_);
    return get(dual_);
  }
  std::vector<double> update_dual(const std::vector<double>& x, const std::vector<double>& d, double step,
                                  const std::vector<double>& dual) {
    put(x, x_);
    put(d, p_);
    upload<float>(context_, narrow<float>(dual), dual_);
    fill<double>(context_, epsilon_, step);
    energy_.update_dual(context_, active(), x_, p_, epsilon_, dual_);
    return get(dual_);
  }

  /// (B^T q)_i, [N][p].
  std::vector<double> mixed(const std::vector<double>& x, const std::vector<double>& q) {
    put(x, x_);
    put(q, p_);
    energy_.mixed_adjoint(context_, active(), x_, p_, rows(energy_.mixed_sums()));
    return energy_.mixed(get(rows(energy_.mixed_sums())));
  }
  struct Column {
    std::vector<double> out, norm2;
  };
  Column mixed_forward(const std::vector<double>& x, const std::vector<double>& direction) {
    put(x, x_);
    energy_.mixed_forward(context_, active(), x_, direction, out_, row(0));
    return {get(out_), get(row(0))};
  }

  /// Bounds of every image at x in the directions q and v (empty: none), with |xhat - x| <= epsilon and
  /// |grad Phi(x)| <= gradient.
  std::vector<DirectionalBound> directional(const std::vector<double>& x, const std::vector<double>& q,
                                            const std::vector<double>& v, const std::vector<double>& epsilon,
                                            const std::vector<double>& gradient) {
    put(x, x_);
    put(q, p_);
    if (!v.empty()) put(v, out_);
    upload<double>(context_, epsilon, epsilon_);
    upload<double>(context_, gradient, gradient_);
    const View<double> sums = rows(energy_.bound_sums());
    energy_.directional_sums(context_, active(), x_, p_, v.empty() ? View<const T>() : View<const T>(out_),
                             {epsilon_, gradient_}, sums);
    const std::vector<double> values = get(sums);
    std::vector<DirectionalBound> bounds;
    for (int i = 0; i < n_; ++i) {
      const double norm_q = norm(image_of(q, pixels(), i));
      const double norm_v = v.empty() ? 0 : norm(image_of(v, pixels(), i));
      bounds.push_back(energy_.directional(values, i, epsilon[static_cast<std::size_t>(i)], norm_q, norm_v));
    }
    return bounds;
  }

 private:
  Active active() const { return active_.active(); }
  View<double> rows(int count) { return {sums_.device_data(), {count, n_, 1, 1}}; }
  Scalars row(int k) { return {sums_.device_data() + k * n_, {n_, 1, 1, 1}}; }
  void put(const std::vector<double>& values, View<T> target) {
    upload<T>(context_, narrow<T>(values), target);
  }
  template <class U>
  std::vector<double> get(View<U> view) {
    const std::vector<U> values = download<U>(context_, view);
    return {values.begin(), values.end()};
  }

  oracle::TvModel model_;
  int n_;
  Shape shape_;
  Context context_;
  Frame frame_;
  ActiveSet active_;
  Tensor<T> y_;
  ComposedEnergy<T> energy_;
  View<T> x_, p_, out_, diagonal_, weights_;
  View<float> dual_;
  View<double> sums_, epsilon_, gradient_;
};

/// Second differences at this size: potential, place of xi, mask (4 kinds of 8).
inline std::vector<oracle::TvModel> second_kinds(int height, int width, Random& random, double nu_low = 1e-4,
                                                 double nu_high = 1) {
  std::vector<oracle::TvModel> models;
  for (int kind = 0; kind < 4; ++kind) {
    oracle::TvModel m;
    m.height = height;
    m.width = width;
    m.differences = oracle::Differences::second;
    m.potential = kind % 2 == 0 ? oracle::Potential::charbonnier : oracle::Potential::huber_c2;
    m.xi_inside_alpha = kind == 1 || kind == 2;
    if (kind >= 2) m.mask = random_mask(height, width, 0.6, random);
    m.alpha = random.log_uniform(1e-3, 2);
    m.nu = random.log_uniform(nu_low, nu_high);
    m.xi = random.log_uniform(1e-5, 1e-1);
    models.push_back(m);
  }
  return models;
}

/// Every kind of total variation at this size: potential, isotropy, place of xi, mask (16 kinds; 8 for
/// signals).
inline std::vector<oracle::TvModel> model_kinds(int height, int width, Random& random, double nu_low = 1e-4,
                                                double nu_high = 1) {
  std::vector<oracle::TvModel> models;
  for (const oracle::Potential potential : {oracle::Potential::charbonnier, oracle::Potential::huber_c2})
    for (const bool isotropic : {true, false})
      for (const bool inside : {false, true})
        for (const bool masked : {false, true}) {
          if (height == 1 && !isotropic) continue;
          oracle::TvModel m;
          m.height = height;
          m.width = width;
          m.potential = potential;
          m.isotropic = isotropic;
          m.xi_inside_alpha = inside;
          if (masked) m.mask = random_mask(height, width, 0.6, random);
          m.alpha = random.log_uniform(1e-3, 2);
          m.nu = random.log_uniform(nu_low, nu_high);
          m.xi = random.log_uniform(1e-5, 1e-1);
          models.push_back(m);
        }
  return models;
}

/// Those and second_kinds().
inline std::vector<oracle::TvModel> all_kinds(int height, int width, Random& random, double nu_low = 1e-4,
                                              double nu_high = 1) {
  std::vector<oracle::TvModel> models = model_kinds(height, width, random, nu_low, nu_high);
  for (oracle::TvModel& m : second_kinds(height, width, random, nu_low, nu_high))
    models.push_back(std::move(m));
  return models;
}

inline std::string describe(const oracle::TvModel& m) {
  const char* potentials[] = {" charbonnier", " huber_c2", " quadratic"};
  const char* differences[] = {"", " second", " none"};
  return std::to_string(m.height) + "x" + std::to_string(m.width) +
         potentials[static_cast<int>(m.potential)] + differences[static_cast<int>(m.differences)] +
         (m.isotropic ? " isotropic" : " anisotropic") + (m.xi_inside_alpha ? ", xi inside alpha" : "") +
         (m.mask.empty() ? "" : ", masked") + ", alpha " + std::to_string(m.alpha) + ", nu " +
         std::to_string(m.nu) + ", xi " + std::to_string(m.xi);
}

/// Image number `kind` of a cycle: noise, constant, piecewise constant, spike, checkerboard, ramp, large
/// offset; its amplitude runs through `amplitudes`.
inline std::vector<double> test_image(int kind, int height, int width, Random& random,
                                      const std::vector<double>& amplitudes) {
  std::vector<double> image;
  switch (kind % 7) {
    case 0:
      image = noise(height, width, 1, random);
      break;
    case 1:
      image = constant(height, width, 1);
      break;
    case 2:
      image = piecewise_constant(height, width, 0, random);
      break;
    case 3:
      image = spike(height, width, height / 2, width / 2, 1);
      break;
    case 4:
      image = checkerboard(height, width, 1);
      break;
    case 5:
      for (int p = 0; p < height * width; ++p) image.push_back(0.01 * (p % width) + 0.02 * (p / width));
      break;
    default:
      image = piecewise_constant(height, width, 0.1, random);
      for (double& v : image) v += 1000;
  }
  const double amplitude = amplitudes[static_cast<std::size_t>(kind) / 7 % amplitudes.size()];
  for (double& v : image) v *= amplitude;
  return image;
}

}  // namespace bilevel::testing_support
