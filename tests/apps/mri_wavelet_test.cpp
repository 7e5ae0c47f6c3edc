// Sparsity of wavelets in bilevel-mri.

#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

class MriWavelets : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 2, 24, true);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> learn(const std::string& out, const std::vector<std::string>& more,
                                        const char* iterations = "8") {
    auto a = on_device_or_one_thread({"learn", "--data", data_, "--out", file(out), "--rate", "0.4",
                                      "--rate-runs", "2", "--max-iterations", iterations});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static Json model_of(const std::string& out) { return Json::parse(get_file(file(out + "/model.json"))); }
  static void expect_works(const std::string& out) {
    const Outcome e = mri(on_device({"evaluate", "--json", "--run", file(out), "--data", data_}));
    ASSERT_EQ(e.code, 0) << e.err;
    EXPECT_NEAR(Json::parse(e.out)["runs"][0]["mean"]["psnr"].get<double>(),
                summary_of(file(out))["training"]["binary"]["psnr"].get<double>(), 0.5);
    EXPECT_GT(summary_of(file(out))["training"]["binary"]["psnr"],
              summary_of(file(out))["training"]["zero_filled"]["psnr"]);
    expect_reconstructs({"--run", file(out)});
  }
  static void expect_reconstructs(const std::vector<std::string>& model) {
    const auto image = head(1, 24);
    write_hdf5(file("scan.h5"), "kspace", {1, 24, 24},
               centred_kspace(Complexes(image.begin(), image.end()), 1, 24));
    auto a = on_device({"reconstruct", "--json", "--kspace", file("scan.h5"), "--output", file("out.png"),
                        "--tolerance", "1e-4"});
    a.insert(a.end(), model.begin(), model.end());
    const Outcome r = mri(a);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_LE(Json::parse(r.out)["certified_rms"], 1e-4) << r.out;
  }
  static void refused(const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    const Outcome o = mri(arguments);
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o, "bilevel-mri");
    for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  }

  static TemporaryFolder* folder_;
  static std::string data_;
};
TemporaryFolder* MriWavelets::folder_ = nullptr;
std::string MriWavelets::data_;

TEST_F(MriWavelets, LearnsEvaluatesAndReconstructs) {
  const Outcome o = mri(learn("one", {"--regulariser", "wavelet", "--wavelet", "haar", "--levels", "2"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json one = model_of("one");
  EXPECT_EQ(one["regulariser"], "wavelet");
  EXPECT_EQ(one["wavelet"], "haar");
  EXPECT_EQ(one["levels"], 2);
  EXPECT_EQ(one["keep_approximation"], false);
  expect_works("one");

  const Outcome sum = mri(learn("sum", {"--regulariser", "tv+wavelet", "--weight", "0.01,0.005"}));
  ASSERT_EQ(sum.code, 0) << sum.err;
  const Json two = model_of("sum");
  EXPECT_EQ(two["parts"][0], Json({{"regulariser", "tv"}, {"potential", "charbonnier"}}));
  EXPECT_EQ(two["parts"][1]["wavelet"], "db2");
  EXPECT_EQ(two["parts"][1]["levels"], 3);
  EXPECT_NE(two["theta"]["2.alpha"], 0.005);
  expect_works("sum");
  expect_reconstructs({"--regulariser", "wavelet+h1", "--weight", "0.002,0.01", "--wavelet", "db4"});
}

TEST_F(MriWavelets, AResumedRunGivesTheSameBits) {
  const std::vector<std::string> options{"--regulariser", "wavelet+tv2", "--weight",
                                         "0.01,0.01",     "--precision", "mixed"};
  ASSERT_EQ(mri(learn("whole", options, "6")).code, 0);
  ASSERT_EQ(mri(learn("cut", options, "2")).code, 0);
  auto more = options;
  more.push_back("--resume");
  const Outcome o = mri(learn("cut", more, "6"));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("whole/model.json")));
  more.insert(more.end(), {"--levels", "1"});
  refused(learn("cut", more, "6"), {"levels"});
}

TEST_F(MriWavelets, ABaselineTunesTheWeight) {
  const Outcome o = mri(on_device_or_one_thread(
      {"baseline", "--pattern", "lowpass", "--rate", "0.3", "--data", head_file(*folder_, "real.npy", 2, 24),
       "--image", "real", "--out", file("lowpass"), "--regulariser", "wavelet"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(model_of("lowpass")["theta"]["alpha"], 0.01);
}

/// 20 = 4 * 5 pixels allow two levels.
TEST_F(MriWavelets, TakesTheLevelsThatTheImagesAllow) {
  auto a = learn("fewer", {"--regulariser", "wavelet", "--size", "20", "--no-exchange"}, "2");
  const Outcome o = mri(a);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("20 x 20 pixels allow 2 levels of wavelets instead of 3"), std::string::npos) << o.err;
  EXPECT_EQ(model_of("fewer")["levels"], 2);
  a.insert(a.end(), {"--levels", "3"});
  std::replace(a.begin(), a.end(), file("fewer"), file("refused"));
  refused(a, {"--levels 3", "20 x 20", "only 2", "multiples of 8", "--crop-to"});
  refused(learn("refused", {"--regulariser", "wavelet", "--size", "21"}), {"21 x 21", "odd", "--crop-to"});
  refused(learn("refused", {"--regulariser", "tv", "--wavelet", "haar"}), {"--wavelet", "not of tv"});
  refused(learn("refused", {"--regulariser", "wavelet", "--wavelet", "db3"}), {"db3", "haar, db2 or db4"});
  refused(learn("refused", {"--regulariser", "wavelet", "--levels", "0"}), {"--levels 0"});
  refused(learn("refused", {"--regulariser", "wavelet", "--solver", "pdhg"}),
          {"--solver pdhg", "such as tv"});
  refused({"reconstruct", "--kspace", "x.h5", "--output", "x.png", "--run", "run", "--levels", "2"},
          {"--run", "--levels"});
  EXPECT_FALSE(fs::exists(file("refused/model.json")));
}

TEST_F(MriWavelets, DamagedModelsAreRefused) {
  ASSERT_EQ(mri(on_device_or_one_thread({"baseline", "--pattern", "lowpass", "--rate", "0.3", "--data", data_,
                                         "--out", file("good"), "--regulariser", "wavelet"}))
                .code,
            0);
  const Json good = model_of("good");
  fs::create_directories(file("damaged"));
  const std::vector<std::function<void(Json&)>> damages{
      [](Json& j) { j["wavelet"] = "db3"; }, [](Json& j) { j["levels"] = 0; },
      [](Json& j) { j["levels"] = "3"; }, [](Json& j) { j.erase("keep_approximation"); },
      [](Json& j) { j["potential"] = "quadratic"; }};
  for (const auto& damage : damages) {
    Json json = good;
    damage(json);
    put_file(file("damaged/model.json"), json.dump());
    const Outcome o = mri({"evaluate", "--run", file("damaged"), "--data", data_});
    EXPECT_EQ(o.code, 3) << o.err;
    expect_one_sentence(o, "bilevel-mri");
  }
}

}  // namespace
}  // namespace bilevel_test
