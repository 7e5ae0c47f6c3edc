#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/model/cross_entropy_term.hpp"
#include "bilevel/model/weighted_ridge.hpp"
#include "bilevel/ops/dense_operator.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/oracle/classifier_oracle.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

/// Training and held-out samples; weights of the former learned through a sigmoid (data hypercleaning), or a
/// ridge e^theta per weight of the classifier beside a fixed one.
struct CleaningData {
  int classes = 1, features = 1;
  std::vector<double> train, held_out;  ///< row after row
  std::vector<int> labels, held_out_labels;
  double ridge = 0.02;
  bool per_weight = false;
  std::vector<double> theta;

  int samples() const { return static_cast<int>(labels.size()); }
  Shape unknown() const { return {1, 1, classes, features}; }

  oracle::Classifier lower() const {
    if (!per_weight) return classifier(train, labels, weights());
    oracle::Classifier c = classifier(train, labels, std::vector<double>(labels.size(), 1));
    for (std::size_t e = 0; e < theta.size(); ++e) c.ridge[e] += std::exp(theta[e]);
    return c;
  }
  oracle::Classifier upper() const {
    oracle::Classifier c =
        classifier(held_out, held_out_labels, std::vector<double>(held_out_labels.size(), 1));
    c.ridge.assign(c.unknowns(), 0);
    return c;
  }
  std::vector<double> weights() const {
    std::vector<double> t;
    for (double v : theta) t.push_back(to_value(Transform::sigmoid, v));
    return t;
  }
  Parameters layout() const {
    if (per_weight) {
      std::vector<double> ridges;
      for (double v : theta) ridges.push_back(std::exp(v));
      return Parameters({{"ridge_weight", Transform::exp, 1, 1e-300, 1e6, true, {classes, features}, ridges},
                         {"xi", Transform::identity, ridge, 0, 1e6, false}});
    }
    return Parameters({{"sample_weight", Transform::sigmoid, 1, 0, 1, true, {samples()}, weights()},
                       {"xi", Transform::identity, ridge, 0, 1e6, false}});
  }
  template <class T>
  std::unique_ptr<ComposedEnergy<T>> energy(Context& context) const {
    std::vector<std::shared_ptr<OwnPart>> parts;
    if (per_weight) parts.push_back(std::make_shared<WeightedRidge<T>>());
    parts.push_back(std::make_shared<CrossEntropyTerm<T>>(scores<T>(context, train, labels), labels,
                                                          1.0 / samples(), !per_weight));
    return std::make_unique<ComposedEnergy<T>>(context, unknown(), layout(), parts);
  }
  template <class T>
  std::shared_ptr<const UpperLoss<T>> loss(Context& context) const {
    return cross_entropy<T>(context, scores<T>(context, held_out, held_out_labels), held_out_labels);
  }

 private:
  oracle::Classifier classifier(const std::vector<double>& x, const std::vector<int>& of,
                                std::vector<double> t) const {
    oracle::Classifier c;
    c.samples = oracle::Matrix(static_cast<int>(of.size()), features);
    c.samples.entries = x;
    c.labels = of;
    c.classes = classes;
    c.factor = 1.0 / static_cast<double>(of.size());
    c.ridge.assign(c.unknowns(), ridge);
    c.t = std::move(t);
    return c;
  }
  template <class T>
  std::shared_ptr<const LinearOperator<T>> scores(Context& context, const std::vector<double>& x,
                                                  const std::vector<int>& of) const {
    return std::make_shared<DenseOperator<T>>(context, 1, classes, static_cast<int>(of.size()), features, x);
  }
};

/// Classes around centres of their own, `wrong` of the training labels drawn anew.
inline CleaningData cleaning_data(int classes, int features, int train, int held_out, double wrong,
                                  Random& random, double size = 1) {
  CleaningData data;
  data.classes = classes;
  data.features = features;
  const int labels = std::max(classes, 2);
  std::vector<std::vector<double>> centres;
  for (int c = 0; c < labels; ++c)
    centres.push_back(random.normal_vector(static_cast<std::size_t>(features)));
  const auto draw = [&](int count, std::vector<double>& x, std::vector<int>& of) {
    for (int j = 0; j < count; ++j) {
      of.push_back(random.integer(0, labels - 1));
      for (double e : centres[static_cast<std::size_t>(of.back())])
        x.push_back(size * static_cast<float>(e + 0.7 * random.normal()));
    }
  };
  draw(train, data.train, data.labels);
  draw(held_out, data.held_out, data.held_out_labels);
  for (int& label : data.labels)
    if (random.uniform() < wrong) label = (label + random.integer(1, labels - 1)) % labels;
  data.theta.assign(data.labels.size(), 0);
  return data;
}

/// The exact hypergradient.
struct ExactCleaning {
  std::vector<double> xhat, q, z;
  double f = 0;
};
inline ExactCleaning exact_of(const CleaningData& data) {
  const oracle::Classifier lower = data.lower(), upper = data.upper();
  ExactCleaning out;
  out.xhat = lower.minimiser();
  out.f = upper.value(out.xhat);
  out.q = oracle::cholesky_solve(lower.hessian(out.xhat), upper.gradient(out.xhat));
  if (data.per_weight) {
    for (std::size_t e = 0; e < data.theta.size(); ++e)
      out.z.push_back(-std::exp(data.theta[e]) * out.xhat[e] * out.q[e]);
    return out;
  }
  const auto columns = lower.mixed(out.xhat);
  for (std::size_t j = 0; j < columns.size(); ++j)
    out.z.push_back(-transform_slope(Transform::sigmoid, data.theta[j]) * dot(columns[j], out.q));
  return out;
}

}  // namespace bilevel::testing_support
