#include "tests/support/numeric.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <utility>

namespace bilevel::testing_support {

double norm(const std::vector<double>& a) { return std::sqrt(dot(a, a)); }

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  long double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<long double>(a[i]) * b.at(i);
  return static_cast<double>(sum);
}

std::vector<double> add_scaled(std::vector<double> a, double factor, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += factor * b.at(i);
  return a;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  return norm(add_scaled(a, -1.0, b));
}

double max_relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return scale > 0 ? difference / scale : difference;
}

double relative_difference(double a, double b) { return max_relative_difference({a}, {b}); }

double taylor_slope(const std::vector<double>& t, const std::vector<double>& error, double floor) {
  std::vector<std::pair<double, double>> sorted, points;
  for (std::size_t i = 0; i < t.size(); ++i) sorted.emplace_back(t[i], error.at(i));
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  if (floor == 0 && !sorted.empty()) {
    auto at = std::min_element(sorted.begin(), sorted.end(),
                               [](const auto& a, const auto& b) { return a.second < b.second; });
    if (at != sorted.begin()) --at;
    for (; at != sorted.end(); ++at) floor = std::max(floor, at->second);
  }
  for (const auto& [step, value] : sorted) {
    if (!(value > 30 * floor)) break;
    points.emplace_back(std::log(step), std::log(value));
  }
  if (points.size() < 3) return std::numeric_limits<double>::quiet_NaN();
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (const auto& [x, y] : points) {
    mean_x += x / static_cast<double>(points.size());
    mean_y += y / static_cast<double>(points.size());
  }
  for (const auto& [x, y] : points) {
    xx += (x - mean_x) * (x - mean_x);
    xy += (x - mean_x) * (y - mean_y);
  }
  return xy / xx;
}

double taylor_slope(const std::function<double(double)>& error, double t_max, double t_min, int points,
                    double floor) {
  std::vector<double> t, values;
  for (int k = 0; k < points; ++k) {
    t.push_back(t_max * std::pow(t_min / t_max, static_cast<double>(k) / (points - 1)));
    values.push_back(error(t.back()));
  }
  return taylor_slope(t, values, floor);
}

bool RatioRecorder::comparable() const {
  return !ratios_.empty() &&
         std::none_of(ratios_.begin(), ratios_.end(), [](double ratio) { return std::isnan(ratio); });
}

double RatioRecorder::minimum() const {
  return !comparable() ? std::numeric_limits<double>::quiet_NaN()
                       : *std::min_element(ratios_.begin(), ratios_.end());
}

double RatioRecorder::maximum() const {
  return !comparable() ? std::numeric_limits<double>::quiet_NaN()
                       : *std::max_element(ratios_.begin(), ratios_.end());
}

double RatioRecorder::median() const {
  if (!comparable()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted = ratios_;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

RatioRecorder::~RatioRecorder() {
  try {
    std::cout << name_ << ": " << count() << " values, minimum " << minimum() << ", median " << median()
              << ", maximum " << maximum() << std::endl;
  } catch (...) {
    std::cerr.clear();
  }
}

}  // namespace bilevel::testing_support
