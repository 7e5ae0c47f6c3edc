// Data hypercleaning: a weight for every training sample of a linear classifier, learned so that the
// classifier does well on samples whose labels are trusted. A third of the training labels are wrong. Prints
// the certified loss on the trusted samples and the mean weight of right and of wrong labels.
// Run: weigh_samples [DEVICE]

#include <bilevel/learn/upper_optimiser.hpp>
#include <bilevel/model/cross_entropy_term.hpp>
#include <bilevel/ops/dense_operator.hpp>
#include <cstdio>
#include <random>

using namespace bilevel;

/// Samples of three classes around points of a circle, a row [x, y, 1] each.
struct Samples {
  std::vector<double> rows;
  std::vector<int> labels;

  Samples(int count, std::mt19937_64& generator) {
    const double centres[3][2] = {{1, 0}, {-0.5, 0.87}, {-0.5, -0.87}};
    std::normal_distribution<double> noise(0, 0.4);
    for (int j = 0; j < count; ++j) {
      labels.push_back(j % 3);
      rows.insert(rows.end(),
                  {centres[j % 3][0] + noise(generator), centres[j % 3][1] + noise(generator), 1});
    }
  }
};

int main(int argc, char** argv) {
  std::mt19937_64 generator(1);
  const int train = 120, trusted = 60, classes = 3, features = 3;
  Samples lower(train, generator), upper(trusted, generator);
  for (int j = 0; j < train; j += 3) lower.labels[j] = (lower.labels[j] + 1 + j % 2) % classes;

  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  const auto scores = [&](const Samples& s, int count) {
    return std::make_shared<DenseOperator<double>>(context, 1, classes, count, features, s.rows);
  };
  const Parameters parameters(
      {{"sample_weight", Transform::sigmoid, 0.5, 0, 1, true, {train}, std::vector<double>(train, 0.5)},
       {"xi", Transform::identity, 0.01, 0, 1, false}});
  const Shape unknown{1, 1, classes, features};
  auto term =
      std::make_shared<CrossEntropyTerm<double>>(scores(lower, train), lower.labels, 1.0 / train, true);
  auto energy = std::make_unique<ComposedEnergy<double>>(
      context, unknown, parameters, std::vector<std::shared_ptr<OwnPart>>{std::move(term)});
  const BilevelProblem<double> problem(
      std::move(energy), cross_entropy<double>(context, scores(upper, trusted), upper.labels), parameters);

  UpperOptions options;
  options.max_iterations = 60;
  Observer silent;
  Tensor<double> start(context, unknown, std::vector<double>(unknown.count(), 0));
  const UpperReport report =
      make_maid<double>(options)->run(context, problem, parameters.initial(), start.view(), silent);
  const std::vector<double> weights = parameters.values("sample_weight", report.theta);
  double right = 0, wrong = 0;
  for (int j = 0; j < train; ++j) (j % 3 ? right : wrong) += weights[static_cast<std::size_t>(j)];
  std::printf("loss between %.6f and %.6f, mean weight %.3f of right labels, %.3f of wrong ones\n",
              report.last.loss_lower, report.last.loss_upper, right / (2 * train / 3), wrong / (train / 3));
}
