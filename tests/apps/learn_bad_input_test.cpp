#include <cmath>

#include "tests/apps/learn_test_support.hpp"

namespace bilevel_test {
namespace {

class LearnBadInput : public testing::Test {
 protected:
  LearnBadInput() {
    pictures_.put(folder_, "train", 12, 1);
    pictures_.put(folder_, "validation", 9, 2);
  }
  std::string file(const std::string& name) const { return folder_ / name; }
  /// train, with options replaced or added ("" leaves one out), is refused in one sentence and leaves
  /// nothing.
  void expect_refused(int code, const std::vector<std::string>& parts,
                      const std::map<std::string, std::string>& changed) const {
    std::map<std::string, std::string> options{{"--train-data", file("train-images")},
                                               {"--train-labels", file("train-labels")},
                                               {"--validation-data", file("validation-images")},
                                               {"--validation-labels", file("validation-labels")},
                                               {"--learn", "ridge"},
                                               {"--out", file("run")},
                                               {"--max-iterations", "1"}};
    for (const auto& [name, value] : changed) options[name] = value;
    std::vector<std::string> a{"train"};
    for (const auto& [name, value] : options)
      if (!value.empty()) a.insert(a.end(), {name, value});
    expect_learn_sentence(learn_here(a), code, parts);
    EXPECT_FALSE(fs::exists(file("run")));
  }

  TemporaryFolder folder_;
  Pictures pictures_;
};

TEST_F(LearnBadInput, OptionsAreNamed) {
  expect_refused(2, {"train needs --train-data FILE"}, {{"--train-data", ""}});
  expect_refused(2, {"train needs --train-labels FILE"}, {{"--train-labels", ""}});
  expect_refused(2, {"train needs --learn ridge|ridges|samples|shift"}, {{"--learn", ""}});
  expect_refused(2, {"train needs --out RUN_DIR"}, {{"--out", ""}});
  expect_refused(2, {"--validation-data needs --validation-labels"}, {{"--validation-labels", ""}});
  expect_refused(2, {"--validation-labels needs --validation-data"}, {{"--validation-data", ""}});
  expect_refused(2, {"--validation-data FILE and --validation-labels FILE, or --validation N"},
                 {{"--validation-data", ""}, {"--validation-labels", ""}});
  expect_refused(2, {"--validation N takes samples", "leave one of them out"}, {{"--validation", "3"}});
  expect_refused(2, {"--learn nothing: unknown; known are ridge, ridges, samples, shift"},
                 {{"--learn", "nothing"}});
  expect_refused(2, {"--ridge is for --learn samples and shift"}, {{"--ridge", "0.1"}});
  expect_refused(2, {"--shift-matrix is for --learn shift, not for --learn ridge; leave it out"},
                 {{"--shift-matrix", "a.npy"}});
  expect_refused(2, {"--ridge -1.0: use a positive number"}, {{"--ridge", "-1"}, {"--learn", "samples"}});
  expect_refused(2, {"--init 1.0: weights of samples begin between 0 and 1"},
                 {{"--init", "1"}, {"--learn", "samples"}});
  expect_refused(2, {"--init 0.0: use a number from 1e-06 to 1000.0"}, {{"--init", "0"}});
  expect_refused(2, {"--init 1000000000.0: use a number from"}, {{"--init", "1e9"}});
  for (const char* rate : {"-0.1", "1.0", "nan"})
    expect_refused(2, {std::string("--corrupt ") + rate + ": use a fraction"}, {{"--corrupt", rate}});
  expect_refused(2, {"--train 0: use at least 1"}, {{"--train", "0"}});
  expect_refused(2, {"--block-rows 0: use at least 1"}, {{"--block-rows", "0"}});
  expect_refused(2, {"--classes 1: use at least 2"}, {{"--classes", "1"}});
  expect_refused(2, {"--precision mixed"}, {{"--precision", "mixed"}});
  expect_refused(2, {"--algorithm newton: unknown"}, {{"--algorithm", "newton"}});
  expect_refused(2, {"--schedule is an option of --algorithm hoag"}, {{"--schedule", "cubic"}});
  expect_refused(2, {"--solver pdhg: unknown"}, {{"--solver", "pdhg"}});
  expect_refused(2, {"--train 13 is more than the 12 samples of --train-data"}, {{"--train", "13"}});
  const std::map<std::string, std::string> no_files{{"--validation-data", ""}, {"--validation-labels", ""}};
  auto with = no_files;
  with["--validation"] = "12";
  expect_refused(2, {"--validation 12 leaves none to train on of the 12 samples"}, with);
  with["--validation"] = "4";
  with["--train"] = "9";
  expect_refused(2, {"--validation 4 and --train 9 need more than the 12 samples"}, with);
  expect_learn_sentence(learn_here({"trian"}), 2, {});
  expect_learn_sentence(learn_here({"apply", "--model", "m", "--data", "d", "--output", "labels.txt"}), 2,
                        {"--output labels.txt: use a name that ends with .npy"});
}

TEST_F(LearnBadInput, FilesAreNamed) {
  expect_refused(3, {"--train-data " + file("none")}, {{"--train-data", file("none")}});
  put_file(file("text"), "5, 3, 2\n");
  expect_refused(3,
                 {"--train-data " + file("text"), "neither an idx file of unsigned bytes nor a .npy array"},
                 {{"--train-data", file("text")}});
  put_file(file("cut"), get_file(file("train-images")).substr(0, 100));
  expect_refused(3, {"--train-data " + file("cut"), "asks for 240 bytes of values but 84"},
                 {{"--train-data", file("cut")}});
  put_file(file("long"), get_file(file("train-labels")) + "x");
  expect_refused(3, {"--train-labels " + file("long"), "asks for 12 bytes of values but 13"},
                 {{"--train-labels", file("long")}});
  put_file(file("packed.gz"), "\x1f\x8b\b...");
  expect_refused(3, {"--validation-data " + file("packed.gz"), "gzip; unpack it first"},
                 {{"--validation-data", file("packed.gz")}});
  put_file(file("empty"), idx_bytes({0, 5, 4}, ""));
  expect_refused(3, {"--train-data " + file("empty"), "it holds no sample"},
                 {{"--train-data", file("empty")}});
  put_file(file("thin"), idx_bytes({12, 0, 4}, ""));
  expect_refused(3, {"--train-data " + file("thin"), "have no feature"}, {{"--train-data", file("thin")}});
  expect_refused(3, {"--train-data " + file("train-labels"), "this one has 1 dimension"},
                 {{"--train-data", file("train-labels")}});
  expect_refused(3, {"--train-labels " + file("train-images"), "an array [samples]"},
                 {{"--train-labels", file("train-images")}});
  expect_refused(3,
                 {"--train-labels " + file("validation-labels"),
                  "9 labels for the 12 samples of --train-data " + file("train-images")},
                 {{"--train-labels", file("validation-labels")}});
  Pictures other;
  other.width = 3;
  other.put(folder_, "narrow", 9, 4);
  expect_refused(3, {"--validation-data " + file("narrow-images"), "15 features, those of --train-data 20"},
                 {{"--validation-data", file("narrow-images")}});
}

TEST_F(LearnBadInput, NumbersAreNamed) {
  std::vector<double> x(24, 0.5);
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    x[7] = bad;
    put_npy(file("bad.npy"), {12, 2}, x);
    expect_refused(3, {"--train-data " + file("bad.npy"), "sample 3 (counted from 0)", "not finite"},
                   {{"--train-data", file("bad.npy")}});
  }
  std::vector<double> labels{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
  const auto refuse = [&](const std::vector<double>& values, const std::vector<std::string>& parts,
                          const std::map<std::string, std::string>& more = {}) {
    put_npy(file("labels.npy"), {values.size()}, values);
    auto changed = more;
    changed["--train-labels"] = file("labels.npy");
    auto all = parts;
    all.push_back("--train-labels " + file("labels.npy"));
    expect_refused(3, all, changed);
  };
  const auto replaced = [&](std::size_t at, double value) {
    std::vector<double> values = labels;
    values[at] = value;
    return values;
  };
  refuse(replaced(4, 1.5), {"label 4 (counted from 0) is 1.5, not a whole number"});
  refuse(replaced(4, std::nan("")), {"label 4 (counted from 0) is nan"});
  refuse(replaced(4, 1e12), {"label 4 (counted from 0) is"});
  refuse(replaced(4, -2), {"it has the label -2; use 0, 1, ..."});
  refuse(replaced(4, 4), {"no sample has the label 3, though others are larger"});
  refuse(std::vector<double>(12, 1), {"all labels are 1; a classifier needs two classes"});
  refuse(labels, {"no sample has the label 3, though --classes asks for it"}, {{"--classes", "4"}});
  refuse(labels, {"the label 2, but --classes 2 means the labels 0 to 1"}, {{"--classes", "2"}});
  refuse(labels, {"all labels of the first 1 are 0"}, {{"--train", "1"}});
  put_npy(file("labels.npy"), {9}, {0, 1, 2, 0, 1, 2, 0, 1, 3});
  expect_refused(3, {"--validation-labels " + file("labels.npy"), "label 8 (counted from 0) is 3", "0 to 2"},
                 {{"--validation-labels", file("labels.npy")}});
}

TEST_F(LearnBadInput, ModelsAreCheckedBeforeTheyAreUsed) {
  ASSERT_EQ(learn_here(learn_files(folder_, "good", {"--learn", "ridge", "--max-iterations", "2"})).code, 0);
  const std::string model = file("good/model.json"), text = get_file(model);
  const auto refuse = [&](const std::vector<std::string>& parts, const std::string& from = "validation") {
    expect_learn_sentence(learn_here({"apply", "--model", model, "--data", file(from + "-images"), "--output",
                                      file("out.npy")}),
                          3, parts);
    EXPECT_FALSE(fs::exists(file("out.npy")));
  };
  EXPECT_EQ(learn_here({"apply", "--model", model, "--data", file("validation-images"), "--output",
                        file("good/weights.npy")})
                .code,
            2);
  EXPECT_EQ(learn_here({"evaluate", "--model", file("good"), "--data", file("validation-images"), "--labels",
                        file("validation-labels")})
                .code,
            3);
  for (std::size_t length = 0; length + 2 < text.size(); length += 37) {
    put_file(model, text.substr(0, length));
    refuse({model, "it is no complete model of bilevel-learn"});
  }
  const auto changed = [&](const std::string& key, const Json& value) {
    Json json = Json::parse(text);
    json[Json::json_pointer(key)] = value;
    put_file(model, json.dump());
  };
  changed("/format", "bilevel-model");
  refuse({"it is no model of bilevel-learn"});
  changed("/format_version", 2);
  refuse({"its format version is not 1"});
  changed("/classes", {0, 0, 1});
  refuse({"key 'classes'"});
  changed("/classes", {0, 1, 2, 3});
  refuse({"it does not hold the 4 x 20 finite weights"});
  changed("/features/count", -1);
  refuse({"key 'count' is not a whole number from 1"});
  put_file(model, text);
  Pictures other;
  other.width = 3;
  other.put(folder_, "narrow", 9, 4);
  refuse({"--data " + file("narrow-images"), "15 features, those of the model 20"}, "narrow");
  const std::string weights = get_file(file("good/weights.npy"));
  std::string damaged = weights;
  damaged[damaged.size() - 3] ^= 1;
  put_file(file("good/weights.npy"), damaged);
  refuse({file("good/weights.npy"), "its weights are not those"});
  put_file(file("good/weights.npy"), weights);
  expect_learn_sentence(learn_here({"evaluate", "--model", model, "--data", file("validation-images"),
                                    "--labels", file("train-labels")}),
                        3, {"12 labels for the 9 samples"});
  put_npy(file("test.npy"), {9, 20}, std::vector<double>(180, 0.5));
  expect_learn_sentence(
      learn_here({"apply", "--model", model, "--data", file("test.npy"), "--output", file("test.npy")}), 2,
      {"--output", "would replace", "which --data names"});
  const Outcome denoise =
      run({"apply", "--model", model, "--input", file("x.png"), "--output", file("y.png")});
  EXPECT_EQ(denoise.code, 3);
  EXPECT_NE(denoise.err.find("key 'format' is not 'bilevel-model'"), std::string::npos) << denoise.err;
}

}  // namespace
}  // namespace bilevel_test
