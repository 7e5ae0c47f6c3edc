// Fields of experts of denoising runs in bilevel-mri.

#include "apps/mri/mri_model.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

class MriExperts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 2, 24, true);
    write("foe.json", bilevel::FilterInit::dct, bilevel::ExpertsOptions{});
    outcome_ = mri(arguments("run"));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static void write(const std::string& name, bilevel::FilterInit init, const bilevel::RegulariserSum& sum,
                    int size = 3) {
    bilevel::DenoiseModel model;
    model.options = sum;
    model.parameters = std::holds_alternative<bilevel::ExpertsOptions>(sum.parts[0])
                           ? bilevel::experts_parameters(3, size, init, 0.2, 0.02, 1).segments()
                           : bilevel::tv_parameters().segments();
    bilevel::write_model(file(name), model);
  }
  static std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more = {},
                                            const char* iterations = "6") {
    auto a =
        on_device_or_one_thread({"learn", "--data", data_, "--out", file(out), "--rate", "0.4", "--rate-runs",
                                 "1", "--pattern", "lines", "--starts", "1", "--regulariser", "foe",
                                 "--weight", "0.1", "--max-iterations", iterations});
    if (more.empty() || more[0] != "--experts") a.insert(a.end(), {"--experts", file("foe.json")});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome outcome_;
};
TemporaryFolder* MriExperts::folder_ = nullptr;
std::string MriExperts::data_;
Outcome MriExperts::outcome_;

TEST_F(MriExperts, LearnsThePatternAndOneWeightOfAll) {
  ASSERT_EQ(outcome_.code, 0) << outcome_.err;
  const Json model = Json::parse(get_file(file("run/model.json"))), summary = summary_of(file("run"));
  const bilevel::DenoiseModel given = bilevel::read_model(file("foe.json"));
  EXPECT_EQ(model["regulariser"], "foe");
  EXPECT_EQ(model["image"], "complex");
  EXPECT_NE(model["energy"].get<std::string>().find("R(Re x) + R(Im x)"), std::string::npos);
  for (const bilevel::Segment& s : given.parameters)
    if (s.name != "mu") {
      EXPECT_EQ(model["experts"][s.name].get<std::vector<double>>(), s.values) << s.name;
    }
  EXPECT_EQ(model["model"], "mri-foe");
  EXPECT_FALSE(summary.contains("nu"));
  EXPECT_NE(outcome_.out.find("foe, alpha "), std::string::npos) << outcome_.out;
  EXPECT_NE(model["theta"]["alpha"], 0.1);
  EXPECT_EQ(summary["alpha"], model["theta"]["alpha"]);
  EXPECT_GT(summary["training"]["binary"]["psnr"].get<double>(),
            summary["training"]["zero_filled"]["psnr"].get<double>() + 1);
}

TEST_F(MriExperts, TheRunIsEvaluatedReconstructsAndResumes) {
  ASSERT_EQ(outcome_.code, 0);
  const Outcome e = mri(on_device({"evaluate", "--json", "--run", file("run"), "--data", data_}));
  ASSERT_EQ(e.code, 0) << e.err;
  const Json mean = Json::parse(e.out)["runs"][0]["mean"], summary = summary_of(file("run"));
  EXPECT_NEAR(mean["psnr"].get<double>(), summary["training"]["binary"]["psnr"].get<double>(), 0.5);
  const auto image = head(1, 24);
  write_hdf5(file("scan.h5"), "kspace", {1, 24, 24},
             centred_kspace(Complexes(image.begin(), image.end()), 1, 24));
  const std::vector<std::vector<std::string>> models{
      {"--run", file("run")},
      {"--regulariser", "tv+foe", "--weight", "0.002,0.05", "--experts", file("foe.json")}};
  for (const auto& of : models) {
    auto a = on_device({"reconstruct", "--json", "--kspace", file("scan.h5"), "--output", file("out.png"),
                        "--tolerance", "1e-4"});
    a.insert(a.end(), of.begin(), of.end());
    const Outcome r = mri(a);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_LE(Json::parse(r.out)["certified_rms"], 1e-4) << r.out;
  }
  ASSERT_EQ(mri(arguments("cut", {}, "2")).code, 0);
  const Outcome resumed = mri(arguments("cut", {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("run/model.json")));
  write("other.json", bilevel::FilterInit::random, bilevel::ExpertsOptions{});
  refused(arguments("cut", {"--experts", file("other.json"), "--resume"}), 2,
          {"the model of --experts is another now"});
}

/// A field that was learned at less noise is weaker, and starts with more weight.
TEST_F(MriExperts, TheFirstWeightFollowsTheNoiseTheyWereLearnedAt) {
  bilevel_app::mri::ModelOptions o;
  o.regulariser = "tv+foe";
  o.learned = bilevel_app::mri::read_experts(file("foe.json"));  // which does not tell
  EXPECT_DOUBLE_EQ(o.weight_of(0), 0.01);
  EXPECT_DOUBLE_EQ(o.weight_of(1), 0.07);
  bilevel::DenoiseModel model = bilevel::read_model(file("foe.json"));
  model.training.emplace_back("sigma", 0.02);
  bilevel::write_model(file("quiet.json"), model);
  o.learned = bilevel_app::mri::read_experts(file("quiet.json"));
  EXPECT_DOUBLE_EQ(o.weight_of(1), 0.35);
  o.weight = {0.1, 0.2};
  EXPECT_EQ(o.weight_of(1), 0.2);
}

/// Until version 0.2 the model of each regulariser was called mri-tv.
TEST_F(MriExperts, ModelsOfTheirOldNameAreRead) {
  ASSERT_EQ(outcome_.code, 0);
  std::string text = get_file(file("run/model.json"));
  text.replace(text.find("mri-foe"), 7, "mri-tv");
  put_file(file("old.json"), text);
  EXPECT_TRUE(bilevel_app::mri::read_mri_model(file("old.json")).experts);
}

TEST_F(MriExperts, WhatDoesNotFitIsRefused) {
  const auto with = [](const std::string& regulariser, const std::vector<std::string>& more) {
    std::vector<std::string> a{"learn",  "--data", data_,           "--out",    file("refused"),
                               "--rate", "0.4",    "--regulariser", regulariser};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  const std::string foe = file("foe.json");
  refused(with("foe", {}), 2, {"--regulariser foe", "--experts MODEL.json"});
  refused(with("tv+foe", {}), 2, {"--regulariser tv+foe", "--experts MODEL.json"});
  refused(with("tv", {"--experts", foe}), 2, {"--experts", "--regulariser foe"});
  refused(with("foe", {"--experts", foe, "--nu", "0.1"}), 2, {"--nu", "smoothing"});
  refused(with("foe", {"--experts", foe, "--solver", "pdhg"}), 2, {"--solver pdhg"});
  refused(with("foe", {"--experts", file("missing.json")}), 3, {"bilevel-mri: --experts ", "missing.json"});
  write("tv.json", bilevel::FilterInit::dct, bilevel::TvOptions{});
  refused(with("foe", {"--experts", file("tv.json")}), 3, {"tv.json", "no field of experts"});
  write("large.json", bilevel::FilterInit::dct, bilevel::ExpertsOptions{bilevel::FilterPadding::valid}, 11);
  refused(with("foe", {"--experts", file("large.json"), "--size", "8"}), 3,
          {"large.json", "8 x 8", "11 x 11"});
  EXPECT_FALSE(fs::exists(file("refused")));
  ASSERT_EQ(outcome_.code, 0);
  Json broken = Json::parse(get_file(file("run/model.json")));
  broken["experts"]["smoothing"][0] = -1;
  fs::create_directory(file("broken"));
  put_file(file("broken/model.json"), broken.dump());
  refused({"evaluate", "--run", file("broken"), "--data", data_}, 3,
          {"model.json", "smoothings", "positive"});
}

}  // namespace
}  // namespace bilevel_test
