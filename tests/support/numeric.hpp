#pragma once

#include <functional>
#include <string>
#include <vector>

namespace bilevel::testing_support {

double norm(const std::vector<double>& a);
double dot(const std::vector<double>& a, const std::vector<double>& b);
std::vector<double> add_scaled(std::vector<double> a, double factor,
                               const std::vector<double>& b);                 ///< a + factor b
double distance(const std::vector<double>& a, const std::vector<double>& b);  ///< ||a - b||

/// max |a - b| / max |b|; max |a - b| if b is zero; infinity if the sizes differ or an entry is not finite.
double max_relative_difference(const std::vector<double>& a, const std::vector<double>& b);
double relative_difference(double a, double b);

/// Slope of log error(t) over log t by least squares over the points above 30 times the rounding floor.
/// `floor` is the size of the rounding errors if the caller knows it. Without it, it is the largest error
/// from the point before the smallest error down to the smallest t. NaN (which no comparison accepts) for
/// fewer than three points.
double taylor_slope(const std::vector<double>& t, const std::vector<double>& error, double floor = 0);
/// The same for error(t) sampled at `points` log-spaced values of t in [t_min, t_max].
double taylor_slope(const std::function<double(double)>& error, double t_max, double t_min, int points = 13,
                    double floor = 0);

/// Collects ratios such as bound/error and writes their number, median and extremes to stdout at its end.
class RatioRecorder {
 public:
  explicit RatioRecorder(std::string name) : name_(std::move(name)) {}
  RatioRecorder(const RatioRecorder&) = delete;
  RatioRecorder& operator=(const RatioRecorder&) = delete;
  ~RatioRecorder();
  void add(double ratio) { ratios_.push_back(ratio); }
  std::size_t count() const { return ratios_.size(); }
  double minimum() const;  ///< NaN, as the others, without values or if one of them is NaN
  double median() const;
  double maximum() const;

 private:
  bool comparable() const;
  std::string name_;
  std::vector<double> ratios_;
};

}  // namespace bilevel::testing_support
