// bilevel-learn train, evaluate and apply on small problems, against minimisers by loops over samples.

#include <cmath>

#include "apps/learn/samples.hpp"
#include "tests/apps/learn_test_support.hpp"

namespace bilevel_test {
namespace {

using bilevel::read_npy;
using namespace bilevel::testing_support;

/// Files of generated samples; labels of two classes as -1 and 1.
struct Files {
  CleaningData data;
  TemporaryFolder folder;

  explicit Files(CleaningData given) : data(std::move(given)) {
    put(data.train, data.labels, "train");
    put(data.held_out, data.held_out_labels, "validation");
  }
  void put(const std::vector<double>& x, std::vector<int> labels, const std::string& name) const {
    const auto features = static_cast<std::size_t>(data.features);
    put_npy(folder / (name + "-images"), {x.size() / features, features}, x);
    if (data.classes == 1)
      for (int& label : labels) label = 2 * label - 1;
    put_labels(folder / (name + "-labels"), labels);
  }
  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    return learn_here(learn_files(folder, out, more));
  }
  Json summary(const std::string& out) const { return summary_of(folder, out); }
  std::vector<double> array(const std::string& out, const std::string& name) const {
    return read_npy(folder / (out + "/" + name)).values;
  }
};

CleaningData samples_of(int classes, int features, int train, int held_out, double wrong, unsigned number) {
  Random random(seed(number));
  CleaningData data = cleaning_data(classes, features, train, held_out, wrong, random);
  data.theta.assign(data.labels.size(), 40);  // all weights 1
  return data;
}

double loss_at(CleaningData data, double ridge) {
  data.ridge = ridge;
  return data.upper().value(data.lower().minimiser());
}

/// Logistic regression with one ridge: every method reaches the best of a scan, and accuracies that vanish
/// take less work than exact ones (the experiment of HOAG's paper).
TEST(LearnRidge, EveryMethodReachesTheScan) {
  const Files files(samples_of(1, 5, 60, 60, 0.15, 4211));
  double best = HUGE_VAL;
  for (int k = 0; k <= 200; ++k) best = std::min(best, loss_at(files.data, std::exp(-12 + 0.08 * k)));
  std::map<std::string, double> work;
  const std::vector<std::vector<std::string>> methods{
      {"--algorithm", "maid"},
      {"--algorithm", "fixed", "--epsilon0", "1e-7", "--delta0", "1e-7"},
      {"--algorithm", "lbfgsb"},
      {"--algorithm", "hoag", "--schedule", "quadratic"},
      {"--algorithm", "hoag", "--schedule", "cubic"},
      {"--algorithm", "hoag", "--schedule", "geometric"},
      {"--algorithm", "hoag", "--schedule", "exact"}};
  for (const auto& method : methods) {
    const std::string name = method[1] + (method[1] == "hoag" ? method[3] : "");
    SCOPED_TRACE(name);
    std::vector<std::string> more{"--learn",     "ridge", "--max-iterations", "300",
                                  "--tolerance", "1e-5",  "--min-progress",   "0"};
    more.insert(more.end(), method.begin(), method.end());
    const Outcome o = files.train(name, more);
    ASSERT_EQ(o.code, 0) << o.err;
    const Json summary = files.summary(name);
    const double exact = loss_at(files.data, summary["theta"]["xi"]);
    EXPECT_LE(exact, best * (1 + 1e-4));
    EXPECT_LE(summary["loss_lower"], exact * (1 + 1e-12));
    EXPECT_GE(summary["loss_upper"], exact * (1 - 1e-12));
    work[name] = summary["operators"];
    std::cout << name << ": loss " << exact / best - 1 << " above the scan, " << work[name] << " operators\n";
  }
  for (const char* schedule : {"quadratic", "cubic", "geometric"})
    EXPECT_LT(work[std::string("hoag") + schedule], work["hoagexact"]) << schedule;
}

/// Weights of samples: the files hold what the program says of them.
TEST(LearnSamples, FilesHoldTheMinimiser) {
  for (const int classes : {1, 3})
    for (const std::string precision : {"double", "float"}) {
      SCOPED_TRACE(std::to_string(classes) + " " + precision);
      Files files(samples_of(classes, 4, 90, 60, 0, 4212));
      const Outcome o =
          files.train("run", {"--learn", "samples", "--ridge", "0.01", "--corrupt", "0.2", "--max-iterations",
                              "12", "--tolerance", "0.02", "--precision", precision, "--seed", "5"});
      ASSERT_EQ(o.code, 0) << o.err;
      const Json summary = files.summary("run");
      CleaningData& data = files.data;
      const std::vector<bool> corrupted =
          bilevel_app::learn::corrupt_labels(data.labels, std::max(classes, 2), 0.2, 5);
      const std::vector<double> sigma = files.array("run", "sample_weight.npy");
      ASSERT_EQ(sigma.size(), data.labels.size());
      for (std::size_t j = 0; j < sigma.size(); ++j) data.theta[j] = std::log(sigma[j] / (1 - sigma[j]));
      data.ridge = 2 * 0.01;
      const std::vector<double> exact = data.lower().minimiser();
      const double epsilon = summary["epsilon"], loss = data.upper().value(exact);
      EXPECT_LE(distance(files.array("run", "weights.npy"), exact), epsilon * (1 + 1e-6));
      const double rounding = precision == "float" ? 1e-5 : 1e-12;  // data of the problem in single precision
      EXPECT_LE(summary["loss_lower"], loss * (1 + rounding));
      EXPECT_GE(summary["loss_upper"], loss * (1 - rounding));
      double clean = 0, wrong = 0;
      for (std::size_t j = 0; j < sigma.size(); ++j) (corrupted[j] ? wrong : clean) += sigma[j];
      EXPECT_EQ(summary["sample_weights"]["corrupted"], 18);
      EXPECT_NEAR(summary["sample_weights"]["mean_clean"], clean / 72, 1e-12);
      EXPECT_NEAR(summary["sample_weights"]["mean_corrupted"], wrong / 18, 1e-12);
      EXPECT_LE(wrong / 18, 0.5 * clean / 72);
      EXPECT_EQ(summary["sample_weights"]["area_under_curve"],
                bilevel_app::learn::area_under_curve(sigma, corrupted));
      EXPECT_LE(summary["validation"]["cross_entropy"], summary["compared_with"]["cross_entropy"]);
      EXPECT_NE(o.out.find("area under the ROC curve"), std::string::npos) << o.out;
    }
}

/// What is compared with is the classifier of all samples weighing 1; a ridge for each weight does better
/// than one on the samples that judge.
TEST(LearnRidges, DoBetterThanOneRidge) {
  Files files(samples_of(3, 6, 60, 60, 0.1, 4213));
  const std::vector<std::string> usual{"--max-iterations", "8", "--tolerance", "0.02", "--json"};
  std::map<std::string, Json> results;
  for (const char* learn : {"ridge", "ridges", "samples"}) {
    std::vector<std::string> more = usual;
    more.insert(more.end(), {"--learn", learn});
    const Outcome o = files.train(learn, more);
    ASSERT_EQ(o.code, 0) << o.err;
    results[learn] = Json::parse(o.out);
    EXPECT_EQ(results[learn], files.summary(learn));
  }
  EXPECT_LT(results["ridges"]["loss_upper"], results["ridge"]["loss_lower"]);
  EXPECT_EQ(read_npy(files.folder / "ridges/ridge_weight.npy").shape, (std::vector<std::size_t>{3, 6}));
  EXPECT_EQ(read_npy(files.folder / "ridges/weights.npy").shape, (std::vector<std::size_t>{3, 6}));
  EXPECT_FALSE(fs::exists(files.folder / "ridge/ridge_weight.npy"));
  EXPECT_FALSE(fs::exists(files.folder / "ridge/images"));  // features are no pictures
  EXPECT_FALSE(results["samples"]["sample_weights"].contains("area_under_curve"));

  const std::vector<double> plain = [&] {
    files.data.ridge = 2e-3;
    return files.data.lower().minimiser();
  }();
  EXPECT_NEAR(results["samples"]["compared_with"]["cross_entropy"], files.data.upper().value(plain), 1e-4);
  CleaningData first = files.data;
  first.ridge = 0.01;
  EXPECT_NEAR(results["ridge"]["compared_with"]["cross_entropy"],
              first.upper().value(first.lower().minimiser()), 1e-4);
}

/// A run on pictures, and what evaluate and apply make of its model.
TEST(LearnPictures, AreTrainedOnEvaluatedAndClassified) {
  const TemporaryFolder folder;
  const Pictures pictures;
  pictures.put(folder, "train", 60, 1);
  pictures.put(folder, "validation", 45, 2);
  pictures.put(folder, "test", 33, 3);
  const Outcome trained = learn_here(
      learn_files(folder, "run", {"--learn", "ridge", "--bias", "--max-iterations", "20", "--train", "48"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  const std::vector<std::string> names = tree(folder / "run");
  for (const char* name : {"model.json", "weights.npy", "log.jsonl", "summary.json", "convergence.svg",
                           "images/weights.png", "checkpoint"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  EXPECT_EQ(summary_of(folder, "run")["training"]["samples"], 48);
  EXPECT_EQ(bilevel::read_image(folder / "run/images/weights.png").channels, 1);

  const std::string model = folder / "run/model.json", images = folder / "test-images";
  const bilevel::Array weights = read_npy(folder / "run/weights.npy");
  ASSERT_EQ(weights.shape, (std::vector<std::size_t>{3, 21}));
  const std::string pixels = get_file(images).substr(16);
  std::vector<int> wrong(3, 0), predicted;
  std::vector<double> entropies(3, 0);
  for (std::size_t j = 0; j < 33; ++j) {
    std::vector<double> s;
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      s.push_back(weights.values[c * 21 + 20]);
      for (std::size_t p = 0; p < 20; ++p)
        s.back() += weights.values[c * 21 + p] * static_cast<unsigned char>(pixels[j * 20 + p]) / 255;
      sum += std::exp(s.back());
    }
    predicted.push_back(static_cast<int>(std::max_element(s.begin(), s.end()) - s.begin()));
    wrong[j % 3] += predicted.back() != static_cast<int>(j % 3);
    entropies[j % 3] += std::log(sum) - s[j % 3];
  }
  for (const std::string precision : {"double", "float"}) {
    const double allowed = precision == "float" ? 1e-5 : 1e-12;
    const Outcome o = learn_here({"evaluate", "--model", model, "--data", images, "--labels",
                                  folder / "test-labels", "--json", "--precision", precision});
    ASSERT_EQ(o.code, 0) << o.err;
    const Json json = Json::parse(o.out);
    double all = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      EXPECT_EQ(json["classes"][c]["label"], c);
      EXPECT_EQ(json["classes"][c]["samples"], 11);
      EXPECT_EQ(json["classes"][c]["errors"], wrong[c]);
      EXPECT_NEAR(json["classes"][c]["cross_entropy"], entropies[c] / 11, allowed);
      all += entropies[c];
    }
    EXPECT_EQ(json["all"]["errors"], wrong[0] + wrong[1] + wrong[2]);
    EXPECT_NEAR(json["all"]["cross_entropy"], all / 33, allowed);
  }
  const Outcome table =
      learn_here({"evaluate", "--model", model, "--data", images, "--labels", folder / "test-labels"});
  EXPECT_EQ(lines_of(table.out).size(), 5u) << table.out;
  const Outcome applied =
      learn_here({"apply", "--model", model, "--data", images, "--output", folder / "labels.npy"});
  ASSERT_EQ(applied.code, 0) << applied.err;
  const bilevel::Array labels = read_npy(folder / "labels.npy");
  EXPECT_EQ(labels.type, "i8");
  EXPECT_EQ(std::vector<int>(labels.values.begin(), labels.values.end()), predicted);
}

/// Samples that stay with the host: the size of the blocks changes no bit, whatever the format of the files.
TEST(LearnBlocks, ChangeNothingButRounding) {
  const TemporaryFolder folder;
  Pictures pictures;
  pictures.put(folder, "train", 1100, 1);
  pictures.put(folder, "validation", 45, 2);
  const std::vector<std::string> usual{"--learn", "samples", "--ridge",          "0.01", "--corrupt",
                                       "0.1",     "--bias",  "--max-iterations", "3"};
  const auto run = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.end(), usual.begin(), usual.end());
    const Outcome o = learn_here(learn_files(folder, out, more));
    EXPECT_EQ(o.code, 0) << o.err;
    return read_npy(folder / (out + "/weights.npy")).values;
  };
  const std::vector<double> whole = run("whole", {}), one = run("one", {"--block-rows", "1"});
  EXPECT_LE(distance(one, whole), 2 * summary_of(folder, "whole")["epsilon"].get<double>());
  EXPECT_NE(norm(one), 0);
  EXPECT_EQ(run("many", {"--block-rows", "100000"}), one);
  EXPECT_EQ(contents_of_run(folder / "many"), contents_of_run(folder / "one"));
  std::vector<double> values;
  for (const char c : get_file(folder / "train-images").substr(16))
    values.push_back(static_cast<unsigned char>(c) / 255.0);
  put_npy(folder / "train-images", {1100, 20}, values);
  EXPECT_EQ(run("numbers", {"--block-rows", "7"}), one);
  std::vector<std::string> more{"--resume"};
  more.insert(more.end(), usual.begin(), usual.end());
  const Outcome o = learn_here(learn_files(folder, "one", more));
  EXPECT_EQ(o.code, 2);
  EXPECT_NE(o.err.find("--block-rows was given, and is not now"), std::string::npos) << o.err;
}

/// Labels -1 and 1 stay what they are in predictions; --validation takes the last samples.
TEST(LearnPictures, TwoClassesKeepTheirLabels) {
  const TemporaryFolder folder;
  Pictures pictures;
  pictures.classes = 2;
  pictures.put(folder, "train", 50, 1);
  std::vector<int> labels;
  for (int j = 0; j < 50; ++j) labels.push_back(j % 2 == 0 ? -1 : 1);
  put_labels(folder / "labels.npy", labels);
  const Outcome o = learn_here({"train", "--train-data", folder / "train-images", "--train-labels",
                                folder / "labels.npy", "--validation", "20", "--learn", "ridge",
                                "--max-iterations", "2", "--out", folder / "run"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(read_npy(folder / "run/weights.npy").shape, (std::vector<std::size_t>{1, 20}));
  const Json summary = summary_of(folder, "run");
  EXPECT_EQ(summary["training"]["samples"], 30);
  EXPECT_EQ(summary["validation"]["samples"], 20);
  EXPECT_EQ(summary["classes"], 2);
  ASSERT_EQ(learn_here({"apply", "--model", folder / "run/model.json", "--data", folder / "train-images",
                        "--output", folder / "out.npy"})
                .code,
            0);
  int right = 0;
  const std::vector<double> out = read_npy(folder / "out.npy").values;
  for (std::size_t j = 0; j < 50; ++j) {
    EXPECT_EQ(std::abs(out[j]), 1);
    right += out[j] == labels[j];
  }
  EXPECT_GE(right, 40);
}

TEST(LearnSamples, CorruptedLabelsAreOthersAndTheirNumberIsExact) {
  using bilevel_app::learn::corrupt_labels;
  for (const int classes : {2, 5}) {
    std::vector<int> labels, before;
    for (int j = 0; j < 1000; ++j) labels.push_back(j % classes);
    before = labels;
    const std::vector<bool> corrupted = corrupt_labels(labels, classes, 0.3, 11);
    EXPECT_EQ(std::count(corrupted.begin(), corrupted.end(), true), 300);
    std::vector<int> shift(static_cast<std::size_t>(classes), 0);
    for (std::size_t j = 0; j < labels.size(); ++j) {
      EXPECT_EQ(labels[j] != before[j], corrupted[j]);
      ASSERT_TRUE(labels[j] >= 0 && labels[j] < classes);
      shift[static_cast<std::size_t>((labels[j] - before[j] + classes) % classes)] += 1;
    }
    for (int s = 1; s < classes; ++s)  // five standard deviations of a binomial number
      EXPECT_NEAR(shift[static_cast<std::size_t>(s)], 300.0 / (classes - 1), 5 * std::sqrt(300.0 * 0.25));
    std::vector<int> again = before, other = before;
    EXPECT_EQ(corrupt_labels(again, classes, 0.3, 11), corrupted);
    EXPECT_EQ(again, labels);
    EXPECT_NE(corrupt_labels(other, classes, 0.3, 12), corrupted);
  }
}

TEST(LearnSamples, TheAreaIsTheFractionOfPairsInOrder) {
  using bilevel_app::learn::area_under_curve;
  EXPECT_EQ(area_under_curve({3, 1, 2, 0}, {false, true, false, true}), 1);
  EXPECT_EQ(area_under_curve({1, 1, 1}, {false, true, false}), 0.5);
  EXPECT_TRUE(std::isnan(area_under_curve({1, 2}, {false, false})));
  EXPECT_TRUE(std::isnan(area_under_curve({1, 2}, {true, true})));
  std::mt19937 generator(5);
  std::vector<double> values;
  std::vector<bool> second;
  for (int j = 0; j < 200; ++j) {
    second.push_back(generator() % 3 == 0);
    values.push_back(static_cast<double>(generator() % 20) - second.back());
  }
  double sum = 0, pairs = 0;
  for (std::size_t a = 0; a < 200; ++a)
    for (std::size_t b = 0; b < 200; ++b) {
      if (second[a] || !second[b]) continue;
      pairs += 1;
      sum += values[a] > values[b] ? 1 : values[a] == values[b] ? 0.5 : 0;
    }
  EXPECT_NEAR(area_under_curve(values, second), sum / pairs, 1e-14);
}

}  // namespace
}  // namespace bilevel_test
