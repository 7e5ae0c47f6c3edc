#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// value = theta, e^theta, 10^theta or 1/(1 + e^-theta).
enum class Transform { identity, exp, log10, sigmoid };

BILEVEL_API double to_value(Transform transform, double theta);
BILEVEL_API double to_theta(Transform transform, double value);
/// d value / d theta.
BILEVEL_API double transform_slope(Transform transform, double theta);
BILEVEL_API const char* transform_name(Transform transform);
/// Throws ConfigError for a name other than identity, exp, log10, sigmoid.
BILEVEL_API Transform transform_from(const std::string& name);

/// A named parameter of the model: one number, or an array whose entries share transform and bounds.
/// `initial`, `values`, `lower` and `upper` are values, not theta.
struct BILEVEL_API Segment {
  std::string name;
  Transform transform = Transform::exp;
  double initial = 1;  ///< of a number
  double lower = 0;
  double upper = 1;
  bool learned = true;
  std::vector<int> shape = {};      ///< empty: one number
  std::vector<double> values = {};  ///< initial values of an array, row-major

  std::size_t size() const;
  std::span<const double> initial_values() const;  ///< size() of them
};

/// The layout of theta: the learned segments in order, arrays row-major. Fixed segments keep their initial
/// values.
class BILEVEL_API Parameters {
 public:
  /// Throws ConfigError for duplicate names, an array whose values do not fit its shape, or an initial value
  /// outside its bounds or its transform's domain.
  explicit Parameters(std::vector<Segment> segments);

  const std::vector<Segment>& segments() const { return segments_; }
  std::size_t size() const { return learned_.size(); }  ///< entries of theta
  /// The segment that holds an entry of theta.
  const Segment& learned(std::size_t entry) const { return segments_[learned_[entry]]; }

  std::vector<double> initial() const;
  std::vector<double> lower() const;
  std::vector<double> upper() const;
  /// Nearest point inside the bounds. Throws ShapeError when theta does not have size() entries.
  std::vector<double> project(std::span<const double> theta) const;

  // Functions of theta throw ShapeError when its length is not size() and an entry of it is asked for.

  /// Value of a number at theta, learned or fixed. Throws ConfigError for an unknown name or an array.
  double value(const std::string& name, std::span<const double> theta) const;
  /// Values of a number or an array at theta. Throws ConfigError for an unknown name.
  std::vector<double> values(const std::string& name, std::span<const double> theta) const;
  /// First entry of theta that belongs to `name`, or -1 when it is fixed.
  int entry(const std::string& name) const;
  /// The segments with their values at theta (kept inside their bounds) as initial values.
  std::vector<Segment> at(std::span<const double> theta) const;

 private:
  std::size_t find(const std::string& name) const;
  void require_theta(std::span<const double> theta) const;
  std::vector<Segment> segments_;
  std::vector<std::size_t> learned_;  // segment of every entry of theta
};

/// J(theta); adds its gradient to `gradient` (entries of theta).
using Penalty = std::function<double(std::span<const double> theta, std::span<double> gradient)>;

}  // namespace v0
}  // namespace bilevel
