// Sums of regularisers in bilevel-mri.

#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

class MriSums : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 3, 24);
    outcome_ = mri(arguments("run"));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more = {},
                                            const char* iterations = "10") {
    auto a = on_device_or_one_thread({"learn", "--data", data_, "--out", file(out), "--rate", "0.4",
                                      "--rate-runs", "2", "--regulariser", "tv+tv2", "--weight", "0.01,0.005",
                                      "--nu", "0.02", "--max-iterations", iterations});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome outcome_;
};
TemporaryFolder* MriSums::folder_ = nullptr;
std::string MriSums::data_;
Outcome MriSums::outcome_;

TEST_F(MriSums, LearnsTheWeightsOfBothParts) {
  ASSERT_EQ(outcome_.code, 0) << outcome_.err;
  EXPECT_NE(outcome_.out.find(", 2.alpha "), std::string::npos) << outcome_.out;
  const Json model = Json::parse(get_file(file("run/model.json"))), summary = summary_of(file("run"));
  EXPECT_EQ(model["regulariser"], "tv+tv2");
  EXPECT_FALSE(model.contains("potential"));
  EXPECT_EQ(model["parts"], Json({{{"regulariser", "tv"}, {"potential", "charbonnier"}},
                                  {{"regulariser", "tv2"}, {"potential", "charbonnier"}}}));
  EXPECT_EQ(model["theta"]["nu"], 0.02);
  EXPECT_EQ(model["theta"]["2.nu"], 0.02);
  EXPECT_NE(model["theta"]["2.alpha"], 0.005);
  EXPECT_FALSE(model["theta"].contains("2.xi"));
  for (const char* name : {"alpha", "2.alpha"}) {
    EXPECT_EQ(summary[name], model["theta"][name]) << name;
    EXPECT_TRUE(log_of_run(file("run")).back()["theta"].contains(name)) << name;
  }
  EXPECT_TRUE(summary.contains("2.relaxed_alpha"));
  EXPECT_GT(summary["training"]["binary"]["psnr"], summary["training"]["zero_filled"]["psnr"]);

  const Outcome single = mri(arguments("fixed", {"--no-learn-weight"}));
  ASSERT_EQ(single.code, 0) << single.err;
  const Json fixed = Json::parse(get_file(file("fixed/model.json")))["theta"];
  EXPECT_EQ(fixed["alpha"], 0.01);
  EXPECT_EQ(fixed["2.alpha"], 0.005);
}

TEST_F(MriSums, TheModelIsEvaluatedAndReconstructs) {
  ASSERT_EQ(outcome_.code, 0);
  const Outcome e = mri(on_device({"evaluate", "--json", "--run", file("run"), "--data", data_}));
  ASSERT_EQ(e.code, 0) << e.err;
  const Json run = Json::parse(e.out)["runs"][0], summary = summary_of(file("run"));
  EXPECT_EQ(run["2.alpha"], summary["2.alpha"]);
  EXPECT_NEAR(run["mean"]["psnr"].get<double>(), summary["training"]["binary"]["psnr"].get<double>(), 0.5);
  const auto image = head(1, 24);
  write_hdf5(file("scan.h5"), "kspace", {1, 24, 24},
             centred_kspace(Complexes(image.begin(), image.end()), 1, 24));
  const std::vector<std::vector<std::string>> models{
      {"--run", file("run")}, {"--regulariser", "tv-aniso+h1", "--weight", "0.002,0.01"}};
  for (const auto& model : models) {
    auto a = on_device({"reconstruct", "--json", "--kspace", file("scan.h5"), "--output", file("out.png"),
                        "--tolerance", "1e-4"});
    a.insert(a.end(), model.begin(), model.end());
    const Outcome r = mri(a);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_LE(Json::parse(r.out)["certified_rms"], 1e-4) << r.out;
  }
}

TEST_F(MriSums, AResumedRunGivesTheSameBits) {
  ASSERT_EQ(outcome_.code, 0);
  ASSERT_EQ(mri(arguments("cut", {}, "3")).code, 0);
  const Outcome o = mri(arguments("cut", {"--resume"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("run/model.json")));
  auto other = arguments("cut", {"--resume"});
  std::replace(other.begin(), other.end(), std::string("tv+tv2"), std::string("tv2+tv"));
  refused(other, 2, {"regulariser", "tv+tv2"});
}

TEST_F(MriSums, ABaselineTunesBothWeights) {
  const Outcome o =
      mri(on_device_or_one_thread({"baseline", "--pattern", "lowpass", "--rate", "0.3", "--data", data_,
                                   "--out", file("lowpass"), "--regulariser", "tv+h1"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json theta = Json::parse(get_file(file("lowpass/model.json")))["theta"];
  EXPECT_NE(theta["2.alpha"], 0.01);
  EXPECT_FALSE(theta.contains("2.nu"));
}

TEST_F(MriSums, WhatDoesNotFitIsRefused) {
  const auto with = [](const std::string& regulariser, const std::vector<std::string>& more) {
    std::vector<std::string> a{"learn",  "--data", data_,           "--out",    file("refused"),
                               "--rate", "0.4",    "--regulariser", regulariser};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  refused(with("tv+", {}), 2, {"--regulariser tv+", "lacks a name", "tv, tv-aniso", "written with +"});
  refused(with("tv+lasso", {}), 2,
          {"--regulariser", "'lasso'", "known are tv, tv-aniso", "wavelet and foe, and sums"});
  refused(with("tv+h1", {"--weight", "0.1,0.2,0.3"}), 2, {"--weight", "3 numbers", "tv+h1"});
  refused(with("tv+h1", {"--weight", "0.1"}), 2, {"--weight", "1 numbers", "one for each part"});
  refused(with("tv+h1", {"--weight", "0.1,0"}), 2, {"--weight", "0"});
  refused(with("h1+tikhonov", {"--nu", "0.1"}), 2, {"--nu", "smoothing"});
  refused(with("tv+h1", {"--solver", "pdhg"}), 2, {"--solver pdhg", "--regulariser"});
  EXPECT_FALSE(fs::exists(file("refused")));
}

TEST_F(MriSums, DamagedModelsAreRefused) {
  ASSERT_EQ(outcome_.code, 0);
  const Json good = Json::parse(get_file(file("run/model.json")));
  fs::create_directories(file("damaged"));
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> changes{
      {"lasso", [](Json& j) { j["regulariser"] = "tv+lasso"; }},
      {"'parts'", [](Json& j) { j["regulariser"] = "tv+tv2+h1"; }},
      {"'parts'", [](Json& j) { j["parts"].erase(1); }},
      {"'parts[1].regulariser'", [](Json& j) { j["parts"][1]["regulariser"] = "h1"; }},
      {"no complete model", [](Json& j) { j.erase("parts"); }},
      {"'theta.2.alpha'", [](Json& j) { j["theta"].erase("2.alpha"); }},
      {"'theta.2.nu'", [](Json& j) { j["theta"].erase("2.nu"); }},
      {"'2.alpha'", [](Json& j) { j["theta"]["2.alpha"] = -1; }}};
  for (const auto& [part, change] : changes) {
    Json bad = good;
    change(bad);
    put_file(file("damaged/model.json"), bad.dump());
    refused({"evaluate", "--run", file("damaged"), "--data", data_}, 3, {"model.json", part});
  }
}

}  // namespace
}  // namespace bilevel_test
