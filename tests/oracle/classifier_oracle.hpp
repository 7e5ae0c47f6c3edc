#pragma once

#include <vector>

#include "tests/oracle/linear_algebra.hpp"

namespace bilevel::oracle {

/// factor sum_j t_j l(W x_j, label_j) + 1/2 sum_e ridge_e W_e^2 by loops over samples, entries and classes; W
/// row after row. One class: labels 0 and 1, l = ln(1 + e^s) - label s.
struct Classifier {
  Matrix samples;
  std::vector<int> labels;
  int classes = 1;
  double factor = 1;
  std::vector<double> ridge, t;

  int features() const { return samples.cols; }
  std::size_t unknowns() const { return static_cast<std::size_t>(classes * features()); }

  double value(const std::vector<double>& w) const;
  std::vector<double> gradient(const std::vector<double>& w) const;
  Matrix hessian(const std::vector<double>& w) const;
  /// d gradient / d t_j, for every j.
  std::vector<std::vector<double>> mixed(const std::vector<double>& w) const;
  /// Newton's method, to rounding.
  std::vector<double> minimiser() const;

 private:
  /// Probabilities of the classes; d l / d s.
  std::vector<double> probabilities(const std::vector<double>& w, int j) const;
  std::vector<double> slope(const std::vector<double>& w, int j) const;
};

}  // namespace bilevel::oracle
