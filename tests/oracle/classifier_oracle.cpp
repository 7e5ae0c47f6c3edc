#include "tests/oracle/classifier_oracle.hpp"

#include <algorithm>
#include <cmath>

#include "tests/support/numeric.hpp"

namespace bilevel::oracle {

using testing_support::add_scaled;
using testing_support::norm;

std::vector<double> Classifier::probabilities(const std::vector<double>& w, int j) const {
  std::vector<double> s;
  for (int c = 0; c < classes; ++c) {
    double sum = 0;
    for (int k = 0; k < features(); ++k)
      sum += w[static_cast<std::size_t>(c * features() + k)] * samples(j, k);
    s.push_back(sum);
  }
  if (classes == 1) return {1 / (1 + std::exp(-s[0]))};
  const double most = *std::max_element(s.begin(), s.end());
  double sum = 0;
  for (double& e : s) sum += e = std::exp(e - most);
  for (double& e : s) e /= sum;
  return s;
}

std::vector<double> Classifier::slope(const std::vector<double>& w, int j) const {
  std::vector<double> p = probabilities(w, j);
  const int label = labels[static_cast<std::size_t>(j)];
  if (classes == 1)
    p[0] -= label;
  else
    p[static_cast<std::size_t>(label)] -= 1;
  return p;
}

double Classifier::value(const std::vector<double>& w) const {
  double sum = 0;
  for (std::size_t e = 0; e < w.size(); ++e) sum += ridge[e] / 2 * w[e] * w[e];
  for (int j = 0; j < samples.rows; ++j) {
    const std::vector<double> p = probabilities(w, j);
    const auto label = static_cast<std::size_t>(labels[static_cast<std::size_t>(j)]);
    const double own = classes > 1 ? p[label] : label == 1 ? p[0] : 1 - p[0];
    sum -= factor * t[static_cast<std::size_t>(j)] * std::log(own);
  }
  return sum;
}

std::vector<std::vector<double>> Classifier::mixed(const std::vector<double>& w) const {
  std::vector<std::vector<double>> columns;
  for (int j = 0; j < samples.rows; ++j) {
    const std::vector<double> u = slope(w, j);
    std::vector<double> column;
    for (int c = 0; c < classes; ++c)
      for (int k = 0; k < features(); ++k)
        column.push_back(factor * u[static_cast<std::size_t>(c)] * samples(j, k));
    columns.push_back(column);
  }
  return columns;
}

std::vector<double> Classifier::gradient(const std::vector<double>& w) const {
  std::vector<double> g(w.size(), 0);
  const auto columns = mixed(w);
  for (std::size_t j = 0; j < columns.size(); ++j) g = add_scaled(g, t[j], columns[j]);
  for (std::size_t e = 0; e < w.size(); ++e) g[e] += ridge[e] * w[e];
  return g;
}

Matrix Classifier::hessian(const std::vector<double>& w) const {
  const int n = static_cast<int>(unknowns()), d = features();
  Matrix h(n, n);
  for (int i = 0; i < n; ++i) h(i, i) = ridge[static_cast<std::size_t>(i)];
  for (int j = 0; j < samples.rows; ++j) {
    const std::vector<double> p = probabilities(w, j);
    const double weight = factor * t[static_cast<std::size_t>(j)];
    for (int a = 0; a < classes; ++a)
      for (int b = 0; b < classes; ++b) {
        const double pa = p[static_cast<std::size_t>(a)], pb = p[static_cast<std::size_t>(b)];
        const double curvature = weight * ((a == b ? pa : 0) - pa * pb);
        for (int k = 0; k < d; ++k)
          for (int l = 0; l < d; ++l) h(a * d + k, b * d + l) += curvature * samples(j, k) * samples(j, l);
      }
  }
  return h;
}

std::vector<double> Classifier::minimiser() const {
  std::vector<double> w(unknowns(), 0);
  for (int iteration = 0; iteration < 200; ++iteration) {
    const std::vector<double> g = gradient(w), step = cholesky_solve(hessian(w), g);
    double length = 1;
    while (length > 1e-8 && !(norm(gradient(add_scaled(w, -length, step))) < norm(g))) length /= 2;
    if (length <= 1e-8) break;
    w = add_scaled(w, -length, step);
  }
  return w;
}

}  // namespace bilevel::oracle
