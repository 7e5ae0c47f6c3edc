#include "apps/learn/problem.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "apps/learn/matrix_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/cross_entropy_term.hpp"
#include "bilevel/model/weighted_ridge.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

namespace {

/// The operator's result for its only image, z = A x.
template <class T>
std::vector<double> applied(Context& context, const DenseOperator<T>& a, View<const T> x) {
  Tensor<T> z(context, a.range());
  const Tensor<std::int32_t> index(context, {1, 1, 1, 1}, std::vector<std::int32_t>{0});
  const Tensor<std::uint8_t> mask(context, {1, 1, 1, 1}, std::vector<std::uint8_t>{1});
  a.apply(context, {mask.view().device_data(), index.view().device_data(), 1}, x, z.view());
  const std::vector<T> values = download(context, z);
  return {values.begin(), values.end()};
}

/// ln(sum_c e^{s_c}) - s_y; of one score s, of class 1 against 0: ln(1 + e^s) - y s.
double cross_entropy_of(std::span<const double> s, int y) {
  const auto softplus = [](double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); };
  if (s.size() == 1) return softplus(y == 1 ? -s[0] : s[0]);
  const double most = *std::max_element(s.begin(), s.end());
  double sum = 0;
  for (const double v : s) sum += std::exp(v - most);
  return most + std::log(sum) - s[static_cast<std::size_t>(y)];
}

int class_of(std::span<const double> s) {
  if (s.size() == 1) return s[0] > 0 ? 1 : 0;
  return static_cast<int>(std::max_element(s.begin(), s.end()) - s.begin());
}

std::span<const double> sample_of(const Classes& classes, std::span<const double> scores, std::size_t j) {
  const auto n = static_cast<std::size_t>(classes.scores());
  return scores.subspan(j * n, n);
}

std::vector<int> part(const std::vector<int>& labels, int first, int count) {
  return {labels.begin() + first, labels.begin() + first + count};
}

std::uint64_t fingerprint_of(const TrainingData& d) {
  std::uint64_t f = fingerprint(d.train.values);
  f = fingerprint(d.validation.values, f);
  for (const Features* features : {&d.train, &d.validation})
    if (!features->pixels.empty()) f = fingerprint(std::as_bytes(std::span(features->pixels)), f);
  f = fingerprint(std::as_bytes(std::span(d.labels)), f);
  return fingerprint(std::as_bytes(std::span(d.validation_labels)), f);
}

std::string of_samples(int count, const NamedFile& file) {
  return std::to_string(count) + " samples of " + file.text();
}

/// Validation samples of their own files.
void read_validation(const TrainOptions& o, TrainingData& d) {
  const NamedFile features{"--validation-data", o.validation_data},
      labels{"--validation-labels", o.validation_labels};
  d.validation = read_features(features, o.bias, o.block_rows.has_value());
  if (d.validation.width != d.train.width)
    throw IoError(features.text(), "its samples have " + std::to_string(d.validation.width - o.bias) +
                                       " features, those of --train-data " +
                                       std::to_string(d.train.width - o.bias) + ".");
  d.validation_labels = d.classes.numbers(labels, read_labels(labels, d.validation.count, features));
}

}  // namespace

TrainingData load_training_data(const TrainOptions& o) {
  const NamedFile features{"--train-data", o.train_data}, labels{"--train-labels", o.train_labels};
  TrainingData d;
  Features all = read_features(features, o.bias, o.block_rows.has_value());
  const std::vector<int> given = read_labels(labels, all.count, features);
  const int held_out = o.validation.value_or(0), count = o.train.value_or(all.count - held_out);
  if (held_out >= all.count || (held_out > 0 && count > all.count - held_out))
    throw ConfigError("--validation " + std::to_string(held_out) +
                      (o.train ? " and --train " + std::to_string(count) + " need more than the "
                               : " leaves none to train on of the ") +
                      of_samples(all.count, features) + ".");
  if (count > all.count)
    throw ConfigError("--train " + std::to_string(count) + " is more than the " +
                      of_samples(all.count, features) + ".");
  const std::string which = count < all.count ? " of the first " + std::to_string(count) : "";
  d.labels = part(given, 0, count);
  d.classes = classes_of(labels, d.labels, o.classes.value_or(0), which);
  d.labels = d.classes.numbers(labels, d.labels);
  if (held_out > 0) {
    d.validation = all.rows(all.count - held_out, held_out);
    d.validation_labels = d.classes.numbers(labels, part(given, all.count - held_out, held_out));
  }
  d.train = count == all.count ? std::move(all) : all.rows(0, count);
  if (held_out == 0) read_validation(o, d);
  if (o.corrupt > 0) d.corrupted = corrupt_labels(d.labels, d.classes.count(), o.corrupt, o.common.seed);
  for (const std::string& path : {o.train_data, o.train_labels, o.validation_data, o.validation_labels})
    if (!path.empty()) d.files.push_back(std::filesystem::path(path).filename().string());
  d.fingerprint = fingerprint_of(d);
  return d;
}

Parameters parameters_of(const TrainOptions& o, const TrainingData& d) {
  const double first = o.first_value();
  const auto [lower, upper] = bounds_of(o.learn);
  const int scores = d.classes.scores(), features = d.train.width, samples = d.train.count;
  const auto all = [first](int count) { return std::vector<double>(static_cast<std::size_t>(count), first); };
  if (o.learn == Learn::ridge) return Parameters({{"xi", Transform::exp, first, lower, upper}});
  if (o.learn == Learn::ridges)
    return Parameters(
        {{"ridge_weight", Transform::exp, 1, lower, upper, true, {scores, features}, all(scores * features)},
         {"xi", Transform::identity, 0, 0, 1, false}});
  return Parameters({{"sample_weight", Transform::sigmoid, 1, lower, upper, true, {samples}, all(samples)},
                     {"xi", Transform::identity, 2 * o.fixed_ridge(), 0, 2 * o.fixed_ridge(), false}});
}

std::string energy_text(Learn learn) {
  const std::string data = "l(W x_j, y_j)", mean = "1/N sum_j ";
  if (learn == Learn::ridge) return mean + data + " + xi/2 |W|^2";
  if (learn == Learn::ridges) return mean + data + " + 1/2 sum_e ridge_weight_e W_e^2";
  return mean + "sample_weight_j " + data + " + xi/2 |W|^2";
}

int Verdict::errors() const { return std::accumulate(wrong.begin(), wrong.end(), 0); }
double Verdict::error_rate() const { return static_cast<double>(errors()) / samples; }
double Verdict::cross_entropy() const {
  return std::accumulate(cross_entropies.begin(), cross_entropies.end(), 0.0) / samples;
}

Verdict judge(const Classes& classes, std::span<const double> scores, const std::vector<int>& labels) {
  const auto n = static_cast<std::size_t>(classes.count());
  Verdict v{static_cast<int>(labels.size()), std::vector<int>(n), std::vector<int>(n),
            std::vector<double>(n)};
  for (std::size_t j = 0; j < labels.size(); ++j) {
    const auto s = sample_of(classes, scores, j);
    const auto c = static_cast<std::size_t>(labels[j]);
    v.of_class[c] += 1;
    if (class_of(s) != labels[j]) v.wrong[c] += 1;
    v.cross_entropies[c] += cross_entropy_of(s, labels[j]);
  }
  return v;
}

std::vector<int> most_likely(const Classes& classes, std::span<const double> scores) {
  std::vector<int> out;
  for (std::size_t j = 0; j < scores.size() / static_cast<std::size_t>(classes.scores()); ++j)
    out.push_back(class_of(sample_of(classes, scores, j)));
  return out;
}

template <class T>
Classifier<T>::Classifier(Context& context, const TrainOptions& o, const Parameters& parameters,
                          TrainingData& data)
    : context_(context), data_(data) {
  const int scores = data.classes.scores();
  const auto make_scores = [&](Features& f, const NamedFile& file) {
    if (o.block_rows) return streamed_operator_of<T>(context, scores, f, *o.block_rows, file);
    auto a = operator_of<T>(context, scores, f.count, f.width, f.values, file);
    f.values = std::vector<double>();  // gives the memory back, which {} would not
    return a;
  };
  const NamedFile training{"--train-data", o.train_data};
  train_ = make_scores(data.train, training);
  validation_ =
      make_scores(data.validation,
                  o.validation_data.empty() ? training : NamedFile{"--validation-data", o.validation_data});
  std::vector<std::shared_ptr<OwnPart>> parts;
  if (o.learn == Learn::ridges) parts.push_back(std::make_shared<WeightedRidge<T>>());
  parts.push_back(std::make_shared<CrossEntropyTerm<T>>(train_, data.labels, 1.0 / data.train.count,
                                                        o.learn == Learn::samples));
  problem_ = std::make_unique<BilevelProblem<T>>(
      std::make_unique<ComposedEnergy<T>>(context, data.unknown(), parameters, std::move(parts)),
      cross_entropy<T>(context, validation_, data.validation_labels), parameters);
}

template <class T>
Tensor<T> Classifier<T>::zero() const {
  return Tensor<T>(context_, data_.unknown(), std::vector<T>(data_.unknown().count(), T(0)));
}

template <class T>
Tensor<T> Classifier<T>::fit(std::span<const double> theta, const std::string& solver) const {
  Tensor<T> w = zero();
  problem_->energy().bind(theta);
  SolveRequest<T> request;
  request.tolerance = 1e-3;
  make_minimiser<T>(solver)->minimise(context_, problem_->energy(), request, w.view());
  return w;
}

template <class T>
Verdict Classifier<T>::judge_by(const DenseOperator<T>& scores, View<const T> weights,
                                const std::vector<int>& labels) const {
  const std::vector<double> by_class = applied<T>(context_, scores, weights);  // [scores][samples]
  const std::size_t n = static_cast<std::size_t>(data_.classes.scores()), samples = labels.size();
  std::vector<double> by_sample(by_class.size());
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t j = 0; j < samples; ++j) by_sample[j * n + c] = by_class[c * samples + j];
  return judge(data_.classes, by_sample, labels);
}

template <class T>
Verdict Classifier<T>::on_training(View<const T> weights) const {
  return judge_by(*train_, weights, data_.labels);
}
template <class T>
Verdict Classifier<T>::on_validation(View<const T> weights) const {
  return judge_by(*validation_, weights, data_.validation_labels);
}

template class Classifier<float>;
template class Classifier<double>;

template <class T>
std::vector<double> scores_of(Context& context, const Features& f, std::span<const double> weights) {
  // The weights are the matrix and the samples its vectors: nothing is factored, and all is read once.
  const int scores = static_cast<int>(weights.size()) / f.width;
  const DenseOperator<T> w(context, 1, f.count, scores, f.width, weights);
  const Tensor<T> x(context, w.domain(), std::vector<T>(f.values.begin(), f.values.end()));
  return applied<T>(context, w, x.view());
}
template std::vector<double> scores_of<float>(Context&, const Features&, std::span<const double>);
template std::vector<double> scores_of<double>(Context&, const Features&, std::span<const double>);

}  // namespace bilevel_app::learn
