#include "bilevel/model/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

double to_value(Transform transform, double theta) {
  switch (transform) {
    case Transform::exp:
      return std::exp(theta);
    case Transform::log10:
      return std::pow(10.0, theta);
    case Transform::sigmoid:
      return theta < 0 ? std::exp(theta) / (1 + std::exp(theta)) : 1 / (1 + std::exp(-theta));
    case Transform::identity:
      break;
  }
  return theta;
}

double to_theta(Transform transform, double value) {
  switch (transform) {
    case Transform::exp:
      return std::log(value);
    case Transform::log10:
      return std::log10(value);
    case Transform::sigmoid:
      return std::log(value / (1 - value));
    case Transform::identity:
      break;
  }
  return value;
}

double transform_slope(Transform transform, double theta) {
  switch (transform) {
    case Transform::exp:
      return std::exp(theta);
    case Transform::log10:
      return std::log(10.0) * std::pow(10.0, theta);
    case Transform::sigmoid:
      return to_value(transform, theta) * to_value(transform, -theta);
    case Transform::identity:
      break;
  }
  return 1;
}

const char* transform_name(Transform transform) {
  switch (transform) {
    case Transform::exp:
      return "exp";
    case Transform::log10:
      return "log10";
    case Transform::sigmoid:
      return "sigmoid";
    case Transform::identity:
      break;
  }
  return "identity";
}

Transform transform_from(const std::string& name) {
  for (Transform t : {Transform::identity, Transform::exp, Transform::log10, Transform::sigmoid})
    if (name == transform_name(t)) return t;
  throw ConfigError("transform '" + name + "': unknown; use identity, exp, log10 or sigmoid.");
}

std::size_t Segment::size() const {
  std::size_t count = 1;
  for (int extent : shape) count *= static_cast<std::size_t>(extent);
  return count;
}
std::span<const double> Segment::initial_values() const {
  return shape.empty() ? std::span(&initial, 1) : std::span<const double>(values);
}

namespace {

std::string text(double v) {
  std::ostringstream out;
  out << v;
  return out.str();
}

void require_valid(const Segment& s) {
  for (int extent : s.shape)
    if (extent < 1) throw ConfigError("parameter '" + s.name + "' is an array without entries.");
  const std::span<const double> values = s.initial_values();
  if (values.size() != s.size())
    throw ConfigError("parameter '" + s.name + "' has " + std::to_string(values.size()) +
                      " values for an array of " + std::to_string(s.size()) + ".");
  for (double v : values)
    if (!std::isfinite(v) || !(v >= s.lower) || !(v <= s.upper))
      throw ConfigError("parameter '" + s.name + "' = " + text(v) + " must be a finite number between " +
                        text(s.lower) + " and " + text(s.upper) + ".");
  if (s.learned && s.transform == Transform::sigmoid) {
    for (double v : values)
      if (!(v > 0) || !(v < 1) || s.lower < 0 || s.upper > 1)
        throw ConfigError(
            "parameter '" + s.name +
            "' is learned through a sigmoid and needs values inside (0, 1) and bounds in [0, 1].");
  } else if (s.learned && s.transform != Transform::identity && !(s.lower > 0))
    throw ConfigError("parameter '" + s.name +
                      "' is learned on a logarithmic scale and needs a positive lower bound.");
}

}  // namespace

Parameters::Parameters(std::vector<Segment> segments) : segments_(std::move(segments)) {
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const Segment& s = segments_[i];
    for (std::size_t j = 0; j < i; ++j)
      if (segments_[j].name == s.name) throw ConfigError("parameter '" + s.name + "' is given twice.");
    require_valid(s);
    if (s.learned) learned_.insert(learned_.end(), s.size(), i);
  }
}

std::vector<double> Parameters::initial() const {
  std::vector<double> theta;
  for (const Segment& s : segments_)
    if (s.learned)
      for (double v : s.initial_values()) theta.push_back(to_theta(s.transform, v));
  return theta;
}
std::vector<double> Parameters::lower() const {
  std::vector<double> theta;
  for (std::size_t i : learned_) theta.push_back(to_theta(segments_[i].transform, segments_[i].lower));
  return theta;
}
std::vector<double> Parameters::upper() const {
  std::vector<double> theta;
  for (std::size_t i : learned_) theta.push_back(to_theta(segments_[i].transform, segments_[i].upper));
  return theta;
}

void Parameters::require_theta(std::span<const double> theta) const {
  if (theta.size() != size())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries, the parameters " +
                     std::to_string(size()) + ".");
}

std::vector<double> Parameters::project(std::span<const double> theta) const {
  require_theta(theta);
  const std::vector<double> low = lower(), high = upper();
  std::vector<double> projected(theta.begin(), theta.end());
  for (std::size_t j = 0; j < projected.size(); ++j) projected[j] = std::clamp(projected[j], low[j], high[j]);
  return projected;
}

std::size_t Parameters::find(const std::string& name) const {
  for (std::size_t i = 0; i < segments_.size(); ++i)
    if (segments_[i].name == name) return i;
  throw ConfigError("the model has no parameter '" + name + "'.");
}

int Parameters::entry(const std::string& name) const {
  const auto it = std::find(learned_.begin(), learned_.end(), find(name));
  return it == learned_.end() ? -1 : static_cast<int>(it - learned_.begin());
}

double Parameters::value(const std::string& name, std::span<const double> theta) const {
  if (!segments_[find(name)].shape.empty())
    throw ConfigError("parameter '" + name + "' is an array, not one number.");
  return values(name, theta)[0];
}

std::vector<double> Parameters::values(const std::string& name, std::span<const double> theta) const {
  const int first = entry(name);
  const Segment& s = segments_[find(name)];
  const std::span<const double> fixed = s.initial_values();
  std::vector<double> out(fixed.begin(), fixed.end());
  if (first < 0) return out;
  require_theta(theta);
  const double low = to_theta(s.transform, s.lower), high = to_theta(s.transform, s.upper);
  for (std::size_t k = 0; k < out.size(); ++k) {
    const double t = theta[static_cast<std::size_t>(first) + k];
    out[k] = to_value(s.transform, t);  // whose rounding must not leave the bounds
    if (t >= low) out[k] = std::max(out[k], s.lower);
    if (t <= high) out[k] = std::min(out[k], s.upper);
  }
  return out;
}

std::vector<Segment> Parameters::at(std::span<const double> theta) const {
  std::vector<Segment> out = segments_;
  for (Segment& s : out) {
    std::vector<double> v = values(s.name, theta);
    for (double& e : v) e = std::clamp(e, s.lower, s.upper);
    if (s.learned && s.transform == Transform::sigmoid)  // whose rounding must leave a theta
      for (double& e : v) e = std::clamp(e, std::numeric_limits<double>::min(), 1 - 0x1p-53);
    if (s.shape.empty())
      s.initial = v[0];
    else
      s.values = std::move(v);
  }
  return out;
}

}  // namespace v0
}  // namespace bilevel
