#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// value = theta, e^theta or 10^theta.
enum class Transform { identity, exp, log10 };

BILEVEL_API double to_value(Transform transform, double theta);
BILEVEL_API double to_theta(Transform transform, double value);
/// d value / d theta.
BILEVEL_API double transform_slope(Transform transform, double theta);
BILEVEL_API const char* transform_name(Transform transform);
/// Throws ConfigError for a name other than identity, exp, log10.
BILEVEL_API Transform transform_from(const std::string& name);

/// A named parameter of the model. `initial`, `lower` and `upper` are values, not theta.
struct Segment {
  std::string name;
  Transform transform = Transform::exp;
  double initial = 1;
  double lower = 0;
  double upper = 1;
  bool learned = true;
};

/// The layout of theta: the learned segments in order. Fixed segments keep their initial value.
class BILEVEL_API Parameters {
 public:
  /// Throws ConfigError for duplicate names or an initial value outside its bounds or its transform's domain.
  explicit Parameters(std::vector<Segment> segments);

  const std::vector<Segment>& segments() const { return segments_; }
  std::size_t size() const { return learned_.size(); }  ///< entries of theta
  const Segment& learned(std::size_t entry) const { return segments_[learned_[entry]]; }

  std::vector<double> initial() const;
  std::vector<double> lower() const;
  std::vector<double> upper() const;
  /// Nearest point inside the bounds.
  std::vector<double> project(std::span<const double> theta) const;

  /// Value of a segment at theta, learned or fixed. Throws ConfigError for an unknown name.
  double value(const std::string& name, std::span<const double> theta) const;
  /// Entry of theta that holds `name`, or -1 when it is fixed.
  int entry(const std::string& name) const;

 private:
  std::size_t find(const std::string& name) const;
  std::vector<Segment> segments_;
  std::vector<std::size_t> learned_;
};

}  // namespace v0
}  // namespace bilevel
