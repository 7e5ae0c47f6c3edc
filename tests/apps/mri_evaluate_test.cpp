// evaluate takes images as learn and baseline took them, and keeps runs of one name apart.

#include "bilevel/io/array_file.hpp"
#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

class MriEvaluate : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_ / name; }
  /// Small heads in the corner of 24 x 24 pixels, which --size cuts out; other ones by the phase.
  std::string corner_file(const std::string& name, double phase) const {
    const std::vector<double> small = head(2, 12, phase);
    std::vector<double> values(2 * 24 * 24, 0.0);
    for (std::size_t k = 0; k < 2; ++k)
      for (std::size_t i = 0; i < 12; ++i)
        for (std::size_t j = 0; j < 12; ++j)
          values[(k * 24 + i + 3) * 24 + j + 2] = small[(k * 12 + i) * 12 + j];
    bilevel::write_npy(file(name), std::vector<std::size_t>{2, 24, 24}, std::span<const double>(values));
    return file(name);
  }
  Json trained(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> a{"baseline",   "--rate", "0.4",   "--max-iterations", "2",
                               "--accuracy", "1e-4",   "--out", file(out),          "--quiet"};
    a.insert(a.end(), more.begin(), more.end());
    const Outcome o = mri_here(a);
    EXPECT_EQ(o.code, 0) << o.err;
    return summary_of(file(out));
  }
  Outcome evaluated(const std::string& data, const std::vector<std::string>& more) const {
    std::vector<std::string> a{"evaluate", "--data", data, "--tolerance", "1e-4", "--json"};
    a.insert(a.end(), more.begin(), more.end());
    return mri_here(a);
  }
  static void expect_equal(const Json& quality, const Outcome& o) {
    ASSERT_EQ(o.code, 0) << o.err;
    const Json mean = Json::parse(o.out)["runs"][0]["mean"];
    EXPECT_NEAR(mean["psnr"].get<double>(), quality["psnr"].get<double>(), 0.02);
    EXPECT_NEAR(mean["ssim"].get<double>(), quality["ssim"].get<double>(), 1e-3);
  }
  /// Takes --size out of the model, as if an older version had written it.
  void make_old(const std::string& run) const {
    Json model = Json::parse(get_file(file(run + "/model.json")));
    ASSERT_EQ(model["training"].erase("size"), 1U);
    put_file(file(run + "/model.json"), model.dump());
  }
  TemporaryFolder folder_;
};

TEST_F(MriEvaluate, TheNumbersAreThoseOfTheRun) {
  const std::string data = corner_file("data.npy", 0), test = corner_file("test.npy", 1);
  for (const auto& options : std::vector<std::vector<std::string>>{{},
                                                                   {"--image", "real"},
                                                                   {"--crop-to", "20"},
                                                                   {"--size", "16"},
                                                                   {"--crop-to", "22x20", "--size", "24"}}) {
    SCOPED_TRACE(options.empty() ? "as they are" : options.front() + " " + options.back());
    auto a = options;
    a.insert(a.end(), {"--data", data, "--test-data", test});
    const std::string run = "run" + std::to_string(options.size()) + (options.empty() ? "" : options.back());
    const Json summary = trained(run, a);
    const Outcome training = evaluated(data, {"--run", file(run)});
    expect_equal(summary["training"]["binary"], training);
    EXPECT_EQ(training.err, "");
    expect_equal(summary["test"]["binary"], evaluated(test, {"--run", file(run), "--seed", "1"}));
  }
}

TEST_F(MriEvaluate, OldRunsDoNotTellTheirSize) {
  const std::string data = corner_file("data.npy", 0);
  const Json summary = trained("run", {"--data", data});
  make_old("run");
  const Outcome o = evaluated(data, {"--run", file("run")});
  expect_equal(summary["training"]["binary"], o);
  EXPECT_NE(o.err.find("--size 24"), std::string::npos) << o.err;

  const Json resampled = trained("small", {"--data", data, "--size", "16"});
  make_old("small");
  const Outcome small = evaluated(data, {"--run", file("small")});
  expect_equal(resampled["training"]["binary"], small);
  EXPECT_EQ(small.err, "");
}

TEST_F(MriEvaluate, ImagesOfAnotherSizeAreNotResampledSilently) {
  trained("run", {"--data", corner_file("data.npy", 0)});
  const Outcome o = evaluated(head_file(folder_, "other.npy", 2, 20), {"--run", file("run")});
  EXPECT_EQ(o.code, 3);
  expect_one_sentence(o, "bilevel-mri");
  for (const std::string& part :
       {file("run"), file("other.npy"), std::string("20 x 20"), std::string("--size")})
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
}

TEST_F(MriEvaluate, RunsOfOneName) {
  const std::string data = corner_file("data.npy", 0);
  for (const char* out : {"a/run", "b/run", "c"}) trained(out, {"--data", data});
  const Outcome o = evaluated(
      data, {"--run", file("a/run"), file("b/run/"), file("c"), file("a/run"), "--save", file("pictures")});
  ASSERT_EQ(o.code, 0) << o.err;
  std::vector<std::string> names;
  const Json report = Json::parse(o.out);
  for (const Json& run : report["runs"]) names.push_back(run["run"]);
  EXPECT_EQ(names, (std::vector<std::string>{"a/run", "b/run", "c", "a/run-2"}));
  for (const char* name : {"a-run", "b-run", "c", "a-run-2"})
    for (const char* slice : {"0-", "1-"})
      EXPECT_TRUE(fs::exists(file("pictures/") + slice + name + ".png")) << slice << name;
}

TEST_F(MriEvaluate, PicturesDoNotReplaceTheData) {
  trained("run", {"--data", corner_file("data.npy", 0)});
  fs::create_directories(file("photos"));
  bilevel::write_image(file("photos/0-run.png"), {1, 24, 24, head(1, 24)});
  const std::string before = get_file(file("photos/0-run.png"));
  for (const char* data : {"photos", "photos/0-run.png"}) {
    const Outcome o = evaluated(file(data), {"--run", file("run"), "--save", file("photos"), "--quiet"});
    EXPECT_EQ(o.code, 2) << o.err;
    for (const char* part : {"--save", "--data", "0-run.png"})
      EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    EXPECT_EQ(get_file(file("photos/0-run.png")), before);
  }
}

TEST_F(MriEvaluate, RunsOfDifferentDataAreMentioned) {
  const std::string data = corner_file("data.npy", 0);
  trained("a", {"--data", data, "--sigma", "0.02"});
  trained("b", {"--data", data, "--sigma", "0.05", "--size", "24"});
  const std::vector<std::string> runs{"--run", file("a"), file("b")};
  const Outcome o = evaluated(data, runs);
  for (const char* option : {"different --size", "different --sigma"})
    EXPECT_NE(o.err.find(option), std::string::npos) << o.err;
  auto told = runs;
  told.insert(told.end(), {"--sigma", "0.02", "--size", "24"});
  EXPECT_EQ(evaluated(data, told).err, "");
}

}  // namespace
}  // namespace bilevel_test
