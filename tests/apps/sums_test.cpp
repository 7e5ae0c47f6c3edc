#include "bilevel/io/array_file.hpp"
#include "bilevel/model/catalogue.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/affine_pieces.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

/// Short training runs of sums of regularisers.
class Sums : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 3, 40, 36);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  /// Of a name without filters; foe has three of 3 x 3.
  static std::vector<std::string> arguments(const std::string& out, const std::string& model,
                                            const std::vector<std::string>& more = {},
                                            const char* iterations = "4") {
    std::vector<std::string> a = on_device_or_one_thread(
        {"train", "--data", data_, "--out", file(out), "--images", "3", "--crop", "32", "--model", model,
         "--tolerance", "1e-9", "--max-iterations", iterations});
    if (model.find("foe") != std::string::npos) a.insert(a.end(), {"--filters", "3", "--filter-size", "3"});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static Json summary(const std::string& out) { return Json::parse(get_file(file(out + "/summary.json"))); }
  static void expect_denoises(const std::string& out) {
    const std::string result = file(out + ".png");
    const Outcome o = run(on_device({"apply", "--json", "--model", file(out + "/model.json"), "--input",
                                     data_ + "/photo1.png", "--output", result, "--tolerance", "1e-4"}));
    ASSERT_EQ(o.code, 0) << o.err;
    const Json image = Json::parse(o.out)["images"][0];
    EXPECT_EQ(image["status"], "converged");
    EXPECT_GT(image["certified_rms"], 0);
    EXPECT_LE(image["certified_rms"], 1e-4);
    EXPECT_TRUE(fs::exists(result));
  }

  static TemporaryFolder* folder_;
  static std::string data_;
};
TemporaryFolder* Sums::folder_ = nullptr;
std::string Sums::data_;

/// Second differences beside a total variation that is too weak, and with all of both learned.
TEST_F(Sums, LearnsBelowItsFirstPart) {
  const auto learn = [](const std::string& out, const std::string& model,
                        const std::vector<std::string>& more = {}) {
    const Outcome o = run(arguments(out, model, more, "12"));
    EXPECT_EQ(o.code, 0) << o.err;
    return summary(out);
  };
  const Json first = learn("first", "tv", {"--learn", "nu", "--init", "alpha=0.03"});
  const Json second = learn("second", "tv+tv2", {"--learn", "nu,2.alpha", "--init", "alpha=0.03"});
  EXPECT_EQ(second["model"], "tv+tv2");
  EXPECT_EQ(second["theta"]["alpha"], 0.03);
  EXPECT_NE(second["theta"]["2.alpha"], 0.02);
  EXPECT_EQ(second["theta"]["2.nu"], 0.01);
  EXPECT_LT(second["loss_upper"], first["loss_lower"]);
  const Json all = learn("all", "tv+tv2");
  EXPECT_LT(all["loss_upper"], second["loss_upper"]);
  expect_denoises("all");
}

TEST_F(Sums, EveryKindTrainsAppliesEvaluatesAndChecks) {
  const std::vector<std::vector<std::string>> kinds{
      {"tv2+tv", "--potential", "huber_c2", "--xi-inside-alpha"},
      {"tv+foe", "--learn", "alpha,nu,2.weight,2.filters", "--init", "2.nu=0.02"},
      {"foe+h1", "--learn", "weight,2.alpha", "--precision", "mixed"},
      {"wavelet", "--wavelet", "haar", "--levels", "2", "--learn", "alpha,xi"},
      {"tv+wavelet", "--levels", "2", "--precision", "mixed", "--potential", "huber_c2"},
      {"tgv2", "--learn", "alpha1,alpha0"},
      {"tgv2", "--precision", "mixed", "--potential", "huber_c2", "--init", "xi_v=0.01", "--mask", ""},
      {"tv-aniso+tv2+tikhonov", "--mask", "", "--learn", "alpha,2.alpha,3.alpha"}};
  const std::string mask = file("mask.png");
  bilevel::HostImage measured = photograph(32, 32, 5);
  for (std::size_t p = 0; p < measured.pixels.size(); ++p) measured.pixels[p] = p % 7 == 3 ? 0 : 1;
  bilevel::write_image(mask, measured);
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    SCOPED_TRACE(kinds[k][0]);
    const std::string out = "kind" + std::to_string(k);
    std::vector<std::string> more(kinds[k].begin() + 1, kinds[k].end());
    for (std::string& option : more)
      if (option.empty()) option = mask;
    const Outcome o = run(arguments(out, kinds[k][0], more));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.err, "");
    const std::string model = file(out + "/model.json");
    EXPECT_EQ(bilevel::model_type(bilevel::read_model(model).options), kinds[k][0]);
    EXPECT_EQ(fs::exists(file(out + "/images/filters.png")), kinds[k][0].find("foe") != std::string::npos);
    expect_denoises(out);
    const Outcome e =
        run(on_device({"evaluate", "--json", "--model", model, "--data", data_, "--images", "1"}));
    ASSERT_EQ(e.code, 0) << e.err;
    EXPECT_EQ(Json::parse(e.out)["type"], kinds[k][0]);
    const Outcome c = run(on_device({"check", "--model", model, "--data", data_, "--crop", "16"}));
    EXPECT_EQ(c.code, 0) << c.out << c.err;
    for (const auto& s : bilevel::read_model(model).parameters)
      if (s.shape.empty() && s.name != "mu") {
        EXPECT_NE(c.out.find("hypergradient of " + s.name + " against"), std::string::npos) << c.out;
      }
  }
}

/// Both weights of total generalised variation, learned, on an image of affine pieces with jumps between
/// them.
TEST_F(Sums, GeneralisedVariationIsBetterOnAffinePieces) {
  const bilevel::HostImage image{1, 64, 64, affine_pieces()};
  fs::create_directories(file("affine"));
  bilevel::write_image(file("affine/affine.png"), image);
  const auto psnr = [](const std::string& model) {
    const Outcome o =
        run(on_device_or_one_thread({"train", "--data", file("affine"), "--images", "1", "--crop", "64",
                                     "--model", model, "--out", file("affine-" + model)}));
    EXPECT_EQ(o.code, 0) << o.err;
    return summary("affine-" + model)["training"]["psnr"].get<double>();
  };
  EXPECT_GT(psnr("tgv2"), psnr("tv") + 0.5);
}

/// Directional total variation with the clean image as its reference, on crops of the same places.
TEST_F(Sums, DirectionalVariationFollowsTheEdgesOfItsReference) {
  const std::string photo = photographs(*folder_, "reference", 1, 70, 66) + "/photo1.png",
                    other = photographs(*folder_, "other", 1, 70, 66, 9) + "/photo1.png";
  const auto learn = [&](const std::string& out, const std::string& model,
                         std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"train", "--data", photo, "--images", "4", "--crop", "32", "--model", model,
                               "--out", file(out)});
    return run(on_device_or_one_thread(more));
  };
  const auto psnr = [](const Outcome& o, const std::string& out) {
    EXPECT_EQ(o.code, 0) << o.err;
    return summary(out)["training"]["psnr"].get<double>();
  };
  const double tv = psnr(learn("plain", "tv"), "plain"),
               dtv = psnr(learn("edges", "dtv", {"--reference", photo, "--edge-eta", "0.02"}), "edges");
  EXPECT_GT(dtv, tv + 2);
  const std::string model = file("edges/model.json");
  EXPECT_EQ(std::get<bilevel::DirectionalTv>(bilevel::read_model(model).options.parts[0]).eta, 0.02);
  const std::vector<std::vector<std::string>> uses{
      {"apply", "--input", photo, "--output", file("edges.png"), "--precision", "mixed"},
      {"evaluate", "--data", photo, "--crop", "40"},
      {"check", "--data", photo, "--crop", "16"}};
  for (std::vector<std::string> use : uses) {
    SCOPED_TRACE(use[0]);
    use.insert(use.end(), {"--model", model});
    const Outcome without = run(on_device(use));
    EXPECT_EQ(without.code, 2);
    expect_one_sentence(without);
    EXPECT_NE(without.err.find("dtv needs --reference IMAGE"), std::string::npos) << without.err;
    use.insert(use.end(), {"--reference", photo});
    const Outcome o = run(on_device(use));
    EXPECT_EQ(o.code, 0) << o.out << o.err;
  }
  std::string text = get_file(model);
  text.replace(text.find("\"eta\": 0.02"), 11, "\"eta\": -0.2");
  put_file(file("damaged.json"), text);
  const Outcome damaged = run(on_device({"apply", "--model", file("damaged.json"), "--reference", photo,
                                         "--input", photo, "--output", file("damaged.png")}));
  EXPECT_EQ(damaged.code, 3);
  expect_one_sentence(damaged);
  EXPECT_NE(damaged.err.find("key 'eta' is not a positive number"), std::string::npos) << damaged.err;
  const auto run_sum = [&](const std::string& out, const std::string& reference, const char* iterations,
                           std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"--reference", reference, "--precision", "mixed", "--max-iterations", iterations});
    return learn(out, "dtv+h1", more);
  };
  ASSERT_EQ(run_sum("whole-dtv", photo, "4").code, 0);
  ASSERT_EQ(run_sum("cut-dtv", photo, "2").code, 0);
  const Outcome changed = run_sum("cut-dtv", other, "4", {"--resume"});
  EXPECT_EQ(changed.code, 2);
  EXPECT_NE(changed.err.find("the data of --data"), std::string::npos) << changed.err;
  ASSERT_EQ(run_sum("cut-dtv", photo, "4", {"--resume"}).code, 0);
  EXPECT_EQ(get_file(file("cut-dtv/model.json")), get_file(file("whole-dtv/model.json")));
  std::vector<double> bright(70 * 66, 0.5);
  bright[3] = 200;
  bilevel::write_npy(file("bright.npy"), std::vector<std::size_t>{70, 66}, std::span<const double>(bright));
  for (const std::string& wrong :
       {data_ + "/photo1.png", data_, file("edges/model.json"), file("missing.png"), file("bright.npy")}) {
    const Outcome o = learn("refused", "dtv", {"--reference", wrong});
    EXPECT_EQ(o.code, 3) << wrong;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find(wrong), std::string::npos) << o.err;
    EXPECT_FALSE(fs::exists(file("refused")));
  }
}

TEST_F(Sums, CheckTakesTheNameOfAnUntrainedSum) {
  const Outcome o = run(on_device(
      {"check", "--model-type", "tv+h1", "--data", data_, "--crop", "16", "--init", "2.alpha=0.2"}));
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  EXPECT_NE(o.out.find("mixed derivative of 2.alpha"), std::string::npos) << o.out;
}

TEST_F(Sums, AResumedRunGivesTheSameBits) {
  for (const std::string model : {"tv+h1", "tv+foe", "tgv2"}) {
    SCOPED_TRACE(model);
    const std::string whole = "whole-" + model, cut = "cut-" + model;
    ASSERT_EQ(run(arguments(whole, model, {}, "6")).code, 0);
    ASSERT_EQ(run(arguments(cut, model, {}, "2")).code, 0);
    const Outcome o = run(arguments(cut, model, {"--resume"}, "6"));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(summary(cut)["resumed_from"], 2);
    EXPECT_EQ(get_file(file(cut + "/model.json")), get_file(file(whole + "/model.json")));
    EXPECT_EQ(get_file(file(cut + "/checkpoint/000006/x.bin")),
              get_file(file(whole + "/checkpoint/000006/x.bin")));
    const Outcome other = run(arguments(cut, model == "tv+h1" ? "h1+tv" : "foe+tv", {"--resume"}));
    EXPECT_EQ(other.code, 2);
    EXPECT_NE(other.err.find("model"), std::string::npos) << other.err;
  }
}

TEST_F(Sums, TakesTheLevelsOfWaveletsThatCropsAllow) {
  std::vector<std::string> a = arguments("fewer", "wavelet", {}, "1");
  std::replace(a.begin(), a.end(), std::string("32"), std::string("28"));
  const Outcome o = run(a);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("28 x 28 pixels allow 2 levels of wavelets instead of 3"), std::string::npos) << o.err;
  const auto model = bilevel::read_model(file("fewer/model.json"));
  EXPECT_EQ(std::get<bilevel::WaveletSparsity>(model.options.parts[0]).wavelet.levels, 2);
  std::replace(a.begin(), a.end(), std::string("28"), std::string("27"));
  const Outcome odd = run(a);
  EXPECT_EQ(odd.code, 2);
  expect_one_sentence(odd);
  EXPECT_NE(odd.err.find("27 x 27 pixels have an odd one; use an even --crop"), std::string::npos) << odd.err;
}

TEST_F(Sums, WhatDoesNotFitIsRefused) {
  const auto refused = [](const std::string& model, const std::vector<std::string>& more,
                          const std::vector<std::string>& parts) {
    const Outcome o = run(arguments("refused", model, more));
    EXPECT_EQ(o.code, 2) << model;
    expect_one_sentence(o);
    for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    EXPECT_FALSE(fs::exists(file("refused")));
  };
  refused("tv+", {}, {"'tv+'", "lacks a name", "written with +"});
  refused("tv+lasso", {}, {"'lasso'", "tv-aniso", "foe", "written with +"});
  refused("foe+tv+foe", {}, {"foe twice", "more filters"});
  refused("tv+tv2+tv+tv2+tv", {}, {"more than four"});
  refused("tv+h1", {"--padding", "valid"}, {"--padding", "foe"});
  refused("h1+tikhonov", {"--potential", "huber_c2"}, {"--potential", "h1+tikhonov"});
  refused("foe+tv", {"--xi-inside-alpha"}, {"--xi-inside-alpha", "foe+tv"});
  refused("tv+h1", {"--init", "2.nu=0.1"}, {"--init 2.nu", "alpha, nu, xi and 2.alpha"});
  refused("tv+tv2", {"--init", "2.alpha=1e9"}, {"--init 2.alpha=1e9", "between"});
  refused("tv+foe", {"--learn", "2.alpha"}, {"--learn 2.alpha", "2.weight"});
  refused("tv+h1", {"--learn", "2.xi"}, {"--learn 2.xi", "2.alpha"});
  refused("tv+h1", {"--solver", "pdhg"}, {"--solver pdhg", "one part"});
  refused("tv+h1", {"--condition-penalty", "1"}, {"--condition-penalty", "tv+h1"});
  refused("wavelet", {"--wavelet", "db3"}, {"db3", "haar"});
  refused("wavelet", {"--levels", "6"}, {"--levels 6", "32 x 32", "multiples of 64", "--crop"});
  refused("wavelet", {"--levels", "0"}, {"--levels 0", "1 level"});
  refused("tv", {"--levels", "2"}, {"--levels", "wavelet", "not of tv"});
  refused("wavelet", {"--xi-inside-alpha"}, {"--xi-inside-alpha", "not of wavelet"});
  refused("wavelet", {"--solver", "pdhg"}, {"--solver pdhg", "one part"});
  refused("wavelet", {"--condition-penalty", "1"}, {"--condition-penalty", "wavelet"});
  refused("dtv", {}, {"dtv needs --reference IMAGE"});
  refused("tv", {"--reference", data_ + "/photo1.png"}, {"--reference", "dtv, not for tv"});
  refused("tv", {"--edge-eta", "0.1"}, {"--edge-eta", "dtv, not of tv"});
  refused("dtv", {"--reference", data_ + "/photo1.png", "--edge-eta", "0"}, {"--edge-eta 0"});
  refused("tgv2+h1", {}, {"tgv2+h1", "tgv2 stands alone"});
  refused("tgv2", {"--learn", "alpha"}, {"--learn alpha", "alpha1, alpha0, nu, xi and xi_v"});
  refused("tgv2", {"--xi-inside-alpha"}, {"--xi-inside-alpha", "not of tgv2"});
  refused("tgv2", {"--solver", "pdhg"}, {"--solver pdhg", "one part"});
  refused("tgv2", {"--condition-penalty", "1"}, {"--condition-penalty", "tgv2"});
}

}  // namespace
}  // namespace bilevel_test
