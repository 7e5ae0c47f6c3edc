// Total generalised variation in bilevel-mri.

#include "apps/mri/problem.hpp"
#include "bilevel/model/unknown.hpp"
#include "tests/apps/affine_pieces.hpp"
#include "tests/apps/mri_test_support.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel_test {
namespace {

namespace mri_app = bilevel_app::mri;

class MriGeneralised : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 2, 24, true);
    outcome_ = mri(learn("run"));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> learn(const std::string& out, const std::vector<std::string>& more = {},
                                        const char* iterations = "6") {
    auto a = on_device_or_one_thread({"learn", "--data", data_, "--out", file(out), "--rate", "0.4",
                                      "--rate-runs", "2", "--regulariser", "tgv2", "--weight", "0.01,0.03",
                                      "--max-iterations", iterations});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static Json model_of(const std::string& out) { return Json::parse(get_file(file(out + "/model.json"))); }
  static Complexes reconstructed(const std::vector<std::string>& options) {
    return reconstructed_scan(file("scan.h5"), file("out.npy"), options);
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome outcome_;
};
TemporaryFolder* MriGeneralised::folder_ = nullptr;
std::string MriGeneralised::data_;
Outcome MriGeneralised::outcome_;

TEST_F(MriGeneralised, LearnsBothWeightsAndIsEvaluated) {
  ASSERT_EQ(outcome_.code, 0) << outcome_.err;
  EXPECT_NE(outcome_.out.find(", alpha0 "), std::string::npos) << outcome_.out;
  const Json model = model_of("run"), summary = summary_of(file("run")), theta = model["theta"];
  EXPECT_EQ(model["regulariser"], "tgv2");
  EXPECT_EQ(model["potential"], "charbonnier");
  EXPECT_EQ(theta["nu"], 0.002);
  EXPECT_EQ(theta["xi"], 0.01);
  EXPECT_EQ(theta["xi_v"], 0.01);
  EXPECT_EQ(theta.size(), 6U) << theta;
  EXPECT_NE(theta["alpha1"], 0.01);
  EXPECT_NE(theta["alpha0"], 0.03);
  for (const char* name : {"alpha1", "alpha0"}) {
    EXPECT_EQ(summary[name], theta[name]) << name;
    EXPECT_TRUE(log_of_run(file("run")).back()["theta"].contains(name)) << name;
  }
  EXPECT_TRUE(summary.contains("relaxed_alpha0"));
  bool exchanged = false;
  for (const Json& stage : summary["stages"])
    exchanged = exchanged || (stage["stage"] == "exchange" && stage["iterations"] > 0);
  EXPECT_TRUE(exchanged) << summary["stages"];
  EXPECT_GT(summary["training"]["binary"]["psnr"], summary["training"]["zero_filled"]["psnr"]);
  const Outcome e = mri(on_device({"evaluate", "--json", "--run", file("run"), "--data", data_}));
  ASSERT_EQ(e.code, 0) << e.err;
  const Json run = Json::parse(e.out)["runs"][0];
  EXPECT_EQ(run["alpha0"], summary["alpha0"]);
  EXPECT_NEAR(run["mean"]["psnr"].get<double>(), summary["training"]["binary"]["psnr"].get<double>(), 0.5);
}

/// A heavy ridge on v leaves total variation: |v| <= alpha1 / xi_v per pixel.
TEST_F(MriGeneralised, IsTotalVariationWhereVIsHeldAtZero) {
  ASSERT_EQ(outcome_.code, 0);
  write_head_scan(file("scan.h5"));
  Json held = model_of("run"), free = held, tv = held;
  for (Json* json : {&held, &free}) {
    (*json)["theta"]["alpha1"] = 0.02, (*json)["theta"]["alpha0"] = 0.02;
    (*json)["theta"]["nu"] = 0.01;
  }
  held["theta"]["xi_v"] = 100;
  tv["regulariser"] = "tv";
  tv["theta"] = {{"s", held["theta"]["s"]}, {"alpha", 0.02}, {"nu", 0.01}, {"xi", 0.01}};
  std::vector<Complexes> images;
  for (const auto& [name, json] : {std::pair{"held", held}, {"free", free}, {"tv", tv}}) {
    fs::create_directories(file(name));
    put_file(file(std::string(name) + "/model.json"), json.dump());
    images.push_back(reconstructed({"--run", file(name)}));
    ASSERT_EQ(images.back().size(), 24U * 24U);
  }
  const auto distance = [&](std::size_t k) {
    double sum = 0;
    for (std::size_t p = 0; p < images[2].size(); ++p) sum += std::norm(images[k][p] - images[2][p]);
    return std::sqrt(sum / static_cast<double>(images[2].size()));
  };
  EXPECT_LT(distance(0), 4e-4);
  EXPECT_GT(distance(1), 10 * distance(0)) << "v is free";
}

TEST_F(MriGeneralised, ReconstructsByOptions) {
  write_head_scan(file("scan.h5"));
  const std::vector<std::string> options{"--regulariser", "tgv2", "--weight", "0.002,0.004"};
  auto other = options;
  other.insert(other.end(), {"--solver", "lbfgs", "--precision", "mixed", "--potential", "charbonnier"});
  const Complexes a = reconstructed(options), b = reconstructed(other);
  ASSERT_EQ(a.size(), b.size());
  double sum = 0;
  for (std::size_t p = 0; p < a.size(); ++p) sum += std::norm(a[p] - b[p]);
  EXPECT_LT(std::sqrt(sum / static_cast<double>(a.size())), 2e-6) << "both certified";
}

TEST_F(MriGeneralised, AResumedRunGivesTheSameBits) {
  ASSERT_EQ(outcome_.code, 0);
  ASSERT_EQ(mri(learn("cut", {}, "2")).code, 0);
  const Outcome o = mri(learn("cut", {"--resume"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("run/model.json")));
  auto other = learn("cut", {"--resume"});
  std::replace(other.begin(), other.end(), std::string("0.01,0.03"), std::string("0.01,0.02"));
  refused(other, 2, {"--weight (alpha0)", "0.03"});
}

TEST_F(MriGeneralised, BaselinesTuneBothWeightsOfRealImages) {
  for (const std::string pattern : {"lowpass", "greedy"}) {
    const Outcome o = mri(on_device_or_one_thread(
        {"baseline", "--pattern", pattern, "--rate", "0.25", "--data", head_file(*folder_, "real.npy", 1, 12),
         "--image", "real", "--out", file(pattern), "--regulariser", "tgv2", "--max-iterations", "8"}));
    ASSERT_EQ(o.code, 0) << o.err;
    const Json theta = model_of(pattern)["theta"], training = summary_of(file(pattern))["training"];
    EXPECT_NE(theta["alpha1"], 0.01) << pattern;
    EXPECT_NE(theta["alpha0"], 0.02) << pattern;
    EXPECT_GT(training["binary"]["psnr"], training["zero_filled"]["psnr"]) << pattern;
  }
}

/// With a phase, half of k-space kept.
TEST_F(MriGeneralised, IsBetterThanTotalVariationOnAffinePieces) {
  const std::vector<double> image = affine_pieces();
  Complexes turned;
  for (std::size_t p = 0; p < image.size(); ++p)
    turned.push_back(std::polar(image[p], 0.03 * static_cast<double>(p / 64 + p % 64)));
  bilevel::write_npy(file("affine.npy"), std::vector<std::size_t>{1, 64, 64},
                     std::span<const std::complex<double>>(turned));
  const auto psnr = [](const std::string& regulariser) {
    const Outcome o = mri(on_device_or_one_thread({"baseline", "--pattern", "vds", "--rate", "0.5", "--data",
                                                   file("affine.npy"), "--sigma", "0.05", "--regulariser",
                                                   regulariser, "--out", file("affine-" + regulariser)}));
    EXPECT_EQ(o.code, 0) << o.err;
    return summary_of(file("affine-" + regulariser))["training"]["binary"]["psnr"].get<double>();
  };
  EXPECT_GT(psnr("tgv2"), psnr("tv") + 2);
}

TEST_F(MriGeneralised, ResidualsAreThoseOfTheImages) {
  bilevel::testing_support::Random random(bilevel::testing_support::seed());
  bilevel::Context context(bilevel::Device::open(bilevel::testing_support::test_device("cpu:1")));
  mri_app::MriData data;
  data.images = 2, data.height = 5, data.width = 7, data.complex = true;
  for (std::size_t k = 0; k < 2 * data.pixels(); ++k)
    data.kspace.emplace_back(random.normal(), random.normal());
  mri_app::MriModel model;
  model.height = 5, model.width = 7;
  model.s.assign(35, 1.0);
  model.alpha = model.alpha0 = model.nu = model.xi = model.xi_v = 0.01;
  model.regulariser = bilevel::TgvOptions{};
  const auto energy = mri_app::make_energy<double>(context, data, model.pattern(), model.parameters(),
                                                   model.regulariser, false);
  ASSERT_EQ(energy->shape().c, 6);
  const bilevel::Tensor<double> u(context, energy->shape(), random.normal_vector(energy->shape().count())),
      x = bilevel::first_channels<double>(context, u.view(), 2);
  EXPECT_EQ(energy->fourier()->residual_powers(context, u.view()),
            energy->fourier()->residual_powers(context, x.view()));
}

TEST_F(MriGeneralised, WhatDoesNotFitIsRefused) {
  const auto with = [](const std::string& regulariser, const std::vector<std::string>& more) {
    std::vector<std::string> a{"learn",  "--data", data_,           "--out",    file("refused"),
                               "--rate", "0.4",    "--regulariser", regulariser};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  refused(with("tgv2+h1", {}), 2, {"--regulariser tgv2+h1", "tgv2 stands alone"});
  refused(with("tgv2", {"--weight", "0.1"}), 2, {"--weight", "1 numbers", "two, alpha1 and alpha0"});
  refused(with("tgv2", {"--weight", "0.1,0.2,0.3"}), 2, {"--weight", "3 numbers", "alpha1 and alpha0"});
  refused(with("tgv2", {"--weight", "0.1,-1"}), 2, {"--weight", "-1"});
  refused(with("tgv2", {"--solver", "pdhg"}), 2, {"--solver pdhg", "such as tv"});
  refused(with("tgv2", {"--wavelet", "haar"}), 2, {"--wavelet", "not of tgv2"});
  refused(with("tgv2", {"--nu", "0"}), 2, {"--nu"});
  EXPECT_FALSE(fs::exists(file("refused")));
  ASSERT_EQ(outcome_.code, 0);
  const Json good = model_of("run");
  fs::create_directories(file("damaged"));
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> changes{
      {"tgv2 stands alone", [](Json& j) { j["regulariser"] = "tgv2+h1"; }},
      {"no complete model", [](Json& j) { j["theta"].erase("alpha0"); }},
      {"no complete model", [](Json& j) { j["theta"].erase("xi_v"); }},
      {"no complete model", [](Json& j) { j["regulariser"] = "tv"; }},
      {"'alpha1'", [](Json& j) { j["theta"]["alpha1"] = -1; }},
      {"'potential'", [](Json& j) { j["potential"] = "quadratic"; }}};
  for (const auto& [part, change] : changes) {
    Json bad = good;
    change(bad);
    put_file(file("damaged/model.json"), bad.dump());
    refused({"evaluate", "--run", file("damaged"), "--data", data_}, 3, {"model.json", part});
  }
}

}  // namespace
}  // namespace bilevel_test
