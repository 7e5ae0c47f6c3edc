#pragma once

#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "bilevel/model/composed_energy.hpp"

namespace bilevel::testing_support {

/// What the functions of an energy give at one point. Arrays of all images.
struct Evaluated {
  std::vector<double> value, gradient, norm2, rounding, diagonal, product, inner, dual_product, forward,
      forward2;
  std::map<std::string, std::vector<double>> mixed;  // of the first image, by the name of the segment
};

template <class T>
std::vector<double> host(Context& context, View<T> view) {
  const std::vector<std::remove_const_t<T>> v = download<std::remove_const_t<T>>(context, view);
  return {v.begin(), v.end()};
}

/// `direction` of theta by segment; segments that it does not name stay.
template <class T>
Evaluated evaluate(Context& context, const ComposedEnergy<T>& e, const std::vector<double>& at,
                   const std::vector<double>& along, const std::map<std::string, double>& direction) {
  const Shape shape = e.shape();
  const auto arrays = [&](int count) { return Shape{count * shape.n, shape.c, shape.h, shape.w}; };
  const Tensor<T> x(context, shape, std::vector<T>(at.begin(), at.end())),
      p(context, shape, std::vector<T>(along.begin(), along.end()));
  Frame frame(context);
  const ActiveSet all(context, frame, shape.n);
  const View<T> out = frame.view<T>(shape), weights = frame.view<T>(arrays(e.weight_arrays()));
  const View<float> dual = frame.view<float>(arrays(e.dual_arrays()));
  const auto row = [&] { return frame.view<double>({shape.n, 1, 1, 1}); };
  const View<double> value = row(), norm2 = row(), rounding = row(), inner = row();
  Evaluated r;
  e.value_and_gradient(context, all.active(), x.view(), out, {value, norm2, rounding});
  r.value = host(context, value), r.norm2 = host(context, norm2), r.rounding = host(context, rounding);
  r.gradient = host(context, out);
  e.linearise(context, all.active(), x.view(), {}, weights, out);
  r.diagonal = host(context, out);
  for (double& d : r.diagonal) d = 1 / d;
  e.hessian_product(context, all.active(), weights, p.view(), out, inner);
  r.product = host(context, out), r.inner = host(context, inner);
  e.start_dual(context, all.active(), x.view(), dual);
  e.linearise(context, all.active(), x.view(), dual, weights, frame.view<T>(shape));
  e.hessian_product(context, all.active(), weights, p.view(), out, inner);
  r.dual_product = host(context, out);
  const View<double> sums = frame.view<double>({e.mixed_sums(), shape.n, 1, 1});
  e.mixed_adjoint(context, all.active(), x.view(), p.view(), sums);
  const std::vector<double> z = e.mixed(download(context, sums));
  std::vector<double> theta(e.parameters(), 0);
  for (const Segment& s : e.layout()->segments()) {
    const int first = e.layout()->entry(s.name);
    if (first < 0) continue;
    r.mixed[s.name].assign(z.begin() + first, z.begin() + first + static_cast<std::ptrdiff_t>(s.size()));
    if (const auto d = direction.find(s.name); d != direction.end())
      std::fill_n(theta.begin() + first, s.size(), d->second);
  }
  e.mixed_forward(context, all.active(), x.view(), theta, out, inner);
  r.forward = host(context, out), r.forward2 = host(context, inner);
  return r;
}

}  // namespace bilevel::testing_support
