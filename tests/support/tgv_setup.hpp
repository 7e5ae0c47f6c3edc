#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/ops/host_operator.hpp"
#include "tests/oracle/tgv_oracle.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using Numbers = std::vector<double>;

inline constexpr const char* tgv_names[] = {"alpha1", "alpha0", "nu", "xi", "xi_v"};
inline double tgv_value(const oracle::TgvModel& m, std::size_t k) {
  const double values[] = {m.alpha1, m.alpha0, m.nu, m.xi, m.xi_v};
  return values[k];
}

/// All numbers, on a log scale, learned.
inline Parameters tgv_layout(const oracle::TgvModel& m) {
  std::vector<Segment> segments;
  for (std::size_t k = 0; k < 5; ++k)
    segments.push_back({tgv_names[k], Transform::exp, tgv_value(m, k), 1e-12, 1e6, true});
  return Parameters(segments);
}

inline TgvOptions options_of(const oracle::TgvModel& m) { return {static_cast<TvPotential>(m.potential)}; }

/// Denoising and inpainting of one channel, or data of an operator that is the identity for two.
template <class T>
struct TgvSetup {
  TgvSetup(const oracle::TgvModel& of, int images, const Numbers& data, const std::string& device = "cpu:2")
      : model(of),
        n(images),
        context(Device::open(test_device(device))),
        y(context, {images, of.channels, of.h, of.w}, std::vector<T>(data.begin(), data.end())),
        layout(tgv_layout(of)) {
    const TgvOptions options = options_of(of);
    if (of.channels == 1) {
      energy = std::make_unique<ComposedEnergy<T>>(context, view(), layout, options, of.mask);
    } else {
      const auto copy = [](std::span<const T> from, std::span<T> to) {
        std::copy(from.begin(), from.end(), to.begin());
      };
      const auto identity = std::make_shared<HostOperator<T>>(y.shape(), y.shape(), copy, copy,
                                                              typename HostOperator<T>::Constants{1, 0, 1});
      energy = std::make_unique<ComposedEnergy<T>>(context, identity, view(), layout, options);
    }
    double* const values[] = {&model.alpha1, &model.alpha0, &model.nu, &model.xi, &model.xi_v};
    for (std::size_t k = 0; k < 5; ++k) *values[k] = energy->value(tgv_names[k]);
  }
  View<const T> view() const { return y.view(); }
  Shape shape() const { return energy->shape(); }

  oracle::TgvModel model;  ///< with the values that theta gives
  int n;
  Context context;
  Tensor<T> y;
  Parameters layout;
  std::unique_ptr<ComposedEnergy<T>> energy;
};

/// Both potentials with random numbers.
inline std::vector<oracle::TgvModel> tgv_models(int channels, int h, int w, Random& random, double low = 0.05,
                                                double high = 0.5) {
  std::vector<oracle::TgvModel> out;
  for (const auto potential : {oracle::Potential::charbonnier, oracle::Potential::huber_c2})
    out.push_back({channels, h, w, potential, random.log_uniform(0.05, 1), random.log_uniform(0.05, 1),
                   random.log_uniform(low, high), random.log_uniform(1e-3, 0.1),
                   random.log_uniform(1e-3, 0.1)});
  return out;
}

inline std::string describe(const oracle::TgvModel& m) {
  return std::to_string(m.channels) + " x " + std::to_string(m.h) + " x " + std::to_string(m.w) +
         (m.potential == oracle::Potential::charbonnier ? ", charbonnier" : ", huber_c2") + ", alpha1 " +
         std::to_string(m.alpha1) + ", alpha0 " + std::to_string(m.alpha0) + ", nu " + std::to_string(m.nu) +
         (m.mask.empty() ? "" : ", masked");
}

/// n joint unknowns, x piecewise constant, v of the size of its differences; representable in T.
template <class T>
Numbers tgv_points(const oracle::TgvModel& m, int n, Random& random) {
  Numbers out;
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < 3 * m.channels; ++k)
      append(out, k < m.channels ? piecewise_constant(m.h, m.w, 0.1, random) : noise(m.h, m.w, 0.3, random));
  return representable<T>(std::move(out));
}

}  // namespace bilevel::testing_support
