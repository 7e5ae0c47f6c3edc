#include <algorithm>
#include <iterator>
#include <set>

#include "bilevel/io/quality.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

/// One short training run that several tests look at.
class Trained : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 3, 48, 56);
    outcome_ = run(training(data_, *folder_ / "run", {"--model", "tv-aniso", "--log10"}));
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome outcome_;
};
TemporaryFolder* Trained::folder_ = nullptr;
std::string Trained::data_;
Outcome Trained::outcome_;

TEST_F(Trained, EndsWellAndWritesTheRunDirectory) {
  EXPECT_EQ(outcome_.code, 0) << outcome_.err;
  EXPECT_EQ(outcome_.err, "");
  for (const char* part : {"alpha", "nu", "xi", "(fixed)", "log10", "loss", "PSNR", "SSIM"})
    EXPECT_NE(outcome_.out.find(part), std::string::npos) << part;
  std::vector<std::string> expected{"checkpoint", "convergence.svg", "images",
                                    "log.jsonl",  "model.json",      "summary.json"};
  for (const char* k : {"000003", "000004"})
    for (const char* name : {"", "/adjoints.bin", "/state.json", "/x.bin"})
      expected.push_back(std::string("checkpoint/") + k + name);
  for (const char* kind : {"clean", "noisy", "reconstructed", "strip"})
    for (int k = 0; k < 3; ++k)
      expected.push_back(std::string("images/") + kind + "_" + std::to_string(k) + ".png");
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(tree(file("run")), expected);
}

TEST_F(Trained, TheLogDescendsWithCertifiedEnclosures) {
  const auto lines = lines_of(get_file(file("run/log.jsonl")));
  ASSERT_EQ(lines.size(), 5u);
  double previous = std::numeric_limits<double>::infinity(), work = 0;
  for (std::size_t k = 0; k < lines.size(); ++k) {
    const Json line = Json::parse(lines[k]);
    for (const char* key : {"iteration", "loss", "loss_lower", "loss_upper", "gradient_norm", "error_bound",
                            "epsilon", "delta", "step", "backtracks", "lower_gradients", "hessian_products",
                            "other_operators", "seconds", "status", "theta", "psnr"})
      EXPECT_TRUE(line.contains(key)) << key;
    EXPECT_EQ(line["iteration"], k);
    EXPECT_LE(line["loss_lower"], line["loss"]);
    EXPECT_LE(line["loss"], line["loss_upper"]);
    EXPECT_LE(line["loss_lower"], previous);
    previous = line["loss_upper"];
    const double total = line["lower_gradients"].get<double>() + line["hessian_products"].get<double>() +
                         line["other_operators"].get<double>();
    EXPECT_GE(total, work);
    work = total;
    EXPECT_EQ(line["theta"].size(), 3u);
  }
  EXPECT_EQ(Json::parse(lines[0])["status"], "accepted");
  EXPECT_EQ(Json::parse(lines[4])["status"], "max_iterations");
}

TEST_F(Trained, TheSummaryHoldsTheContract) {
  const Json s = Json::parse(get_file(file("run/summary.json")));
  EXPECT_EQ(s["status"], "max_iterations");
  EXPECT_TRUE(s["message"].get<std::string>().ends_with("."));
  EXPECT_EQ(s["iterations"], 4);
  EXPECT_EQ(s["training"]["images"], 3);
  EXPECT_NEAR(s["training"]["psnr_noisy"].get<double>(), 20, 0.5);
  EXPECT_GT(s["training"]["psnr"], s["training"]["psnr_noisy"]);
  EXPECT_GT(s["training"]["ssim"], s["training"]["ssim_noisy"]);
  EXPECT_GT(s["peak_memory_bytes"], 1 << 20);
  const std::string device = bilevel::testing_support::test_device("cpu:1");
  EXPECT_TRUE(s["device"].get<std::string>().starts_with(device)) << s["device"];
  if (device == "cpu:1") {
    EXPECT_EQ(s["threads"], 1);
  }
  EXPECT_EQ(s["precision"], "double");
  EXPECT_TRUE(s["resumed_from"].is_null());
  EXPECT_GT(s["seconds"], 0);
  EXPECT_EQ(s["operators"], s["lower_gradients"].get<int>() + s["hessian_products"].get<int>() +
                                s["other_operators"].get<int>());
  EXPECT_NEAR(s["theta_log10"]["alpha"].get<double>(), std::log10(s["theta"]["alpha"].get<double>()), 1e-12);
  for (const char* key :
       {"loss", "loss_lower", "loss_upper", "gradient_norm", "error_bound", "library_version"})
    EXPECT_TRUE(s.contains(key)) << key;
  const Json last = Json::parse(lines_of(get_file(file("run/log.jsonl"))).back());
  EXPECT_EQ(last["loss"], s["loss"]);
}

TEST_F(Trained, TheModelKnowsItsTraining) {
  const auto model = bilevel::read_model(file("run/model.json"));
  EXPECT_FALSE(std::get<bilevel::TvOptions>(model.options.parts.at(0)).isotropic);
  EXPECT_EQ(model.data.files, (std::vector<std::string>{"photo1.png", "photo2.png", "photo3.png"}));
  EXPECT_EQ(model.data.images, 3);
  EXPECT_EQ(model.data.height, 32);
  EXPECT_NE(model.value("alpha"), 0.05);
  EXPECT_EQ(model.value("xi"), 1e-3);
  std::set<std::string> names;
  for (const auto& [name, value] : model.training) names.insert(name);
  for (const char* name : {"sigma", "images", "crop", "seed", "algorithm", "learn", "tolerance", "solver"})
    EXPECT_TRUE(names.count(name)) << name;
}

TEST_F(Trained, SamplesAreImages) {
  const auto strip = bilevel::read_image(file("run/images/strip_0.png"));
  EXPECT_EQ(strip.height, 32);
  EXPECT_EQ(strip.width, 3 * 32 + 8);
  const auto clean = bilevel::read_image(file("run/images/clean_0.png"));
  const auto noisy = bilevel::read_image(file("run/images/noisy_0.png"));
  const auto result = bilevel::read_image(file("run/images/reconstructed_0.png"));
  EXPECT_GT(bilevel::psnr(result.pixels, clean.pixels), bilevel::psnr(noisy.pixels, clean.pixels) + 2);
  for (int j = 0; j < 32; ++j)
    EXPECT_EQ(strip.pixels[static_cast<std::size_t>(j)], clean.pixels[static_cast<std::size_t>(j)]);
  const std::string svg = get_file(file("run/convergence.svg"));
  for (const char* part : {"<svg", "epsilon", "delta", "omega", "|z|", "operator applications", "</svg>"})
    EXPECT_NE(svg.find(part), std::string::npos) << part;
}

TEST_F(Trained, ApplyDenoisesAndCertifies) {
  const auto clean = photograph(50, 37, 11);
  auto noisy = clean;
  std::mt19937 generator(5);
  std::normal_distribution<double> normal(0, 0.1);
  for (double& v : noisy.pixels) v += normal(generator);
  bilevel::write_image(file("noisy.png"), noisy, {16});
  const Outcome o = run(on_device({"apply", "--model", file("run/model.json"), "--input", file("noisy.png"),
                                   "--output", file("denoised.png"), "--tolerance", "1e-4", "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json json = Json::parse(o.out);
  EXPECT_EQ(json["images"][0]["status"], "converged");
  EXPECT_LE(json["images"][0]["certified_rms"], 1e-4);
  EXPECT_EQ(json["images"][0]["bits"], 16);
  const auto result = bilevel::read_image(file("denoised.png"));
  EXPECT_GT(bilevel::psnr(result.pixels, clean.pixels), bilevel::psnr(noisy.pixels, clean.pixels) + 3);

  // Against a tight solve, within both certificates and the 16-bit grid.
  const Outcome tight =
      run(on_device({"apply", "--model", file("run/model.json"), "--input", file("noisy.png"), "--output",
                     file("tight.npy"), "--tolerance", "1e-10", "--solver", "fista"}));
  ASSERT_EQ(tight.code, 0) << tight.err;
  EXPECT_NE(tight.out.find("converged, certified RMS distance"), std::string::npos) << tight.out;
  const auto exact = bilevel::read_image(file("tight.npy"));
  double sum = 0;
  for (std::size_t k = 0; k < exact.pixels.size(); ++k) {
    const double e = std::min(std::max(exact.pixels[k], 0.0), 1.0) - result.pixels[k];
    sum += e * e;
  }
  EXPECT_LE(std::sqrt(sum / static_cast<double>(exact.pixels.size())), 1e-4 + 1.0 / 65535);
}

TEST_F(Trained, ApplyTreatsChannelsAloneOrTheLuma) {
  bilevel::write_image(file("colour.ppm"), photograph(33, 40, 4, 3));
  const std::string model = file("run/model.json");
  ASSERT_EQ(
      run(on_device({"apply", "--model", model, "--input", file("colour.ppm"), "--output", file("all.npy")}))
          .code,
      0);
  const auto all = bilevel::read_image(file("all.npy"));
  EXPECT_EQ(all.channels, 3);
  auto green = bilevel::read_image(file("colour.ppm"));
  green = {1, 33, 40, {green.pixels.begin() + 1320, green.pixels.begin() + 2640}};
  bilevel::write_image(file("green.npy"), green);
  ASSERT_EQ(
      run(on_device({"apply", "--model", model, "--input", file("green.npy"), "--output", file("g.npy")}))
          .code,
      0);
  const auto one = bilevel::read_image(file("g.npy"));
  EXPECT_TRUE(std::equal(one.pixels.begin(), one.pixels.end(), all.pixels.begin() + 1320));
  ASSERT_EQ(run(on_device({"apply", "--model", model, "--input", file("colour.ppm"), "--output",
                           file("l.png"), "--luma"}))
                .code,
            0);
  EXPECT_EQ(bilevel::read_image(file("l.png")).channels, 1);
}

TEST_F(Trained, ApplyTakesSeveralInputsToAFolder) {
  const Outcome o = run(on_device({"apply", "--model", file("run/model.json"), "--input", data_, "--output",
                                   file("folder/out"), "--quiet"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "");
  EXPECT_EQ(tree(file("folder/out")), (std::vector<std::string>{"photo1.png", "photo2.png", "photo3.png"}));
}

TEST_F(Trained, ApplyFillsInWhatAMaskHides) {
  const auto clean = photograph(40, 40, 21);
  bilevel::HostImage mask{1, 40, 40, std::vector<double>(1600, 1.0)};
  std::mt19937 generator(9);
  for (double& m : mask.pixels) m = generator() % 4 == 0 ? 0.0 : 1.0;
  bilevel::write_image(file("clean.npy"), clean);
  bilevel::write_image(file("mask.png"), mask);
  const Outcome o = run(on_device({"apply", "--model", file("run/model.json"), "--input", file("clean.npy"),
                                   "--output", file("filled.npy"), "--mask", file("mask.png")}));
  ASSERT_EQ(o.code, 0) << o.err;
  auto holes = clean;
  for (std::size_t k = 0; k < 1600; ++k) holes.pixels[k] *= mask.pixels[k];
  EXPECT_GT(bilevel::psnr(bilevel::read_image(file("filled.npy")).pixels, clean.pixels),
            bilevel::psnr(holes.pixels, clean.pixels) + 8);
}

TEST_F(Trained, EvaluateCountsLikeApply) {
  const auto test = photographs(*folder_, "test", 2, 40, 52, 77);
  bilevel::write_image(fs::path(test) / "photo3.png", photograph(33, 30, 80, 3));  // another size, colour
  const std::vector<std::string> arguments =
      on_device({"evaluate", "--model", file("run/model.json"), "--data", test, "--seed", "3"});
  const Outcome text = run(arguments);
  ASSERT_EQ(text.code, 0) << text.err;
  const auto lines = lines_of(text.out);
  ASSERT_EQ(lines.size(), 6u) << text.out;
  EXPECT_EQ(lines[1].size(), lines[4].size());
  EXPECT_TRUE(lines[1].starts_with("photo1.png  52x40")) << lines[1];
  EXPECT_TRUE(lines[4].starts_with("mean"));
  EXPECT_NE(lines[5].find("deviation 0.1"), std::string::npos) << lines[5];
  auto more = arguments;
  more.push_back("--json");
  const Json json = Json::parse(run(more).out);
  ASSERT_EQ(json["images"].size(), 3u);
  double psnr = 0;
  for (const Json& image : json["images"]) {
    EXPECT_NEAR(image["psnr_noisy"].get<double>(), 20, 0.6);
    EXPECT_GT(image["psnr"], image["psnr_noisy"]);
    EXPECT_GT(image["ssim"], image["ssim_noisy"]);
    EXPECT_LE(image["certified_rms"], 1e-3);
    psnr += image["psnr"].get<double>() / 3;
  }
  EXPECT_NEAR(json["mean"]["psnr"].get<double>(), psnr, 1e-9);
  EXPECT_EQ(json["sigma"], 0.1);
}

TEST_F(Trained, EvaluateTakesGivenNoisyImages) {
  const auto clean = photographs(*folder_, "pairs", 2, 36, 36, 5);
  fs::create_directories(file("pairs-noisy"));
  for (const char* name : {"photo1.png", "photo2.png"}) {
    auto image = bilevel::read_image(fs::path(clean) / name);
    for (std::size_t k = 0; k < image.pixels.size(); ++k) image.pixels[k] += k % 2 ? 0.05 : -0.05;
    bilevel::write_image((fs::path(file("pairs-noisy")) / name).replace_extension(".npy"), image);
  }
  const Outcome o = run(on_device({"evaluate", "--model", file("run/model.json"), "--data", clean, "--noisy",
                                   file("pairs-noisy"), "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json json = Json::parse(o.out);
  EXPECT_NEAR(json["images"][0]["psnr_noisy"].get<double>(), -20 * std::log10(0.05), 1e-6);
  EXPECT_TRUE(json["sigma"].is_null());
}

TEST_F(Trained, CheckPassesOnUsersData) {
  const Outcome o = run(on_device({"check", "--model", file("run/model.json"), "--data", data_, "--json"}));
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  const Json json = Json::parse(o.out);
  EXPECT_EQ(json["failed"], 0);
  EXPECT_GE(json["checks"].size(), 11u);
  for (const char* type : {"tv", "tv-aniso"}) {
    const Outcome text =
        run(on_device({"check", "--model-type", type, "--data", data_, "--crop", "24", "--potential",
                       "huber_c2", "--learn", "alpha,nu,xi", "--xi-inside-alpha"}));
    EXPECT_EQ(text.code, 0) << text.out << text.err;
    EXPECT_EQ(text.out.find("FAIL"), std::string::npos);
    EXPECT_NE(text.out.find("PASS"), std::string::npos);
  }
}

TEST_F(Trained, OptionsComeFromAFileAndTheCommandLineWins) {
  const std::string named = bilevel::testing_support::test_device("");
  const std::string device = named.empty() ? "device=cpu\nthreads=1\n" : "device=" + named + "\n";
  put_file(file("options.ini"),
           "# a run\nmodel = tv\nimages = "
           "2\ncrop=24\nmax-iterations=1\nsigma=0.2\nlearn=alpha\nquiet=true\n" +
               device);
  const Outcome o = run({"train", "--data", data_, "--out", file("configured"), "--config",
                         file("options.ini"), "--sigma", "0.15"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "");
  const auto model = bilevel::read_model(file("configured/model.json"));
  EXPECT_TRUE(std::get<bilevel::TvOptions>(model.options.parts.at(0)).isotropic);
  EXPECT_EQ(model.data.images, 2);
  EXPECT_EQ(model.data.height, 24);
  EXPECT_EQ(model.value("nu"), 0.01);
  for (const auto& [name, value] : model.training) {
    if (name == "sigma") {
      EXPECT_EQ(bilevel::option_text(value), "0.15");
    }
  }
  EXPECT_EQ(Json::parse(get_file(file("configured/summary.json")))["iterations"], 1);
}

TEST_F(Trained, JsonOfATrainingRunIsItsSummary) {
  const Outcome o =
      run(training(data_, file("json"), {"--json", "--algorithm", "fixed", "--precision", "float"}));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Json::parse(o.out), Json::parse(get_file(file("json/summary.json"))));
}

TEST_F(Trained, LimitsEndARunWell) {
  const Outcome budget = run(training(data_, file("budget"), {"--budget", "1000", "--json"}));
  EXPECT_EQ(budget.code, 0) << budget.err;
  EXPECT_EQ(Json::parse(budget.out)["status"], "budget");
  const Outcome time = run(training(data_, file("time"), {"--time-limit", "1e-6", "--json"}));
  EXPECT_EQ(time.code, 0) << time.err;
  EXPECT_EQ(Json::parse(time.out)["status"], "time_limit");
}

TEST_F(Trained, EveryAlgorithmOptionRuns) {
  int k = 0;
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
           {"--scaling", "none"},
           {"--precision", "mixed"},
           {"--model", "tv2"},
           {"--model", "tv2", "--precision", "mixed", "--potential", "huber_c2"},
           {"--model", "h1", "--solver", "pdhg"},
           {"--model", "tikhonov", "--precision", "mixed"},
           {"--algorithm", "lbfgsb"},
           {"--algorithm", "hoag", "--schedule", "cubic"},
           {"--algorithm", "hoag", "--compat", "hoag", "--precision", "float"},
           {"--algorithm", "inexact-gradient", "--errors", "exponential:100:0.1", "--step0", "0.1"},
           {"--algorithm", "unrolled", "--unrolled-steps", "10", "--unrolled-step", "0.01",
            "--unrolled-memory", "checkpoints"},
           {"--algorithm", "unrolled", "--unrolled-method", "heavy-ball", "--hypergradient", "inexact-ad",
            "--precision", "float"},
           {"--algorithm", "dfo", "--max-evaluations", "5"},
           {"--algorithm", "dfo", "--max-evaluations", "4", "--accuracies", "fixed"},
           {"--algorithm", "inexact-gradient", "--errors", "100,50", "--bound", "corrected", "--delta-up",
            "2"},
           {"--algorithm", "isgd", "--batch", "1", "--step-rule", "adam", "--check-gradient"},
           {"--algorithm", "isgd", "--batch", "3", "--model", "foe", "--filters", "2", "--filter-size", "3"},
           {"--algorithm", "isgd", "--batch", "1", "--blur", "gaussian:1", "--step-rule", "adagrad"},
           {"--algorithm", "stochastic-maid", "--batch", "1", "--model", "tgv2", "--check-every", "0"},
           {"--algorithm", "stochastic-maid", "--batch", "3", "--precision", "float", "--step0", "1"},
           {"--solver", "fista"},
           {"--solver", "pdhg"},
           {"--solver", "lbfgs", "--linear-solver", "cg"},
           {"--learn", "alpha,nu,xi", "--potential", "huber_c2", "--xi-inside-alpha", "--condition-penalty",
            "1e-8"},
           {"--init", "alpha=0.1", "--init", "nu=0.05", "--epsilon0", "0.5", "--delta0", "0.5", "--rho",
            "0.4"}}) {
    std::vector<std::string> arguments = training(data_, file("algorithm" + std::to_string(k++)), more);
    if (bilevel::testing_support::on_cuda())
      *std::next(std::find(arguments.begin(), arguments.end(), "--max-iterations")) = "1";
    const Outcome o = run(arguments);
    EXPECT_EQ(o.code, 0) << more[0] << " " << more[1] << ": " << o.err;
  }
}

/// Two epochs of three steps: the last line and the summary are of all images, which the model fits better
/// than the first.
TEST_F(Trained, MinibatchesEndWithACheckOfAllImages) {
  for (const std::string algorithm : {"isgd", "stochastic-maid"}) {
    SCOPED_TRACE(algorithm);
    const Outcome o = run(on_device_or_one_thread(
        {"train",  "--data",     data_,   "--out",       file(algorithm), "--images",
         "3",      "--crop",     "32",    "--algorithm", algorithm,       "--batch",
         "1",      "--epochs",   "2",     "--step0",     "0.5",           "--check-gradient",
         "--init", "alpha=0.02", "--json"}));
    ASSERT_EQ(o.code, 0) << o.err;
    const Json s = Json::parse(o.out);
    EXPECT_EQ(s["status"], "max_iterations");
    EXPECT_EQ(s["iterations"], 6);
    EXPECT_GT(s["training"]["psnr"].get<double>(), s["training"]["psnr_noisy"].get<double>() + 3);
    std::vector<std::string> statuses;
    std::vector<double> whole;
    for (const std::string& line : lines_of(get_file(file(algorithm + "/log.jsonl")))) {
      const Json r = Json::parse(line);
      statuses.push_back(r["status"]);
      if (r["status"] != "minibatch") whole.push_back(r["loss"]);
      EXPECT_LE(r["loss_lower"], r["loss"]);
      EXPECT_LE(r["loss"], r["loss_upper"]);
      EXPECT_TRUE(r["error_bound"].is_number());
    }
    EXPECT_EQ(statuses, (std::vector<std::string>{"whole", "minibatch", "minibatch", "minibatch", "whole",
                                                  "minibatch", "minibatch", "minibatch", "max_iterations"}));
    ASSERT_EQ(whole.size(), 3u);
    EXPECT_LT(whole[2], whole[0]);
    EXPECT_EQ(s["loss"], whole[2]);
    EXPECT_TRUE(fs::exists(file(algorithm + "/convergence.svg")));
  }
}

TEST_F(Trained, TrainFillsInWhatAMaskHides) {
  bilevel::HostImage mask{1, 32, 32, std::vector<double>(1024, 1.0)};
  std::mt19937 generator(9);
  for (double& m : mask.pixels) m = generator() % 5 == 0 ? 0.0 : 1.0;
  bilevel::write_image(file("train-mask.png"), mask);
  const Outcome o = run(training(data_, file("masked"), {"--mask", file("train-mask.png"), "--json"}));
  EXPECT_EQ(o.code, 0) << o.err;
  const Json s = Json::parse(o.out);
  EXPECT_GT(s["training"]["psnr"].get<double>(), s["training"]["psnr_noisy"].get<double>() + 3);
}

}  // namespace
}  // namespace bilevel_test
