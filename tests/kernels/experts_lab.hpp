#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "tests/kernels/experts_naive.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

/// A random model whose numbers are representable in T.
template <class T>
NaiveExperts random_experts(int height, int width, int filters, int size, bool valid, bool huber,
                            Random& random) {
  NaiveExperts m;
  m.height = height;
  m.width = width;
  m.filters = filters;
  m.size = size;
  m.valid = valid;
  m.huber = huber;
  const auto round = [](double v) { return static_cast<double>(static_cast<T>(v)); };
  m.mu = round(random.log_uniform(1e-3, 1));
  for (std::size_t e = 0; e < static_cast<std::size_t>(filters) * m.taps_of_one(); ++e)
    m.taps.push_back(round(random.normal() / size));
  for (int k = 0; k < filters; ++k) {
    m.weight.push_back(round(random.log_uniform(0.01, 2)));
    m.smoothing.push_back(round(random.log_uniform(0.01, 1)));
  }
  return m;
}

inline std::string describe(const NaiveExperts& m, int n) {
  return std::to_string(n) + " x " + std::to_string(m.height) + " x " + std::to_string(m.width) + ", " +
         std::to_string(m.filters) + " filters of size " + std::to_string(m.size) +
         (m.valid ? ", valid" : ", symmetric") + (m.huber ? ", huber_c2" : ", charbonnier");
}

/// The kernels of one model on a device, for n images of `channels`; arrays cross as vectors of double.
template <class T>
class ExpertsLab {
 public:
  using Numbers = std::vector<double>;

  ExpertsLab(const NaiveExperts& m, int n, int channels = 1)
      : model_(m), n_(n), channels_(channels), context_(Device::open(test_device("cpu:2"))) {
    std::vector<std::int32_t> all;
    for (int i = 0; i < n; ++i) all.push_back(i);
    mask_ = Tensor<std::uint8_t>(context_, {n, 1, 1, 1}, std::vector<std::uint8_t>(all.size(), 1));
    index_ = Tensor<std::int32_t>(context_, {n, 1, 1, 1}, all);
    taps_ = put<T>(m.taps);
    weight_ = put<T>(m.weight);
    smoothing_ = put<T>(m.smoothing);
    args_ = {m.height,
             m.width,
             m.filters,
             m.size,
             m.valid ? kernels::Padding::valid : kernels::Padding::symmetric,
             m.huber ? kernels::Potential::huber_c2 : kernels::Potential::charbonnier,
             static_cast<T>(m.mu),
             at(taps_),
             at(weight_),
             at(smoothing_),
             channels};
  }

  struct Energy {
    Numbers gradient, value, norm2, rounding;
  };
  /// `sampling`, [H][W], may be empty.
  Energy energy(const Numbers& x, const Numbers& y, double unit, double rounding_x, const Numbers& rounding,
                const Numbers& sampling = {}) {
    auto in = put<T>(x), data = put<T>(y), out = zeros<T>(x.size());
    auto mask = put<T>(sampling.empty() ? Numbers{0} : sampling);
    auto per_filter = put<double>(rounding);
    auto sums = zeros<double>(3 * images());
    table().experts_energy(
        stream(), {args_, active(), at(in), at(data), at(out), at(sums), at(sums) + n_, at(sums) + 2 * n_,
                   unit, rounding_x, at(per_filter), 0, sampling.empty() ? nullptr : at(mask)});
    const Numbers s = get(sums);
    const auto part = [&](std::ptrdiff_t row) {
      return Numbers(s.begin() + row * n_, s.begin() + (row + 1) * n_);
    };
    return {get(out), part(0), part(1), part(2)};
  }
  /// Maps are exchanged without the unused places: [N][C][K][responses].
  Numbers linearise(const Numbers& x, const Numbers& dual = {}) {
    auto in = put<T>(x), maps = filled<T>(map_size(), -7), diagonal = zeros<T>(x.size());
    auto zeta = put<float>(dual.empty() ? Numbers{0} : scattered(dual));
    table().experts_linearise(
        stream(), {args_, active(), at(in), dual.empty() ? nullptr : at(zeta), at(maps), at(diagonal)});
    for (double v : get(diagonal)) EXPECT_EQ(v, 1);
    return gathered(get(maps));
  }
  struct Product {
    Numbers product, inner;
  };
  Product hessian(const Numbers& maps, const Numbers& p, const Numbers& sampling = {}) {
    auto mask = put<T>(sampling.empty() ? Numbers{0} : sampling);
    auto in = put<T>(p), weights = put<T>(scattered(maps)), out = zeros<T>(p.size());
    auto inner = zeros<double>(images());
    table().experts_hessian(stream(), {args_, active(), at(weights), at(in), at(out), at(inner), false,
                                       sampling.empty() ? nullptr : at(mask)});
    return {get(out), get(inner)};
  }
  /// Without d: the first dual field.
  Numbers dual(const Numbers& x, const Numbers& d, const Numbers& step, const Numbers& zeta) {
    auto in = put<T>(x), move = put<T>(d.empty() ? Numbers{0} : d);
    auto steps = put<double>(step),
         field = put<float>(zeta.empty() ? Numbers(map_size(), 0.0) : scattered(zeta));
    table().experts_dual(stream(),
                         {args_, active(), at(in), d.empty() ? nullptr : at(move), at(steps), at(field)});
    return gathered(get(field));
  }
  /// [2 + size^2][K][N]
  Numbers mixed_adjoint(const Numbers& x, const Numbers& q) {
    auto in = put<T>(x), by = put<T>(q);
    auto sums =
        zeros<double>((2 + model_.taps_of_one()) * static_cast<std::size_t>(model_.filters) * images());
    table().experts_mixed_adjoint(stream(), {args_, active(), at(in), at(by), at(sums), n_});
    return get(sums);
  }
  struct Forward {
    Numbers out, norm2;
  };
  Forward mixed_forward(const Numbers& x, const Numbers& weight, const Numbers& smoothing,
                        const Numbers& taps) {
    auto in = put<T>(x), t = put<T>(taps), w = put<T>(weight), s = put<T>(smoothing),
         out = zeros<T>(x.size());
    auto norm2 = zeros<double>(images());
    table().experts_mixed_forward(stream(),
                                  {args_, active(), at(in), at(t), at(w), at(s), at(out), at(norm2)});
    return {get(out), get(norm2)};
  }
  /// [N][C][responses]
  Numbers patches(const Numbers& x, bool centred) {
    auto in = put<T>(x), out = filled<T>(x.size(), -7);
    table().experts_patches(stream(), {args_, active(), at(in), centred, at(out)});
    return gathered(get(out), 1);
  }
  struct Ball {
    Numbers epsilon, gradient;
    double mu, norm2;
    Numbers row_bound;
  };
  /// [23][K][N]; patches are [N][C][responses], v may be empty.
  Numbers bound(const Numbers& x, const Numbers& q, const Numbers& v, const Numbers& patches_x,
                const Numbers& patches_q, const Ball& ball) {
    auto in = put<T>(x), by = put<T>(q), other = put<T>(v.empty() ? Numbers{0} : v);
    auto px = put<T>(scattered(patches_x, 1)), pq = put<T>(scattered(patches_q, 1));
    auto eps = put<double>(ball.epsilon), gradient = put<double>(ball.gradient),
         row = put<double>(ball.row_bound);
    auto out =
        zeros<double>(kernels::experts_bound_sums * static_cast<std::size_t>(model_.filters) * images());
    table().experts_bound(
        stream(), {args_, active(), at(in), at(by), v.empty() ? nullptr : at(other), at(px), at(pq), at(eps),
                   at(gradient), ball.mu, ball.norm2, at(row), at(out), n_});
    return get(out);
  }

 private:
  template <class V>
  Tensor<V> put(const Numbers& values) {
    return Tensor<V>(context_, {1, 1, 1, static_cast<int>(values.size())},
                     std::vector<V>(values.begin(), values.end()));
  }
  template <class V>
  Tensor<V> filled(std::size_t size, double value) {
    return put<V>(Numbers(size, value));
  }
  template <class V>
  Tensor<V> zeros(std::size_t size) {
    return filled<V>(size, 0);
  }
  template <class V>
  static V* at(Tensor<V>& tensor) {
    return tensor.view().device_data();
  }
  template <class V>
  Numbers get(Tensor<V>& tensor) {
    const auto values = download(context_, tensor);
    return Numbers(values.begin(), values.end());
  }
  std::size_t images() const { return static_cast<std::size_t>(n_); }
  std::size_t planes() const { return static_cast<std::size_t>(n_ * channels_); }
  std::size_t map_size() const {
    return planes() * static_cast<std::size_t>(model_.filters) * model_.pixels();
  }

  /// Places of the responses inside planes of pixels, and back; other places must keep what they had.
  Numbers scattered(const Numbers& maps, int each = 0) const {
    const std::size_t count = planes() * static_cast<std::size_t>(each > 0 ? each : model_.filters);
    Numbers out(count * model_.pixels(), 9e30);
    for_places(count, [&](std::size_t packed, std::size_t place) { out[place] = maps[packed]; });
    return out;
  }
  Numbers gathered(const Numbers& padded, int each = 0) const {
    const std::size_t count = planes() * static_cast<std::size_t>(each > 0 ? each : model_.filters);
    Numbers out(count * model_.responses());
    for_places(count, [&](std::size_t packed, std::size_t place) { out[packed] = padded[place]; });
    return out;
  }
  template <class F>
  void for_places(std::size_t count, const F& f) const {
    std::size_t packed = 0;
    for (std::size_t plane = 0; plane < count; ++plane)
      for (std::size_t r = 0; r < static_cast<std::size_t>(model_.rows()); ++r)
        for (std::size_t c = 0; c < static_cast<std::size_t>(model_.columns()); ++c, ++packed)
          f(packed, plane * model_.pixels() + r * static_cast<std::size_t>(model_.width) + c);
  }

  const kernels::Table<T>& table() { return kernel_table<T>(context_); }
  const kernels::Stream& stream() { return stream_of(context_); }
  Active active() { return {at(mask_), at(index_), n_}; }

  NaiveExperts model_;
  int n_, channels_;
  Context context_;
  Tensor<std::uint8_t> mask_;
  Tensor<std::int32_t> index_;
  Tensor<T> taps_, weight_, smoothing_;
  kernels::ExpertsModel<T> args_;
};

}  // namespace bilevel::testing_support
