#include "apps/denoise/filters_image.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

namespace denoise = bilevel_app::denoise;

/// A short training run of a small field of experts that several tests look at.
class Experts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 2, 24, 20);
    held_out_ = photographs(*folder_, "held-out", 2, 20, 28, 31);
    outcome_ = run(arguments("run", {"--test-data", held_out_, "--test-every", "2"}));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more = {},
                                            const char* iterations = "3") {
    std::vector<std::string> a = on_device_or_one_thread(
        {"train", "--data", data_, "--out", file(out), "--images", "2", "--crop", "16", "--model", "foe",
         "--filters", "3", "--filter-size", "3", "--tolerance", "1e-9", "--max-iterations", iterations});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static std::vector<Json> log(const std::string& out) {
    std::vector<Json> lines;
    for (const std::string& line : lines_of(get_file(file(out + "/log.jsonl")))) {
      lines.push_back(Json::parse(line));
      lines.back().erase("seconds");
    }
    return lines;
  }

  static TemporaryFolder* folder_;
  static std::string data_, held_out_;
  static Outcome outcome_;
};
TemporaryFolder* Experts::folder_ = nullptr;
std::string Experts::data_, Experts::held_out_;
Outcome Experts::outcome_;

TEST_F(Experts, EndsWellAndSaysInAFewLinesWhatWasLearned) {
  ASSERT_EQ(outcome_.code, 0) << outcome_.err;
  EXPECT_EQ(outcome_.err, "");
  for (const char* part :
       {"weight", "smoothing", "3 of 3 x 3 taps", "mu", "(fixed)", "training images", "test images"})
    EXPECT_NE(outcome_.out.find(part), std::string::npos) << part << " in " << outcome_.out;
  EXPECT_LT(outcome_.out.size(), 1200u);
}

TEST_F(Experts, TheModelHoldsWhatWasLearned) {
  ASSERT_EQ(outcome_.code, 0);
  const bilevel::DenoiseModel model = bilevel::read_model(file("run/model.json"));
  const auto& options = std::get<bilevel::ExpertsOptions>(model.options.parts.at(0));
  EXPECT_TRUE(options.zero_mean);
  EXPECT_EQ(options.padding, bilevel::FilterPadding::symmetric);
  const auto start = bilevel::experts_parameters(3, 3, bilevel::FilterInit::tv, 0.055, 0.0066).segments();
  ASSERT_EQ(model.parameters.size(), start.size());
  for (std::size_t k = 0; k < start.size(); ++k) {
    EXPECT_EQ(model.parameters[k].name, start[k].name);
    EXPECT_EQ(model.parameters[k].shape, start[k].shape);
    if (start[k].learned) {
      EXPECT_NE(model.parameters[k].values, start[k].values) << start[k].name;
    }
  }
  Json training = Json::object();
  for (const auto& [name, value] : model.training) training[name] = bilevel::option_text(value);
  const Json expected{{"model", "foe"},         {"filters", "3"},      {"filter-size", "3"},
                      {"padding", "symmetric"}, {"filter-init", "tv"}, {"free-mean", "false"},
                      {"init alpha", "0.055"},  {"init nu", "0.0066"}, {"learn", "weight,smoothing,filters"},
                      {"scaling", "lbfgs"},     {"solver", "lbfgs"},   {"linear-solver", "cg"}};
  for (const auto& [name, value] : expected.items()) EXPECT_EQ(training[name], value) << name;
}

TEST_F(Experts, TheLogHasTestsButNoArrays) {
  ASSERT_EQ(outcome_.code, 0);
  const auto lines = log("run");
  ASSERT_EQ(lines.size(), 4u);
  double previous = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < lines.size(); ++k) {
    EXPECT_EQ(lines[k]["theta"], Json({{"mu", 1e-3}}));
    EXPECT_EQ(lines[k].contains("test_psnr"), k == 0 || k == 2 || k == 3) << k;
    EXPECT_LE(lines[k]["loss_lower"], previous);
    previous = lines[k]["loss_upper"];
  }
  EXPECT_LT(lines.back()["loss_upper"], lines.front()["loss_lower"]);
  const Json s = Json::parse(get_file(file("run/summary.json")));
  EXPECT_EQ(s["test"]["psnr"], lines.back()["test_psnr"]);
  EXPECT_EQ(s["test"]["images"], 2);
  EXPECT_GT(s["test"]["psnr"].get<double>(), s["test"]["psnr_noisy"].get<double>() + 1);
  EXPECT_EQ(s["filters"], 3);
  EXPECT_EQ(s["filter_size"], 3);
  EXPECT_LE(s["theta"]["weight"]["least"], s["theta"]["weight"]["most"]);
  EXPECT_LT(get_file(file("run/summary.json")).size(), 3000u);
}

TEST_F(Experts, FillInWhatAMaskLeavesOut) {
  const auto masked = [](const std::string& name, int size) {
    bilevel::HostImage mask{1, size, size, std::vector<double>(static_cast<std::size_t>(size * size), 1.0)};
    std::mt19937 generator(5);
    for (double& m : mask.pixels) m = generator() % 4 == 0 ? 0.0 : 1.0;
    bilevel::write_image(file(name), mask);
    return mask;
  };
  masked("mask16.png", 16);
  const Outcome o = run(arguments("masked", {"--mask", file("mask16.png"), "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json trained = Json::parse(o.out)["training"];
  EXPECT_GT(trained["psnr"].get<double>(), trained["psnr_noisy"].get<double>() + 3);
  const bilevel::HostImage clean = photograph(24, 24, 31), mask = masked("mask24.png", 24);
  bilevel::HostImage holes = clean;
  for (std::size_t p = 0; p < holes.pixels.size(); ++p) holes.pixels[p] *= mask.pixels[p];
  bilevel::write_image(file("holes.npy"), holes);
  const Outcome filled =
      run(on_device({"apply", "--json", "--model", file("masked/model.json"), "--input", file("holes.npy"),
                     "--mask", file("mask24.png"), "--output", file("filled.npy"), "--tolerance", "1e-4"}));
  ASSERT_EQ(filled.code, 0) << filled.err;
  const bilevel::HostImage x = bilevel::read_image(file("filled.npy"));
  double before = 0, after = 0;
  for (std::size_t p = 0; p < clean.pixels.size(); ++p) {
    before += std::pow(holes.pixels[p] - clean.pixels[p], 2);
    after += std::pow(x.pixels[p] - clean.pixels[p], 2);
  }
  EXPECT_LT(after, 0.2 * before);
}

/// Tests are measured in a context of their own: the run has the same bits without them.
TEST_F(Experts, TestsDoNotDisturbTheRun) {
  ASSERT_EQ(run(arguments("untested")).code, 0);
  EXPECT_EQ(get_file(file("untested/model.json")), get_file(file("run/model.json")));
  EXPECT_EQ(get_file(file("untested/checkpoint/000003/x.bin")),
            get_file(file("run/checkpoint/000003/x.bin")));
  const auto untested = log("untested");
  auto tested = log("run");
  for (Json& line : tested) line.erase("test_psnr");
  EXPECT_EQ(untested, tested);
  EXPECT_FALSE(Json::parse(get_file(file("untested/summary.json"))).contains("test"));
}

TEST_F(Experts, AResumedRunGivesTheSameBits) {
  const std::vector<std::string> tests{"--test-data", held_out_, "--test-every", "2"};
  ASSERT_EQ(run(arguments("resumed", tests, "1")).code, 0);
  auto again = tests;
  again.push_back("--resume");
  const Outcome o = run(arguments("resumed", again));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(log("resumed"), log("run"));
  EXPECT_EQ(tree(file("resumed")), tree(file("run")));
  for (const char* name : {"model.json", "images/filters.png", "checkpoint/000003/x.bin",
                           "checkpoint/000003/adjoints.bin", "checkpoint/000003/pairs.bin"}) {
    ASSERT_TRUE(fs::exists(file(std::string("run/") + name))) << name;
    EXPECT_EQ(get_file(file(std::string("resumed/") + name)), get_file(file(std::string("run/") + name)))
        << name;
  }
  for (const auto& [option, value, part] : std::vector<std::array<std::string, 3>>{
           {"--padding", "valid", "--padding was symmetric, not valid"},
           {"--filter-init", "dct", "--filter-init was tv, not dct"},
           {"--learn", "filters", "--learn was weight,smoothing,filters, not filters"},
           {"--init", "nu=0.02", "--init nu was 0.0066, not 0.02"},
           {"--scaling", "none", "--scaling was lbfgs, not none"},
           {"--solver", "fista", "--solver was lbfgs, not fista"}}) {
    const Outcome refused = run(arguments("run", {"--resume", option, value}));
    EXPECT_EQ(refused.code, 2) << option;
    expect_one_sentence(refused);
    EXPECT_NE(refused.err.find(part), std::string::npos) << refused.err;
  }
}

TEST_F(Experts, ThePictureShowsEveryFilter) {
  ASSERT_EQ(outcome_.code, 0);
  const auto picture = bilevel::read_image(file("run/images/filters.png"));
  const int side = 57;  // 3 taps of 19 pixels, 4 pixels between
  EXPECT_EQ(picture.height, 1 * (side + 4) + 4);
  EXPECT_EQ(picture.width, 3 * (side + 4) + 4);
  for (int k = 0; k < 3; ++k) {
    double largest = 0;
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j)
        largest = std::max(
            largest,
            picture.pixels[static_cast<std::size_t>(4 + i) * picture.width + 4 + k * (side + 4) + j]);
    EXPECT_NEAR(largest, 0.9, 0.005) << k;
  }
}

/// Two filters: the second, c = -(2,0,..), is stronger and shown first, light at its only tap.
TEST(Filters, AreRankedByTheirWeightAtNormOneAndShownWithoutSign) {
  std::vector<double> taps(18, 0.0);
  taps[4] = 1, taps[5] = -0.5, taps[9] = -2;
  const bilevel::Parameters parameters(
      {{"weight", bilevel::Transform::exp, 1, 1e-8, 1e2, true, {2}, {0.5, 0.4}},
       {"filters", bilevel::Transform::identity, 1, -10, 10, true, {2, 3, 3}, taps}});
  const auto ranked = denoise::ranked_filters(parameters, parameters.initial(), false);
  EXPECT_EQ(ranked.number, (std::vector<std::size_t>{1, 0}));
  EXPECT_DOUBLE_EQ(ranked.strength[0], 0.8);
  EXPECT_DOUBLE_EQ(ranked.strength[1], 0.5 * std::sqrt(1.25));
  const auto image = denoise::filters_image(ranked);
  const auto tap = [&image](int filter, int row, int column) {
    return image
        .pixels[static_cast<std::size_t>(4 + row * 19 + 9) * image.width + 4 + filter * 61 + column * 19 + 9];
  };
  EXPECT_DOUBLE_EQ(tap(0, 0, 0), 0.9);
  EXPECT_EQ(tap(0, 1, 1), 0.5);
  EXPECT_DOUBLE_EQ(tap(1, 1, 1), 0.9);
  EXPECT_DOUBLE_EQ(tap(1, 1, 2), 0.3);
  EXPECT_EQ(image.pixels[0], 1.0);
  const auto centred = denoise::ranked_filters(parameters, parameters.initial(), true);
  double sum = 0;
  for (int k = 0; k < 9; ++k) sum += centred.taps[static_cast<std::size_t>(k)];
  EXPECT_NEAR(sum, 0, 1e-15);
}

TEST(Filters, TilesFillTheirRows) {
  for (const int size : {3, 5, 7, 9, 11})
    for (int count = 1; count <= 64; ++count) {
      denoise::RankedFilters f{
          count, size, {}, {}, std::vector<double>(static_cast<std::size_t>(count) * size * size, 0.0)};
      const auto image = denoise::filters_image(f);
      const int tile = (image.width - 4) / ((image.width - 4) / (56 / size * size + 4));
      const int rows = (image.height - 4) / tile, columns = (image.width - 4) / tile;
      EXPECT_GE(rows * columns, count) << size;
      EXPECT_LT((rows - 1) * columns, count) << size;
      EXPECT_LE(image.width, 900);
    }
}

TEST_F(Experts, ApplyCertifiesOnImagesOfAnySize) {
  ASSERT_EQ(outcome_.code, 0);
  bilevel::write_image(file("colour.ppm"), photograph(17, 31, 4, 3));
  const auto apply = [&](const char* output, const std::vector<std::string>& more) {
    std::vector<std::string> a{"apply",    "--model",   file("run/model.json"), "--input", file("colour.ppm"),
                               "--output", file(output)};
    a.insert(a.end(), more.begin(), more.end());
    return run(on_device(a));
  };
  const Outcome tight = apply("tight.npy", {"--tolerance", "1e-9", "--solver", "fista"});
  ASSERT_EQ(tight.code, 0) << tight.err;
  const auto exact = bilevel::read_image(file("tight.npy"));
  ASSERT_EQ(exact.channels, 3);
  for (const auto& [precision, tolerance] : std::vector<std::pair<std::string, double>>{
           {"double", 1e-3}, {"float", 1e-3}, {"mixed", 1e-3}, {"mixed", 1e-8}}) {
    SCOPED_TRACE(precision + " " + std::to_string(tolerance));
    const Outcome o = apply(
        "denoised.npy", {"--tolerance", bilevel::option_text(tolerance), "--precision", precision, "--json"});
    ASSERT_EQ(o.code, 0) << o.err;
    const double certified = Json::parse(o.out)["images"][0]["certified_rms"];
    EXPECT_LE(certified, tolerance);
    const auto result = bilevel::read_image(file("denoised.npy"));
    for (std::size_t c = 0; c < 3; ++c) {
      double sum = 0;
      for (std::size_t k = c * 527; k < (c + 1) * 527; ++k)
        sum += (result.pixels[k] - exact.pixels[k]) * (result.pixels[k] - exact.pixels[k]);
      EXPECT_LE(std::sqrt(sum / 527), certified + 1e-9) << c;
    }
  }
  ASSERT_EQ(apply("luma.png", {"--luma"}).code, 0);
  EXPECT_EQ(bilevel::read_image(file("luma.png")).channels, 1);
}

TEST_F(Experts, EvaluateFindsTheGainOfTheLog) {
  ASSERT_EQ(outcome_.code, 0);
  fs::create_directories(file("crops"));  // of 16 x 16 pixels at the centres, as the run took them
  for (const char* name : {"photo1", "photo2"}) {
    const auto whole = bilevel::read_image(fs::path(held_out_) / (std::string(name) + ".png"));
    bilevel::HostImage crop{1, 16, 16, {}};
    for (int i = 2; i < 18; ++i)
      for (int j = 6; j < 22; ++j) crop.pixels.push_back(whole.pixels[static_cast<std::size_t>(28 * i + j)]);
    bilevel::write_image(file(std::string("crops/") + name + ".npy"), crop);
  }
  const Outcome o = run(on_device(
      {"evaluate", "--model", file("run/model.json"), "--data", file("crops"), "--seed", "1", "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json json = Json::parse(o.out);
  EXPECT_EQ(json["type"], "foe");
  const Json s = Json::parse(get_file(file("run/summary.json")));
  EXPECT_NEAR(json["mean"]["psnr"].get<double>(), s["test"]["psnr"].get<double>(), 1e-6);
  EXPECT_NEAR(json["mean"]["psnr_noisy"].get<double>(), s["test"]["psnr_noisy"].get<double>(), 1e-9);
}

TEST_F(Experts, CheckPasses) {
  ASSERT_EQ(outcome_.code, 0);
  const Outcome o = run(on_device({"check", "--model", file("run/model.json"), "--data", data_, "--images",
                                   "1", "--crop", "12", "--json"}));
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  const Json json = Json::parse(o.out);
  EXPECT_EQ(json["failed"], 0);
  EXPECT_GE(json["checks"].size(), 2u + 3 * 6 + 3);
  const Outcome valid = run(on_device({"check",       "--model-type",
                                       "foe",         "--filters",
                                       "2",           "--filter-size",
                                       "3",           "--padding",
                                       "valid",       "--filter-init",
                                       "random",      "--free-mean",
                                       "--potential", "huber_c2",
                                       "--learn",     "smoothing,filters",
                                       "--data",      data_,
                                       "--images",    "1",
                                       "--crop",      "10"}));
  EXPECT_EQ(valid.code, 0) << valid.out << valid.err;
  EXPECT_NE(valid.out.find("all filters"), std::string::npos);
}

TEST_F(Experts, EveryOptionRuns) {
  int k = 0;
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--padding", "valid", "--filter-init", "dct", "--free-mean"},
                                             {"--filter-init", "random", "--learn", "weight,filters",
                                              "--init", "alpha=0.02", "--init", "mu=0.01"},
                                             {"--scaling", "none", "--algorithm", "fixed", "--solver",
                                              "newton", "--linear-solver", "pcg", "--log10"},
                                             {"--precision", "float", "--algorithm", "fixed"},
                                             {"--precision", "mixed", "--test-data", held_out_}}) {
    const Outcome o = run(arguments("option" + std::to_string(k++), more, "1"));
    EXPECT_EQ(o.code, 0) << more[1] << ": " << o.err;
  }
}

}  // namespace
}  // namespace bilevel_test
