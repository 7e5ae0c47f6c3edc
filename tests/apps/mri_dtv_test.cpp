// Directional total variation in bilevel-mri.

#include "tests/apps/mri_test_support.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel_test {
namespace {

class MriDirectional : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 2, 24, true);
    reference_ = head_file(*folder_, "reference.npy", 1, 24);
    outcome_ = mri(learn("run"));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> learn(const std::string& out, const std::vector<std::string>& more = {},
                                        const char* iterations = "6", std::string reference = reference_) {
    auto a = on_device_or_one_thread({"learn", "--data", data_, "--out", file(out), "--rate", "0.4",
                                      "--rate-runs", "2", "--regulariser", "dtv", "--edge-eta", "0.02",
                                      "--reference", std::move(reference), "--max-iterations", iterations});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static Json model_of(const std::string& out) { return Json::parse(get_file(file(out + "/model.json"))); }
  static std::vector<std::string> reconstruct(const std::vector<std::string>& options) {
    return reconstruction_of(file("scan.h5"), file("out.npy"), options);
  }
  static Complexes reconstructed(const std::vector<std::string>& options) {
    return reconstructed_scan(file("scan.h5"), file("out.npy"), options);
  }
  static double distance(const Complexes& a, const Complexes& b) {
    EXPECT_EQ(a.size(), b.size());
    double sum = 0;
    for (std::size_t p = 0; p < std::min(a.size(), b.size()); ++p) sum += std::norm(a[p] - b[p]);
    return std::sqrt(sum / static_cast<double>(a.size()));
  }

  static TemporaryFolder* folder_;
  static std::string data_, reference_;
  static Outcome outcome_;
};
TemporaryFolder* MriDirectional::folder_ = nullptr;
std::string MriDirectional::data_, MriDirectional::reference_;
Outcome MriDirectional::outcome_;

TEST_F(MriDirectional, LearnsAndIsEvaluated) {
  ASSERT_EQ(outcome_.code, 0) << outcome_.err;
  EXPECT_NE(outcome_.err.find("reference.npy: its edges are those that all 2 images"), std::string::npos)
      << outcome_.err;
  const Json model = model_of("run"), summary = summary_of(file("run"));
  EXPECT_EQ(model["regulariser"], "dtv");
  EXPECT_EQ(model["eta"], 0.02);
  EXPECT_NE(model["theta"]["alpha"], 0.01);
  EXPECT_TRUE(model["training"].contains("reference (fingerprint)"));
  EXPECT_GT(summary["training"]["binary"]["psnr"], summary["training"]["zero_filled"]["psnr"]);
  const std::vector<std::string> evaluate{"evaluate", "--json", "--run", file("run"), "--data", data_};
  refused(evaluate, 2, {"dtv needs --reference IMAGE"});
  auto with = on_device(evaluate);
  with.insert(with.end(), {"--reference", reference_});
  const Outcome e = mri(with);
  ASSERT_EQ(e.code, 0) << e.err;
  EXPECT_NEAR(Json::parse(e.out)["runs"][0]["mean"]["psnr"].get<double>(),
              summary["training"]["binary"]["psnr"].get<double>(), 0.5);
}

TEST_F(MriDirectional, AResumedRunGivesTheSameBits) {
  ASSERT_EQ(outcome_.code, 0);
  ASSERT_EQ(mri(learn("cut", {}, "2")).code, 0);
  const std::string other = head_file(*folder_, "other.npy", 1, 24, false, 1);
  refused(learn("cut", {"--resume"}, "6", other), 2, {"reference (fingerprint)"});
  const Outcome o = mri(learn("cut", {"--resume"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("run/model.json")));
}

TEST_F(MriDirectional, ReconstructsByARunAndByOptions) {
  ASSERT_EQ(outcome_.code, 0);
  write_head_scan(file("scan.h5"));
  const Complexes of_run = reconstructed({"--run", file("run"), "--reference", reference_});
  EXPECT_EQ(of_run.size(), 24U * 24U);
  refused(reconstruct({"--run", file("run")}), 2, {"dtv needs --reference IMAGE"});
  const std::vector<std::string> options{"--regulariser", "tv2+dtv",     "--weight",
                                         "0.001,0.002",   "--reference", reference_};
  auto other = options;
  other.insert(other.end(), {"--solver", "lbfgs", "--precision", "mixed", "--edge-eta", "0.01"});
  EXPECT_LT(distance(reconstructed(options), reconstructed(other)), 2e-6) << "both certified";
}

/// Without edges in the reference it is total variation.
TEST_F(MriDirectional, IsTotalVariationWhereTheReferenceIsFlat) {
  write_head_scan(file("scan.h5"));
  bilevel::write_npy(file("flat.npy"), std::vector<std::size_t>{24, 24},
                     std::span<const double>(std::vector<double>(24 * 24, 0.5)));
  const Complexes tv = reconstructed({"--regulariser", "tv", "--weight", "0.02"}),
                  flat = reconstructed(
                      {"--regulariser", "dtv", "--weight", "0.02", "--reference", file("flat.npy")}),
                  edges =
                      reconstructed({"--regulariser", "dtv", "--weight", "0.02", "--reference", reference_});
  EXPECT_LT(distance(tv, flat), 2e-6);
  EXPECT_GT(distance(tv, edges), 1e-3);
}

/// A quarter of k-space, the reference being another contrast of the head.
TEST_F(MriDirectional, IsBetterThanTotalVariationWithAGoodReference) {
  std::vector<double> contrast = head(1, 48);
  for (double& v : contrast) v = std::pow(1 - v, 2);
  bilevel::write_npy(file("contrast.npy"), std::vector<std::size_t>{48, 48},
                     std::span<const double>(contrast));
  for (const bool complex : {true, false}) {
    const std::string image = complex ? "complex" : "real",
                      data = head_file(*folder_, image + ".npy", 1, 48, complex);
    const auto psnr = [&](const std::string& regulariser, std::vector<std::string> more) {
      const std::string out = file(image + "-" + regulariser);
      more.insert(more.begin(), {"baseline", "--pattern", "vds", "--rate", "0.25", "--data", data, "--image",
                                 image, "--regulariser", regulariser, "--out", out});
      const Outcome o = mri(on_device_or_one_thread(more));
      EXPECT_EQ(o.code, 0) << o.err;
      return summary_of(out)["training"]["binary"]["psnr"].get<double>();
    };
    EXPECT_GT(psnr("dtv", {"--reference", file("contrast.npy")}), psnr("tv", {}) + 2) << image;
  }
}

TEST_F(MriDirectional, WhatDoesNotFitIsRefused) {
  const auto with = [](const std::string& regulariser, const std::vector<std::string>& more) {
    std::vector<std::string> a{"learn",  "--data", data_,           "--out",    file("refused"),
                               "--rate", "0.4",    "--regulariser", regulariser};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  refused(with("dtv", {}), 2, {"dtv needs --reference IMAGE"});
  refused(with("tv", {"--reference", reference_}), 2, {"--reference", "dtv, not for tv"});
  refused(with("tv", {"--edge-eta", "0.1"}), 2, {"--edge-eta", "dtv, not of tv"});
  refused(with("dtv", {"--reference", reference_, "--edge-eta", "0"}), 2, {"--edge-eta 0"});
  refused(with("dtv", {"--reference", reference_, "--solver", "pdhg"}), 2, {"--solver pdhg"});
  refused(with("dtv", {"--reference", reference_, "--size", "16"}), 3,
          {reference_, "24 x 24 pixels", "16 x 16 pixels", "size of the images"});
  std::vector<double> bright(24 * 24, 0.5);
  bright[3] = 200;
  bilevel::write_npy(file("bright.npy"), std::vector<std::size_t>{24, 24}, std::span<const double>(bright));
  refused(with("dtv", {"--reference", file("bright.npy")}), 3, {"bright.npy", "scale it to [0,1]"});
  refused(with("dtv", {"--reference", file("missing.png")}), 3, {"missing.png"});
  EXPECT_FALSE(fs::exists(file("refused")));
  ASSERT_EQ(outcome_.code, 0);
  write_head_scan(file("scan.h5"));
  refused(reconstruct({"--run", file("run"), "--reference", reference_, "--edge-eta", "0.1"}), 2,
          {"--run brings the model", "--edge-eta"});
  refused(reconstruction_of(file("scan.h5"), reference_, {"--run", file("run"), "--reference", reference_}),
          2, {"--output", "--reference"});
  Json bad = model_of("run");
  for (const double eta : {-0.2, 0.0}) {
    bad["eta"] = eta;
    fs::create_directories(file("damaged"));
    put_file(file("damaged/model.json"), bad.dump());
    refused({"evaluate", "--run", file("damaged"), "--data", data_, "--reference", reference_}, 3,
            {"model.json", "'eta'"});
  }
}

}  // namespace
}  // namespace bilevel_test
