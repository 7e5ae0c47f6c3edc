#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/denoise/differences.hpp"

namespace bilevel_app::denoise {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b);
double norm(const Vector& a);
Vector plus(Vector a, double t, const Vector& b);  ///< a + t b

/// A relative error, or a ratio of error to bound, and what it may be at most.
struct Verdict {
  std::string what;
  double measured = 0, limit = 0;
  /// Of differences: their own relative error, known without the derivative; what is smaller goes unseen.
  double resolution = 0;
  bool passed() const { return measured <= limit; }  ///< a NaN does not
};

/// error/scale; nothing is wrong where the error is 0, whatever the scale.
double relative(double error, double scale);

/// The rounding of n positive terms and of the sum of them.
double rounding(double sum, double terms);

/// Whether a derivative agrees with differences of `f` up to `limit` of the scale and the error of the
/// differences, which is found without a look at the derivative.
Verdict compare(const std::string& what, const Vector& derivative, double scale, double limit, double step,
                const std::function<Sample(double)>& f, double derivative_error = 0);

}  // namespace bilevel_app::denoise
