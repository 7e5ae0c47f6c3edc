// Each command of bilevel-mri from end to end on tiny data.

#include "bilevel/io/quality.hpp"
#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

class Mri : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_ / name; }
  /// A quick run of learn or baseline on three slices.
  std::vector<std::string> training(const std::string& command, const std::string& out,
                                    const std::vector<std::string>& more) {
    if (data_.empty()) data_ = head_file(folder_, "head.npy", 5, 24);
    auto a = on_device_or_one_thread({command, "--data", data_, "--slices", "0:3", "--out", file(out)});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  void expect_ok(const Outcome& o) { ASSERT_EQ(o.code, 0) << o.err; }

  TemporaryFolder folder_;
  std::string data_;
};

TEST_F(Mri, LearnWithAPenalty) {
  const Outcome o =
      mri(training("learn", "run",
                   {"--penalty", "3e-3,3e-3", "--test-slices", "3:5", "--max-iterations", "60", "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json summary = summary_of(file("run"));
  EXPECT_EQ(Json::parse(o.out), summary);
  for (const char* name :
       {"model.json", "log.jsonl", "summary.json", "convergence.svg", "images/mask.png", "images/mask.npy",
        "images/s.png", "images/strip_0.png", "images/strip_2.png", "images/test_strip_1.png"})
    EXPECT_TRUE(fs::exists(file(std::string("run/") + name))) << name;
  EXPECT_FALSE(fs::exists(file("run/images/strip_3.png")));

  std::vector<std::string> stages;
  std::uint64_t solves = 0, cumulative = 0;
  for (const Json& stage : summary["stages"]) {
    stages.push_back(stage["stage"]);
    solves += stage["lower_level_solves"].get<std::uint64_t>();
  }
  EXPECT_EQ(stages, (std::vector<std::string>{"weight", "pattern", "exchange", "binary"}));
  EXPECT_EQ(summary["lower_level_solves"], solves);
  int iteration = 0;
  for (const Json& line : log_of_run(file("run"))) {
    EXPECT_EQ(line["iteration"], iteration++);
    EXPECT_GE(line["lower_solves"], cumulative);
    cumulative = line["lower_solves"];
    EXPECT_EQ(line.contains("rate"), line["stage"] == "pattern" || line["stage"] == "exchange");
  }
  EXPECT_EQ(cumulative, solves);

  const double rate = summary["rate"];
  EXPECT_GT(rate, 0);
  EXPECT_LT(rate, 1);
  EXPECT_EQ(summary["relaxed_rate"], rate) << "thresholded at 0.5";
  EXPECT_DOUBLE_EQ(kept(file("run")) / (24 * 24), rate);
  for (const char* set : {"training", "test"}) {
    const Json& s = summary[set];
    EXPECT_GT(s["binary"]["psnr"], s["zero_filled"]["psnr"]) << set;
    EXPECT_GT(s["binary"]["ssim"], s["zero_filled"]["ssim"]) << set;
    EXPECT_TRUE(s.contains("relaxed")) << set;
  }
}

TEST_F(Mri, MaskAndPictureHaveZeroFrequencyInTheMiddle) {
  expect_ok(mri(training("baseline", "run", {"--pattern", "lowpass", "--rate", "0.1"})));
  const auto mask = bilevel::read_npy(file("run/images/mask.npy"));
  ASSERT_EQ(mask.shape, (std::vector<std::size_t>{24, 24}));
  EXPECT_EQ(mask.values[0], 0);
  EXPECT_EQ(mask.values[12 * 24 + 12], 1);
  EXPECT_EQ(bilevel::read_image(file("run/images/mask.png")).pixels, mask.values);
}

TEST_F(Mri, LearnToARate) {
  struct Case {
    std::vector<std::string> options;
    int groups, size;
  };
  for (const Case& c : {Case{{"--pattern", "free"}, 576, 1}, Case{{"--pattern", "lines"}, 24, 24},
                        Case{{"--pattern", "free", "--map", "rational", "--algorithm", "maid"}, 576, 1}}) {
    const std::string out = "run" + c.options[1] + std::to_string(c.options.size());
    auto options = c.options;
    options.insert(options.end(), {"--rate", "0.4", "--rate-runs", "4", "--max-iterations", "12"});
    const Outcome o = mri(training("learn", out, options));
    ASSERT_EQ(o.code, 0) << o.err;
    const int groups = static_cast<int>(0.4 * c.groups);
    EXPECT_EQ(kept(file(out)), groups * c.size) << c.options[1];
    const Json summary = summary_of(file(out));
    EXPECT_LE(summary["rate_search"].size(), 4u);
    EXPECT_GE(summary["rate_search"].size(), 1u);
  }
}

TEST_F(Mri, RadialAndSymmetricPatterns) {
  expect_ok(mri(training("learn", "radial",
                         {"--pattern", "radial", "--spokes", "16", "--rate", "0.5", "--rate-runs", "2",
                          "--max-iterations", "8"})));
  EXPECT_LE(summary_of(file("radial"))["rate"], 0.5);
  EXPECT_GT(summary_of(file("radial"))["rate"], 0.3);
  expect_ok(mri(training("learn", "symmetric",
                         {"--pattern", "symmetric", "--penalty", "5e-3", "--max-iterations", "15"})));
  const auto mask = bilevel::read_npy(file("symmetric/images/mask.npy")).values;
  for (int k = 0; k < 24; ++k)
    for (int l = 0; l < 24; ++l)
      EXPECT_EQ(mask[static_cast<std::size_t>(k * 24 + l)],
                mask[static_cast<std::size_t>((24 - k) % 24 * 24 + (24 - l) % 24)]);
}

TEST_F(Mri, WithoutTheWeightOnlyThePatternIsLearned) {
  expect_ok(mri(training("learn", "run",
                         {"--penalty", "5e-3", "--no-learn-weight", "--no-exchange", "--weight", "0.004",
                          "--image", "real", "--max-iterations", "10"})));
  const Json summary = summary_of(file("run"));
  EXPECT_EQ(summary["alpha"], 0.004);
  EXPECT_EQ(summary["stages"].size(), 1u);
}

TEST_F(Mri, BaselinesKeepExactCounts) {
  for (const char* pattern : {"uniform", "vds", "lowpass", "largest"}) {
    expect_ok(mri(training("baseline", pattern, {"--pattern", pattern, "--rate", "0.3"})));
    EXPECT_EQ(kept(file(pattern)), 172) << pattern;  // floor(0.3 * 576)
  }
  for (const char* pattern : {"lines-uniform", "lines-vds", "lines-lowpass", "lines-largest"}) {
    expect_ok(mri(training("baseline", pattern, {"--pattern", pattern, "--rate", "0.3"})));
    EXPECT_EQ(kept(file(pattern)), 7 * 24) << pattern;
  }
  const Json vds = summary_of(file("vds"));
  for (const char* key : {"power", "radius", "side_lobe", "draws", "seed"})
    EXPECT_TRUE(vds.contains(key)) << key;
  EXPECT_GT(summary_of(file("largest"))["training"]["binary"]["psnr"],
            summary_of(file("uniform"))["training"]["binary"]["psnr"].get<double>() + 3);
}

/// Columns are to images what lines are to their transposes, as fastMRI undersamples.
TEST_F(Mri, BaselinesOfColumns) {
  const std::size_t size = 16;
  const std::vector<double> image = head(1, static_cast<int>(size));
  std::vector<double> transposed(image.size());
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) transposed[j * size + i] = image[i * size + j];
  const std::vector<std::size_t> shape{size, size};
  bilevel::write_npy(file("image.npy"), shape, std::span<const double>(image));
  bilevel::write_npy(file("transposed.npy"), shape, std::span<const double>(transposed));
  for (const std::string kind : {"uniform", "vds", "lowpass", "largest"}) {
    std::vector<std::vector<double>> masks;
    for (const auto& [groups, name] :
         {std::pair("columns-", "image.npy"), std::pair("lines-", "transposed.npy")}) {
      const std::string out = file(groups + kind);
      const Outcome o = mri_here({"baseline", "--pattern", groups + kind, "--rate", "0.32", "--sigma", "0",
                                  "--data", file(name), "--max-iterations", "1", "--quiet", "--out", out});
      ASSERT_EQ(o.code, 0) << o.err;
      EXPECT_EQ(kept(out), 5 * 16) << groups << kind;
      masks.push_back(bilevel::read_npy(out + "/images/mask.npy").values);
    }
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) {
        EXPECT_EQ(masks[0][i * size + j], masks[0][j]) << "whole columns";
        EXPECT_EQ(masks[0][i * size + j], masks[1][j * size + i]) << kind;
      }
  }
}

/// The smallest rate of lines: zero frequency alone, also where exchanges start from draws.
TEST_F(Mri, OneLineCanBeLearned) {
  const std::string data = head_file(folder_, "head.npy", 1, 16);
  const Outcome o = mri_here({"learn", "--pattern", "lines", "--rate", "0.0625", "--rate-runs", "1", "--data",
                              data, "--max-iterations", "3", "--quiet", "--out", file("run")});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(kept(file("run")), 16);
}

TEST_F(Mri, GreedyCountsItsSolves) {
  expect_ok(
      mri(training("baseline", "run", {"--pattern", "greedy", "--groups", "columns", "--rate", "0.25"})));
  const Json summary = summary_of(file("run"));
  EXPECT_EQ(kept(file("run")), 6 * 24);
  EXPECT_EQ(summary["order"][0], 0) << "zero frequency first";
  // 24 + 23 + ... + 19 candidates and one reconstruction of each chosen set.
  EXPECT_EQ(summary["selection_solves"], 24 + 23 + 22 + 21 + 20 + 19 + 6);
  const auto mask = bilevel::read_npy(file("run/images/mask.npy")).values;
  for (const int column : summary["order"]) EXPECT_EQ(mask[static_cast<std::size_t>((column + 12) % 24)], 1);
}

TEST_F(Mri, EvaluateSeveralRuns) {
  expect_ok(mri(training("baseline", "large", {"--pattern", "largest", "--rate", "0.3"})));
  expect_ok(mri(training("baseline", "low", {"--pattern", "lowpass", "--rate", "0.3"})));
  const auto arguments = [&](const std::vector<std::string>& more) {
    auto a = on_device_or_one_thread({"evaluate", "--run", file("large"), file("low"), "--data", data_});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  const Outcome o = mri(arguments({"--slices", "0:3", "--json", "--save", file("strips")}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json json = Json::parse(o.out);
  ASSERT_EQ(json["runs"].size(), 2u);
  ASSERT_EQ(json["runs"][0]["slices"].size(), 3u);
  for (const auto& [run, name] : {std::pair(0, "large"), std::pair(1, "low")}) {
    const Json training = summary_of(file(name))["training"]["binary"];
    EXPECT_NEAR(json["runs"][run]["mean"]["psnr"], training["psnr"], 0.05) << "the training data, same seed";
    EXPECT_NEAR(json["runs"][run]["mean"]["ssim"], training["ssim"], 1e-3);
    EXPECT_TRUE(fs::exists(file("strips/2-" + std::string(name) + ".png")));
  }
  const Outcome text = mri(arguments({"--slices", "3:5"}));
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"large", "low", "head.npy#4", "mean", "SSIM", "samples, %"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
}

/// Measured k-space in, the image out: with all frequencies and hardly any penalty it is the truth.
TEST_F(Mri, ReconstructFromKspace) {
  const std::vector<double> truth = head(1, 16);
  Complexes image;
  for (std::size_t p = 0; p < truth.size(); ++p)
    image.push_back(std::polar(3 * truth[p], 0.1 * double(p % 16)));
  write_hdf5(file("scan.h5"), "kspace", {1, 16, 16}, centred_kspace(image, 1, 16));
  const auto arguments = [&](const std::vector<std::string>& more) {
    auto a = on_device_or_one_thread({"reconstruct", "--kspace", file("scan.h5")});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  const Outcome o = mri(arguments({"--weight", "1e-6", "--xi", "1e-6", "--nu", "0.1", "--output",
                                   file("image.npy"), "--tolerance", "1e-6"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("certified RMS distance"), std::string::npos) << o.out;
  const auto x = bilevel::read_complex_npy(file("image.npy"));
  ASSERT_EQ(x.values.size(), image.size());
  for (std::size_t p = 0; p < image.size(); ++p) EXPECT_LT(std::abs(x.values[p] - image[p]), 1e-4) << p;

  // A mask as an array and as the picture of it give the same image.
  std::vector<double> mask(256, 0.0);
  for (int k = -4; k <= 4; ++k)
    for (int l = -3; l <= 3; ++l) mask[static_cast<std::size_t>((k + 16) % 16 * 16 + (l + 16) % 16)] = 1;
  bilevel::HostImage picture{1, 16, 16, std::vector<double>(256)};
  for (std::size_t p = 0; p < 256; ++p) picture.pixels[(p / 16 + 8) % 16 * 16 + (p % 16 + 8) % 16] = mask[p];
  bilevel::write_npy(file("mask.npy"), std::vector<std::size_t>{16, 16},
                     std::span<const double>(picture.pixels));
  bilevel::write_image(file("mask.png"), picture);
  for (const char* name : {"mask.npy", "mask.png"})
    ASSERT_EQ(mri(arguments({"--mask", file(name), "--weight", "0.01", "--output",
                             file(std::string("by-") + (name + 5) + ".npy"), "--json"}))
                  .code,
              0);
  EXPECT_EQ(get_file(file("by-npy.npy")), get_file(file("by-png.npy")));
  // Solvers agree within what they certify.
  Complexes newton;
  for (const char* solver : {"newton", "pdhg", "fista-restart"}) {
    expect_ok(mri(arguments({"--mask", file("mask.npy"), "--weight", "0.01", "--xi", "0.1", "--scale", "1",
                             "--tolerance", "1e-4", "--solver", solver, "--output", file("solved.npy")})));
    const auto solved = bilevel::read_complex_npy(file("solved.npy"));
    if (newton.empty()) newton.assign(solved.values.begin(), solved.values.end());
    double square = 0;
    for (std::size_t p = 0; p < newton.size(); ++p) square += std::norm(solved.values[p] - newton[p]);
    EXPECT_LE(std::sqrt(square / double(newton.size())), 2e-4 + 1e-6) << solver;
  }
  ASSERT_EQ(mri(arguments({"--mask", file("mask.npy"), "--weight", "0.01", "--output", file("a.png")})).code,
            0);
  EXPECT_EQ(bilevel::read_image(file("a.png")).height, 16);
}

/// Two coils whose maps cover the image: the combined image is the truth, and a run's mask reconstructs it.
TEST_F(Mri, SeveralCoils) {
  const int n = 16;
  const std::vector<double> truth = head(2, n);
  Complexes maps, all;
  for (int c = 0; c < 2; ++c)
    for (int p = 0; p < n * n; ++p)
      maps.push_back(
          std::polar(c == 0 ? 0.6 + 0.02 * (p % n) : 0.8 - 0.02 * (p % n), 0.05 * (p / n) * (c + 1)));
  bilevel::write_npy(file("maps.npy"), std::vector<std::size_t>{2, 16, 16},
                     std::span<const std::complex<double>>(maps));
  std::vector<std::complex<float>> kspace;
  for (int slice = 0; slice < 2; ++slice) {
    Complexes coils;
    for (int i = 0; i < 2 * n * n; ++i)
      coils.push_back(maps[static_cast<std::size_t>(i)] *
                      truth[static_cast<std::size_t>(slice * n * n + i % (n * n))]);
    const auto one = centred_kspace(coils, 2, n);
    kspace.insert(kspace.end(), one.begin(), one.end());
  }
  write_hdf5(file("scan.mrd"), "kspace", {2, 2, 16, 16}, kspace);
  const auto arguments = [&](const std::string& out, const std::vector<std::string>& more) {
    auto a = on_device_or_one_thread({"baseline", "--pattern", "largest", "--rate", "0.5", "--data",
                                      file("scan.mrd"), "--out", file(out)});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  const Outcome o = mri(arguments("run", {"--sensitivities", file("maps.npy")}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(summary_of(file("run"))["training"]["coils"], 2);
  EXPECT_EQ(summary_of(file("run"))["sigma"], 0);
  EXPECT_GT(summary_of(file("run"))["training"]["binary"]["psnr"], 20);
  const Outcome combined = mri(arguments("rss", {}));
  ASSERT_EQ(combined.code, 0) << combined.err;
  EXPECT_NE(combined.err.find("root of the sum of squares"), std::string::npos) << combined.err;
  fs::copy_file(file("scan.mrd"), file("scan"));  // known by its content
  const Outcome image =
      mri(on_device_or_one_thread({"reconstruct", "--kspace", file("scan"), "--slice", "1", "--sensitivities",
                                   file("maps.npy"), "--run", file("run"), "--output", file("image.png")}));
  ASSERT_EQ(image.code, 0) << image.err;
}

TEST_F(Mri, NiftiVolume) {
  std::vector<double> voxels = head(4, 20);
  for (double& v : voxels) v *= 200;
  write_nifti(file("head.nii"), 20, 20, 4, voxels);
  const Outcome o = mri(
      on_device_or_one_thread({"baseline", "--pattern", "largest", "--rate", "0.5", "--data",
                               file("head.nii"), "--slices", "1:4:2", "--size", "16", "--out", file("run")}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json model = Json::parse(get_file(file("run/model.json")));
  EXPECT_EQ(model["data"]["files"], (std::vector<std::string>{"head.nii#1", "head.nii#3"}));
  EXPECT_EQ(summary_of(file("run"))["training"]["height"], 16);
}

TEST_F(Mri, ConfigFileAndQuiet) {
  put_file(file("options.ini"), "pattern = lowpass\nrate = 0.25\n[baseline]\nsigma = 0.05\n");
  auto a = training("baseline", "run", {"--config", file("options.ini"), "--quiet"});
  const Outcome o = mri(a);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "");
  EXPECT_EQ(o.err, "");
  EXPECT_EQ(kept(file("run")), 144);
  EXPECT_EQ(summary_of(file("run"))["sigma"], 0.05);
}

TEST_F(Mri, VerboseShowsRateAndTimeLeft) {
  const Outcome o = mri(training("baseline", "run", {"--pattern", "lowpass", "--rate", "0.25", "--verbose"}));
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* part : {"iteration 0/50", "left", "the weight for the pattern"})
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
}

TEST_F(Mri, FloatAndMixedPrecisionAgreeWithDouble) {
  std::vector<double> alpha, psnr;
  for (const char* precision : {"double", "mixed"}) {
    expect_ok(mri(training("baseline", precision,
                           {"--pattern", "largest", "--rate", "0.3", "--precision", precision})));
    alpha.push_back(summary_of(file(precision))["alpha"]);
  }
  EXPECT_NEAR(alpha[1] / alpha[0], 1, 1e-3);
  for (const char* precision : {"double", "mixed", "float"}) {
    const Outcome o = mri(on_device_or_one_thread(
        {"evaluate", "--run", file("double"), "--data", data_, "--precision", precision, "--json"}));
    ASSERT_EQ(o.code, 0) << o.err;
    psnr.push_back(Json::parse(o.out)["runs"][0]["mean"]["psnr"]);
  }
  EXPECT_NEAR(psnr[1], psnr[0], 0.05);
  EXPECT_NEAR(psnr[2], psnr[0], 0.05);
}

}  // namespace
}  // namespace bilevel_test
