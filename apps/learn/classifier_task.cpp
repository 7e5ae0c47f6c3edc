#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/learn/classifier_model.hpp"
#include "apps/learn/classifier_report.hpp"
#include "apps/learn/run_report.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

namespace {

/// theta of the classifier that the learned one is compared with: its start, or all samples weighing 1.
std::vector<double> plain_theta(const TrainOptions& o, const Parameters& parameters) {
  if (o.learn != Learn::samples) return parameters.initial();
  constexpr double one = 40;  // sigma(40) is 1 in double
  return std::vector<double>(parameters.size(), one);
}

class ClassifierTask final : public Task {
 public:
  explicit ClassifierTask(const TrainOptions& options)
      : options_(options), data_(load_training_data(options)), parameters_(parameters_of(options, data_)) {}

  const Parameters& parameters() const override { return parameters_; }
  NamedOption fingerprint() const override {
    return {"features (fingerprint)", fingerprint_text(data_.fingerprint)};
  }
  UpperReport optimise(Context& context, Observer& observer, const UpperState* resume) override {
    return options_.common.precision == "float" ? optimise_in<float>(context, observer, resume)
                                                : optimise_in<double>(context, observer, resume);
  }
  bool has_result() const override { return !outcome_.weights.empty(); }
  void write(const RunFolder& folder, const std::vector<double>& theta) const override {
    write_classifier(folder / "model.json", model(theta));
    write_pictures(folder, data_, outcome_.weights);
  }
  nlohmann::ordered_json summary(const std::vector<double>& theta) const override {
    return classifier_summary(options_.learn, data_, outcome_, sample_weights(theta));
  }
  Lines lines(const std::vector<double>& theta) const override {
    return classifier_lines(options_.learn, data_, outcome_, sample_weights(theta));
  }

 private:
  template <class T>
  UpperReport optimise_in(Context&, Observer&, const UpperState* resume);
  ClassifierModel model(const std::vector<double>& theta) const;
  std::optional<SampleWeights> sample_weights(const std::vector<double>& theta) const {
    if (options_.learn != Learn::samples) return {};
    return compare_weights(parameters_.values("sample_weight", theta), data_.corrupted);
  }

  const TrainOptions& options_;
  TrainingData data_;
  Parameters parameters_;
  Outcome outcome_;
};

template <class T>
UpperReport ClassifierTask::optimise_in(Context& context, Observer& observer, const UpperState* resume) {
  const Classifier<T> classifier(context, options_, parameters_, data_);
  const auto optimiser = make_optimiser<T>(options_.method, options_.upper);
  const Tensor<T> start = classifier.zero();
  UpperReport report =
      optimiser->run(context, classifier.problem(), parameters_.initial(), start.view(), observer, resume);
  const View<const T> w = optimiser->reconstructions();
  if (!w) return report;
  const std::vector<T> weights = download<T>(context, w);
  if (!std::all_of(weights.begin(), weights.end(), [](T v) { return std::isfinite(v); })) return report;
  outcome_.weights.assign(weights.begin(), weights.end());
  outcome_.training = classifier.on_training(w);
  outcome_.validation = classifier.on_validation(w);
  if (over(report)) {
    const Tensor<T> plain = classifier.fit(plain_theta(options_, parameters_), options_.solver);
    outcome_.plain = classifier.on_validation(plain.view());
  }
  return report;
}

ClassifierModel ClassifierTask::model(const std::vector<double>& theta) const {
  ClassifierModel m;
  m.learn = name_of(options_.learn);
  m.energy = energy_text(options_.learn);
  m.classes = data_.classes;
  m.width = data_.train.width;
  m.height_of_image = data_.train.height_of_image;
  m.width_of_image = data_.train.width_of_image;
  m.bias = options_.bias;
  m.weights = outcome_.weights;
  m.parameters = parameters_.at(theta);
  m.training = deciding_options(options_);
  m.files = data_.files;
  m.samples = data_.train.count;
  m.validation_samples = data_.validation.count;
  m.fingerprint = data_.fingerprint;
  return m;
}

}  // namespace

std::unique_ptr<Task> make_classifier_task(const TrainOptions& options) {
  return std::make_unique<ClassifierTask>(options);
}

}  // namespace bilevel_app::learn
