// Deblurring by bilevel-denoise: --blur.

#include "apps/common/blur_option.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using Kernel = bilevel::BlurKernel;

class Deblurring : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 3, 40, 36);
    kernel_file("kernel.npy", 3, 5, {0.05, 0.1, 0, 0, 0, 0, 0.2, 0.3, 0.1, 0, 0, 0, 0.1, 0.1, 0.05});
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::string kernel_file(const std::string& name, std::size_t height, std::size_t width,
                                 const std::vector<double>& values) {
    bilevel::write_npy(file(name), std::vector<std::size_t>{height, width}, std::span<const double>(values));
    return file(name);
  }
  static std::vector<std::string> arguments(const std::string& out, const std::string& model,
                                            const std::vector<std::string>& more,
                                            const char* iterations = "6", const char* sigma = "0.01") {
    std::vector<std::string> a = on_device_or_one_thread(
        {"train", "--data", data_, "--out", file(out), "--images", "3", "--crop", "32", "--model", model,
         "--sigma", sigma, "--init", "alpha=0.01", "--tolerance", "1e-9", "--max-iterations", iterations});
    if (model.find("foe") != std::string::npos) a.insert(a.end(), {"--filters", "3", "--filter-size", "3"});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static Json summary(const std::string& out) { return Json::parse(get_file(file(out + "/summary.json"))); }

  static TemporaryFolder* folder_;
  static std::string data_;
};
TemporaryFolder* Deblurring::folder_ = nullptr;
std::string Deblurring::data_;

/// What blurs the data is what the energy models, also at the border, for a kernel without symmetry.
TEST_F(Deblurring, TheDataAreBlurredByTheOperator) {
  std::vector<std::string> notes;
  const bilevel::HostImage picture = photograph(23, 18, 7);
  for (const std::string& text : {file("kernel.npy"), std::string("gaussian:1.3")}) {
    const Kernel kernel = bilevel_app::read_blur(text, notes);
    std::vector<double> blurred = picture.pixels;
    bilevel_app::blur(kernel, 23, 18, blurred);
    bilevel::Context context(bilevel::Device::open("cpu:1"));
    const bilevel::Shape shape{1, 1, 23, 18};
    const bilevel::Tensor<double> x(context, shape, picture.pixels);
    bilevel::Tensor<double> z(context, shape);
    bilevel::Frame frame(context);
    const bilevel::ActiveSet all(context, frame, 1);
    bilevel::Blur<double>(context, shape, kernel).apply(context, all.active(), x.view(), z.view());
    const std::vector<double> expected = bilevel::download<double>(context, z);
    for (std::size_t p = 0; p < expected.size(); ++p) ASSERT_NEAR(blurred[p], expected[p], 1e-14) << text;
  }
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("kernel.npy: 3 x 5 taps with the sum 1"), std::string::npos) << notes[0];
}

/// Of a point in the corner, by the formula: taps up to 4 sigma, whose mirror images fold back in pairs.
TEST_F(Deblurring, AGaussianFoldsBackAtCorners) {
  std::vector<std::string> notes;
  const Kernel kernel = bilevel_app::read_blur("gaussian:0.8", notes);
  EXPECT_EQ(kernel.height, 7);
  EXPECT_TRUE(notes.empty());
  std::vector<double> taps, corner(81, 0.0);
  double sum = 0;
  for (int i = -3; i <= 3; ++i) sum += std::exp(-0.5 * i * i / 0.64);
  for (int i = 0; i <= 3; ++i) taps.push_back(std::exp(-0.5 * i * i / 0.64) / sum);
  corner[0] = 1;
  bilevel_app::blur(kernel, 9, 9, corner);
  const double along[] = {taps[0] + taps[1], taps[1] + taps[2], taps[2] + taps[3], taps[3], 0};
  for (int r = 0; r < 5; ++r)
    for (int c = 0; c < 5; ++c)
      EXPECT_NEAR(corner[static_cast<std::size_t>(9 * r + c)], along[r] * along[c], 1e-15);
}

TEST_F(Deblurring, EveryKindTrainsAppliesEvaluatesAndChecks) {
  const std::vector<std::vector<std::string>> kinds{
      {"tv", "--blur", "gaussian:1"},
      {"foe", "--blur", "gaussian:1", "--init", "nu=0.02"},
      {"wavelet", "--blur", file("kernel.npy"), "--levels", "2"},
      {"tv+h1", "--blur", file("kernel.npy"), "--learn", "alpha,xi,2.alpha"}};
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    SCOPED_TRACE(kinds[k][0]);
    const bool from_file = kinds[k][2] != "gaussian:1";
    const std::string out = "kind" + std::to_string(k), model = file(out + "/model.json");
    const Outcome o = run(arguments(out, kinds[k][0], {kinds[k].begin() + 1, kinds[k].end()}));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.err.find("with the sum 1") != std::string::npos, from_file) << o.err;
    const Json training = summary(out)["training"];
    EXPECT_GT(training["psnr"].get<double>(), training["psnr_noisy"].get<double>());
    const bilevel::DenoiseModel read = bilevel::read_model(model);
    ASSERT_TRUE(read.blur);
    std::vector<std::string> notes;
    const Kernel kernel = bilevel_app::read_blur(kinds[k][2], notes);
    EXPECT_EQ(read.blur->height, kernel.height);
    EXPECT_EQ(read.blur->values, kernel.values);
    EXPECT_NE(get_file(model).find("1/2 |B x - y|^2"), std::string::npos);

    bilevel::HostImage blurred = photograph(40, 36, 1);
    bilevel_app::blur(kernel, 40, 36, blurred.pixels);
    bilevel::write_image(file("blurred.png"), blurred, {16});
    const Outcome a = run(on_device({"apply", "--json", "--model", model, "--input", file("blurred.png"),
                                     "--output", file("sharp.npy"), "--tolerance", "1e-4"}));
    ASSERT_EQ(a.code, 0) << a.err;
    EXPECT_LE(Json::parse(a.out)["images"][0]["certified_rms"], 1e-4);
    EXPECT_GT(bilevel::psnr(bilevel::read_image(file("sharp.npy")).pixels, photograph(40, 36, 1).pixels),
              bilevel::psnr(blurred.pixels, photograph(40, 36, 1).pixels) + 0.5);
    const Outcome e =
        run(on_device({"evaluate", "--json", "--model", model, "--data", data_, "--images", "1"}));
    ASSERT_EQ(e.code, 0) << e.err;
    const Json mean = Json::parse(e.out)["mean"];
    EXPECT_GT(mean["psnr"].get<double>(), mean["psnr_noisy"].get<double>());
    const Outcome c = run(on_device({"check", "--model", model, "--data", data_, "--crop", "16"}));
    EXPECT_EQ(c.code, 0) << c.out << c.err;
  }
}

/// The crop of `evaluate` is blurred as a crop, as in training: the same pixels, but for the noise.
TEST_F(Deblurring, ACropIsEvaluatedAsItIsTrained) {
  ASSERT_EQ(run(arguments("plain", "tv", {"--blur", "gaussian:1"}, "2", "0")).code, 0);
  const Outcome e = run(on_device({"evaluate", "--json", "--model", file("plain/model.json"), "--data", data_,
                                   "--images", "3", "--crop", "32"}));
  ASSERT_EQ(e.code, 0) << e.err;
  EXPECT_NEAR(Json::parse(e.out)["mean"]["psnr_noisy"].get<double>(),
              summary("plain")["training"]["psnr_noisy"].get<double>(), 1e-9);
}

TEST_F(Deblurring, AResumedRunGivesTheSameBits) {
  const std::vector<std::string> blur{"--blur", file("kernel.npy")};
  ASSERT_EQ(run(arguments("whole", "tv", blur, "6")).code, 0);
  ASSERT_EQ(run(arguments("cut", "tv", blur, "2")).code, 0);
  auto more = blur;
  more.push_back("--resume");
  const Outcome o = run(arguments("cut", "tv", more, "6"));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("cut/model.json")), get_file(file("whole/model.json")));
  more[1] = kernel_file("kernel2.npy", 1, 1, {1});
  const Outcome other = run(arguments("cut", "tv", more, "6"));
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("blur"), std::string::npos) << other.err;
}

TEST_F(Deblurring, WhatDoesNotFitIsRefused) {
  const auto refused = [](const std::vector<std::string>& more, int code,
                          const std::vector<std::string>& parts) {
    const Outcome o = run(arguments("refused", "tv", more));
    EXPECT_EQ(o.code, code) << o.err;
    expect_one_sentence(o);
    for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    EXPECT_FALSE(fs::exists(file("refused")));
  };
  for (const char* sigma : {"gaussian:", "gaussian:0", "gaussian:-1", "gaussian:nan", "gaussian:1px"})
    refused({"--blur", sigma}, 2, {std::string("--blur ") + sigma, "gaussian:1.5"});
  refused({"--blur", "motion"}, 2, {"--blur motion", ".npy", "gaussian:SIGMA"});
  refused({"--blur", "gaussian:5"}, 2, {"--blur gaussian:5", "41 x 41", "--crop 32", "smaller SIGMA"});
  refused({"--blur", file("missing.npy")}, 3, {"missing.npy"});
  refused({"--blur", kernel_file("even.npy", 4, 3, std::vector<double>(12, 0.1))}, 3,
          {"even.npy", "4 x 3", "odd sides", "gaussian:SIGMA"});
  refused({"--blur", kernel_file("nan.npy", 1, 3, {0.5, std::nan(""), 0.5})}, 3, {"nan.npy", "not finite"});
  refused({"--blur", kernel_file("zero.npy", 1, 3, {0, 0, 0})}, 3, {"zero.npy", "zeros"});
  bilevel::write_npy(file("line.npy"), std::vector<std::size_t>{3},
                     std::span<const double>(std::vector<double>{0.2, 0.6, 0.2}));
  refused({"--blur", file("line.npy")}, 3, {"line.npy", "1 dimensions", "two"});
  refused({"--blur", kernel_file("large.npy", 33, 1, std::vector<double>(33, 0.03))}, 2,
          {"large.npy", "33 x 1", "--crop 32"});
  const std::vector<std::pair<std::vector<std::string>, std::string>> beside{
      {{"--mask", "mask.png"}, "--mask"},
      {{"--precision", "mixed"}, "--precision mixed"},
      {{"--solver", "pdhg"}, "--solver pdhg"},
      {{"--xi-inside-alpha"}, "--xi-inside-alpha"},
      {{"--condition-penalty", "1"}, "--condition-penalty"}};
  for (const auto& [options, name] : beside) {
    std::vector<std::string> more{"--blur", "gaussian:1"};
    more.insert(more.end(), options.begin(), options.end());
    refused(more, 2, {name, "without a blur"});
  }

  ASSERT_EQ(run(arguments("model", "tv", {"--blur", "gaussian:1.5"}, "1")).code, 0);
  const std::string model = file("model/model.json");
  const auto applied = [&](const std::string& input, const std::vector<std::string>& more) {
    std::vector<std::string> a{"apply", "--model", model, "--input", input, "--output", file("out.png")};
    a.insert(a.end(), more.begin(), more.end());
    return run(a);
  };
  bilevel::write_image(file("tiny.png"), photograph(9, 40, 1));
  EXPECT_EQ(applied(file("tiny.png"), {}).code, 3);
  EXPECT_NE(applied(file("tiny.png"), {}).err.find("blur of 13 x 13 taps"), std::string::npos);
  EXPECT_EQ(applied(data_, {"--precision", "mixed"}).code, 2);
  EXPECT_EQ(applied(data_, {"--solver", "pdhg"}).code, 2);
  EXPECT_EQ(applied(data_, {"--mask", data_ + "/photo1.png"}).code, 2);
  const Outcome twice =
      run({"check", "--model", model, "--data", data_, "--crop", "16", "--blur", "gaussian:1"});
  EXPECT_EQ(twice.code, 2);
  EXPECT_NE(twice.err.find("--blur has no effect"), std::string::npos) << twice.err;
  const Json good = Json::parse(get_file(model));
  const std::vector<std::function<void(Json&)>> damages{
      [](Json& j) { j["blur"] = 3; }, [](Json& j) { j["blur"]["height"] = 12; },
      [](Json& j) { j["blur"]["values"].erase(0); }, [](Json& j) { j["blur"]["values"][0] = "x"; },
      [](Json& j) { j["blur"].erase("width"); }};
  for (const auto& damage : damages) {
    Json json = good;
    damage(json);
    put_file(file("damaged.json"), json.dump());
    const Outcome o =
        run({"apply", "--model", file("damaged.json"), "--input", data_, "--output", file("out")});
    EXPECT_EQ(o.code, 3) << o.err;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find("blur"), std::string::npos) << o.err;
  }
}

}  // namespace
}  // namespace bilevel_test
