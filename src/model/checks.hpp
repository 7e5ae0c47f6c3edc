#pragma once

#include <span>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/view.hpp"
#include "bilevel/model/energy.hpp"

namespace bilevel {
inline namespace v0 {

/// Throws ShapeError naming `what` unless the view has that shape and memory behind it.
template <class T>
void require_view(const Shape& shape, View<T> view, const char* what) {
  require_same(shape, view.shape(), what);
  if (!view && shape.count() > 0)
    throw ShapeError(std::string(what) + ": the view of shape " + shape.str() + " has no memory behind it.");
}

/// Throws ShapeError naming both counts unless the view has memory for `count` numbers.
template <class T>
void require_room(std::size_t count, View<T> view, const char* what) {
  if (view.shape().count() < count || (!view && count > 0))
    throw ShapeError(std::string(what) + ": " + std::to_string(count) + " numbers are needed, the view " +
                     view.shape().str() + (view ? "" : " without memory") + " holds " +
                     std::to_string(view ? view.shape().count() : 0) + ".");
}

/// Throws ShapeError naming both counts unless they are equal.
inline void require_count(std::size_t wanted, std::size_t given, const char* what) {
  if (wanted != given)
    throw ShapeError(std::string(what) + ": " + std::to_string(wanted) + " numbers are needed, " +
                     std::to_string(given) + " are given.");
}

/// Of sums that an energy reads on the host: at least `rows` rows of one double per image.
inline void require_sums(int rows, int images, std::span<const double> sums, int image, const char* what) {
  const std::size_t wanted = static_cast<std::size_t>(rows) * static_cast<std::size_t>(images);
  if (sums.size() < wanted) require_count(wanted, sums.size(), what);
  if (image < 0 || image >= images)
    throw ShapeError(std::string(what) + ": image " + std::to_string(image) + " of " +
                     std::to_string(images) + " is asked for.");
}

/// The views of an energy's functions; each throws ShapeError.
template <class T>
struct EnergyViews {
  const Energy<T>& energy;

  void gradient(View<const T> x, View<T> g, const GradientSums& sums) const {
    require_view(energy.shape(), x, "energy (point)");
    require_view(energy.shape(), g, "energy (gradient)");
    for (const Scalars& s : {sums.value, sums.norm2, sums.rounding}) scalars(s);
  }
  void linearisation(View<const T> x, View<const float> dual, View<T> weights, View<T> diagonal) const {
    require_view(energy.shape(), x, "linearisation (point)");
    if (dual) dual_field(dual);
    require_room(arrays(energy.weight_arrays()), weights, "linearisation (weights)");
    require_view(energy.shape(), diagonal, "linearisation (inverse diagonal)");
  }
  void product(View<const T> weights, View<const T> p, View<T> out, Scalars inner) const {
    require_room(arrays(energy.weight_arrays()), weights, "Hessian product (weights)");
    require_view(energy.shape(), p, "Hessian product (direction)");
    require_view(energy.shape(), out, "Hessian product (product)");
    scalars(inner);
  }
  template <class U>
  void dual_field(View<U> dual) const {
    require_room(arrays(energy.dual_arrays()), dual, "dual field");
  }
  void dual_step(View<const T> x, View<const T> d, Scalars step, View<float> dual) const {
    require_view(energy.shape(), x, "dual field (point)");
    require_view(energy.shape(), d, "dual field (step)");
    scalars(step);
    dual_field(dual);
  }
  void mixed_adjoint(View<const T> x, View<const T> q, View<double> sums) const {
    require_view(energy.shape(), x, "mixed derivative (point)");
    require_view(energy.shape(), q, "mixed derivative (direction)");
    rows(energy.mixed_sums(), sums);
  }
  void mixed_forward(View<const T> x, std::span<const double> d, View<T> out, Scalars norm2) const {
    require_view(energy.shape(), x, "mixed derivative (point)");
    require_count(energy.parameters(), d.size(), "mixed derivative (direction of theta)");
    require_view(energy.shape(), out, "mixed derivative (product)");
    scalars(norm2);
  }
  void directional(View<const T> x, View<const T> q, View<const T> v, const BallInputs& ball,
                   View<double> sums) const {
    require_view(energy.shape(), x, "directional bounds (point)");
    require_view(energy.shape(), q, "directional bounds (q)");
    if (v) require_view(energy.shape(), v, "directional bounds (v)");
    scalars(ball.epsilon);
    scalars(ball.gradient);
    rows(energy.bound_sums(), sums);
  }

 private:
  std::size_t arrays(int count) const { return static_cast<std::size_t>(count) * energy.shape().count(); }
  void scalars(Scalars s) const {
    require_room(static_cast<std::size_t>(energy.shape().n), s, "numbers per image");
  }
  void rows(int count, View<double> sums) const {
    require_room(static_cast<std::size_t>(count) * static_cast<std::size_t>(energy.shape().n), sums,
                 "sums per image");
  }
};

/// Relative rounding of a sum of `size` numbers >= 0 that a kernel adds up: at most 64 + size/1024 additions
/// in double one after the other.
inline double summation_rounding(std::size_t size) {
  return (64 + static_cast<double>(size) / 1024) * 0x1p-53;
}

}  // namespace v0
}  // namespace bilevel
