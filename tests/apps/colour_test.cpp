// Coupled colour in bilevel-denoise: --colour coupled.

#include "apps/common/image_data.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/support/random.hpp"

namespace bilevel_test {
namespace {

/// A scene whose channels have their edges at the same places.
bilevel::HostImage scene(int height, int width, unsigned seed) {
  const bilevel::HostImage grey = photograph(height, width, seed);
  bilevel::HostImage image{3, height, width, {}};
  for (const auto& [base, slope] : {std::pair{0.1, 0.8}, {0.2, 0.6}, {0.9, -0.7}})
    for (const double v : grey.pixels) image.pixels.push_back(base + slope * v);
  return image;
}

class Colour : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    grey_ = photographs(*folder_, "grey", 3, 40, 36);
    fs::create_directories(file("scenes"));
    for (unsigned k = 1; k <= 3; ++k)
      bilevel::write_image(file("scenes/scene" + std::to_string(k) + ".png"), scene(40, 36, k));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static Outcome train(const std::string& out, const std::string& model, std::vector<std::string> more = {},
                       const char* iterations = "6", const char* colour = "coupled") {
    const auto given = [&](const char* name) {
      return std::find(more.begin(), more.end(), name) != more.end();
    };
    if (!given("--tolerance")) more.insert(more.end(), {"--tolerance", "1e-9"});
    if (!given("--data")) more.insert(more.end(), {"--data", file("scenes")});
    more.insert(more.begin(), {"train", "--out", file(out), "--images", "3", "--crop", "32", "--model", model,
                               "--colour", colour, "--max-iterations", iterations});
    return run(on_device_or_one_thread(more));
  }
  static Json summary(const std::string& out) { return Json::parse(get_file(file(out + "/summary.json"))); }
  static std::string model(const std::string& out) { return file(out + "/model.json"); }
  /// PSNR over all channels of what a model makes of a noisy scene.
  static double psnr_of(const std::string& of, const std::string& noisy, const bilevel::HostImage& clean) {
    const Outcome o = run(on_device({"apply", "--json", "--model", model(of), "--input", noisy, "--output",
                                     file("result.npy"), "--tolerance", "1e-4"}));
    EXPECT_EQ(o.code, 0) << o.err;
    const Json image = Json::parse(o.out)["images"][0];
    EXPECT_EQ(image["channels"], 3);
    EXPECT_LE(image["certified_rms"], 1e-4);
    return bilevel::psnr(bilevel::read_image(file("result.npy")).pixels, clean.pixels);
  }

  static TemporaryFolder* folder_;
  static std::string grey_;
};
TemporaryFolder* Colour::folder_ = nullptr;
std::string Colour::grey_;

TEST_F(Colour, EveryKindTrainsAppliesEvaluatesAndChecks) {
  bilevel::HostImage measured = photograph(32, 32, 5);
  for (std::size_t p = 0; p < measured.pixels.size(); ++p) measured.pixels[p] = p % 7 == 3 ? 0 : 1;
  bilevel::write_image(file("mask.png"), measured);
  const std::vector<std::vector<std::string>> kinds{
      {"tv", "--learn", "alpha,nu,xi"},
      {"tv", "--potential", "huber_c2", "--precision", "mixed"},
      {"h1", "--precision", "float", "--tolerance", "0.05"},
      {"tv+h1", "--mask", file("mask.png"), "--learn", "alpha,2.alpha"},
      {"tv", "--solver", "pdhg", "--xi-inside-alpha"},
      {"tv", "--blur", "gaussian:1", "--sigma", "0.02"}};
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    const std::string out = "kind" + std::to_string(k);
    SCOPED_TRACE(out);
    const Outcome o = train(out, kinds[k][0], {kinds[k].begin() + 1, kinds[k].end()}, "3");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.err, "");
    EXPECT_EQ(bilevel::read_model(model(out)).channels, 3);
    EXPECT_NE(get_file(model(out)).find("\"channels\": 3"), std::string::npos);
    const Json training = summary(out)["training"];
    EXPECT_EQ(training["channels"], 3);
    EXPECT_GT(training["psnr"].get<double>(), training["psnr_noisy"].get<double>());
    for (const char* picture : {"clean_0", "noisy_1", "reconstructed_2", "strip_0"})
      EXPECT_EQ(bilevel::read_image(file(out + "/images/" + picture + ".png")).channels, 3);
    const Outcome e = run(on_device({"evaluate", "--json", "--model", model(out), "--data", file("scenes"),
                                     "--crop", "32", "--save", file(out + "/saved")}));
    ASSERT_EQ(e.code, 0) << e.err;
    EXPECT_EQ(Json::parse(e.out)["channels"], 3);
    EXPECT_EQ(bilevel::read_image(file(out + "/saved/1-scene1-denoised.png")).channels, 3);
    const Outcome c =
        run(on_device({"check", "--model", model(out), "--data", file("scenes"), "--crop", "16"}));
    EXPECT_EQ(c.code, 0) << c.out << c.err;
  }
  const Outcome same = run(on_device({"evaluate", "--json", "--model", model("kind0"), "--data",
                                      file("scenes"), "--crop", "32", "--tolerance", "1e-6"}));
  EXPECT_NEAR(Json::parse(same.out)["mean"]["psnr_noisy"].get<double>(), 20, 0.3);
  const Outcome given = run(on_device({"evaluate", "--model", model("kind0"), "--data", file("scenes")}));
  EXPECT_NE(given.out.find("; of all channels of colour."), std::string::npos) << given.out;
}

/// Noise is drawn for each channel by itself.
TEST_F(Colour, ChannelsHaveNoiseOfTheirOwn) {
  bilevel_app::DataOptions o;
  o.data = {file("scenes")};
  o.images = 3;
  o.crop = 32;
  o.channels = 3;
  const bilevel_app::ImageBatch batch = bilevel_app::load_crops(o);
  EXPECT_EQ(batch.shape(), (bilevel::Shape{3, 3, 32, 32}));
  const bilevel::HostImage first = bilevel::read_image(file("scenes/scene1.png"));
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t p = 0; p < 1024; ++p)
      ASSERT_EQ(batch.clean[c * 1024 + p], first.pixels[(c * 40 + 4 + p / 32) * 36 + 2 + p % 32]);
  double product = 0, square = 0;
  for (std::size_t p = 0; p < 1024; ++p) {
    const auto noise = [&](std::size_t c) { return batch.noisy[c * 1024 + p] - batch.clean[c * 1024 + p]; };
    product += noise(0) * noise(1);
    square += noise(2) * noise(2);
  }
  EXPECT_NEAR(square / 1024, 0.01, 0.002);
  EXPECT_LT(std::abs(product) / 1024, 0.0015);
}

TEST_F(Colour, IsBetterThanChannelByChannelWhereEdgesAreShared) {
  ASSERT_EQ(train("together", "tv", {"--tolerance", "1e-3"}, "20").code, 0);
  ASSERT_EQ(train("alone", "tv", {"--tolerance", "1e-3"}, "20", "luma").code, 0);
  EXPECT_EQ(get_file(model("alone")).find("channels"), std::string::npos);
  EXPECT_EQ(bilevel::read_model(model("alone")).channels, 1);
  const bilevel::HostImage clean = scene(48, 44, 11);
  bilevel::HostImage noisy = clean;
  bilevel::testing_support::Random random(5);
  for (double& v : noisy.pixels) v += 0.1 * random.normal();
  bilevel::write_image(file("noisy.npy"), noisy);
  EXPECT_GT(psnr_of("together", file("noisy.npy"), clean), psnr_of("alone", file("noisy.npy"), clean) + 0.3);
}

TEST_F(Colour, AResumedRunGivesTheSameBitsAndAnotherOptionIsRefused) {
  ASSERT_EQ(train("whole", "tv").code, 0);
  ASSERT_EQ(train("cut", "tv", {}, "2").code, 0);
  const Outcome other = train("cut", "tv", {"--resume"}, "6", "luma");
  EXPECT_EQ(other.code, 2);
  expect_one_sentence(other);
  EXPECT_NE(other.err.find("--colour was coupled"), std::string::npos) << other.err;
  const Outcome o = train("cut", "tv", {"--resume"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(summary("cut")["resumed_from"], 2);
  for (const char* name : {"/model.json", "/checkpoint/000006/x.bin", "/images/strip_0.png"})
    EXPECT_EQ(get_file(file(std::string("cut") + name)), get_file(file(std::string("whole") + name))) << name;
  ASSERT_EQ(train("grey-run", "tv", {}, "2", "luma").code, 0);
  const Outcome coupled = train("grey-run", "tv", {"--resume"});
  EXPECT_EQ(coupled.code, 2);
  EXPECT_NE(coupled.err.find("--colour was not given, and is coupled now"), std::string::npos) << coupled.err;
}

TEST_F(Colour, WhatDoesNotFitIsRefused) {
  const auto expect = [](const Outcome& o, int code, const std::vector<std::string>& parts) {
    EXPECT_EQ(o.code, code);
    expect_one_sentence(o);
    for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  for (const std::string name : {"tv-aniso", "tv2", "tgv2", "wavelet", "foe", "dtv", "tv+tv2"})
    expect(train("refused", name), 2, {"--colour coupled is for the models tv and h1", "not for " + name});
  expect(train("refused", "tv", {}, "6", "rgb"), 2, {"--colour", "rgb", "luma", "coupled"});
  expect(train("refused", "tv", {"--data", grey_}), 3, {"photo1.png", "grey", "RGB"});
  EXPECT_FALSE(fs::exists(file("refused")));
  ASSERT_EQ(train("model", "tv", {}, "1").code, 0);
  const std::string photo = grey_ + "/photo1.png", picture = file("scenes/scene1.png"), out = file("out.png");
  expect(run(on_device({"apply", "--model", model("model"), "--input", photo, "--output", out})), 3,
         {"photo1.png", "grey", "RGB"});
  expect(run(on_device({"apply", "--model", model("model"), "--input", picture, "--output", out, "--luma"})),
         2, {"--luma", "leave it out"});
  expect(run(on_device({"evaluate", "--model", model("model"), "--data", grey_})), 3, {"photo1.png", "grey"});
  expect(run(on_device({"check", "--model", model("model"), "--data", grey_, "--crop", "16"})), 3, {"grey"});
  expect(run(on_device({"check", "--model", model("model"), "--data", grey_, "--colour", "coupled"})), 2,
         {"--colour", "beside --model"});
  const std::string text = get_file(model("model"));
  const auto damaged = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    for (std::size_t at; (at = changed.find(from)) != std::string::npos;)
      changed.replace(at, from.size(), to);
    put_file(file("damaged.json"), changed);
    return run(on_device({"apply", "--model", file("damaged.json"), "--input", picture, "--output", out}));
  };
  expect(damaged("\"channels\": 3", "\"channels\": 2"), 3, {"key 'channels' is 2, not 1 or 3"});
  expect(damaged("\"model\": \"tv\"", "\"model\": \"tv2\""), 3, {"key 'channels'", "tv2", "tv and h1"});
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace bilevel_test
