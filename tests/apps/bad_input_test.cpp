#include <limits>

#include "bilevel/io/array_file.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/model/scoped_environment.hpp"

namespace bilevel_test {
namespace {

/// Good data and a good model; what is wrong is added by each test. Nothing may be left of a failed command.
class BadInput : public testing::Test {
 protected:
  void SetUp() override {
    data_ = photographs(folder_, "photos", 3, 40, 44);
    bilevel::DenoiseModel model;
    model.parameters = bilevel::tv_parameters().segments();
    model.training = {{"sigma", 0.1}};
    bilevel::write_model(file("model.json"), model);
  }
  std::string file(const std::string& name) const { return folder_ / name; }

  /// The command fails with `code` and one sentence that contains every part; the folder's tree is as before.
  Outcome refused(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& parts,
                  const std::function<void()>& prepare = {}) {
    const auto before = tree(folder_.path());
    Outcome o = run(arguments, prepare);
    std::string shown;
    for (const std::string& a : arguments) shown += a + " ";
    SCOPED_TRACE(shown);
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_EQ(o.out, "");
    expect_one_sentence(o);
    for (const std::string& part : parts)
      EXPECT_NE(o.err.find(part), std::string::npos) << part << " in " << o.err;
    EXPECT_EQ(tree(folder_.path()), before);
    return o;
  }
  std::vector<std::string> train(const std::vector<std::string>& more) const {
    return training(data_, file("run"), more);
  }
  std::vector<std::string> train_on(const std::string& data,
                                    const std::vector<std::string>& more = {}) const {
    return training(data, file("run"), more);
  }
  std::vector<std::string> apply_to(const std::string& input) const {
    return {"apply", "--model", file("model.json"), "--input", input, "--output", file("result.png")};
  }
  /// A folder with one file.
  std::string folder_with(const std::string& name, const std::string& bytes) {
    fs::create_directories(file("bad"));
    put_file(file("bad/" + name), bytes);
    return file("bad");
  }

  TemporaryFolder folder_;
  std::string data_;
};

TEST_F(BadInput, CommandsAndOptions) {
  refused({}, 2, {"train, apply, evaluate or check"});
  refused({"frobnicate"}, 2, {"frobnicate", "--help"});
  refused({"train"}, 2, {"--data", "--help"});
  refused({"train", "--data", data_}, 2, {"--out"});
  refused({"apply"}, 2, {"--model"});
  refused({"apply", "--model", file("model.json")}, 2, {"--input"});
  refused({"evaluate", "--data", data_}, 2, {"--model"});
  refused({"check"}, 2, {"--data"});
  refused(train({"--frobnicate"}), 2, {"--frobnicate"});
  refused(train({"--filters", "0"}), 2, {"--filters"});
  refused(train({"stray"}), 2, {});
  refused(train({"--sigma"}), 2, {"--sigma"});
}

TEST_F(BadInput, OptionValues) {
  refused(train({"--sigma", "-1"}), 2, {"--sigma -1"});
  refused(train({"--sigma", "nan"}), 2, {"--sigma"});
  refused(train({"--sigma", "inf"}), 2, {"--sigma"});
  refused(train({"--sigma", "much"}), 2, {"--sigma", "much"});
  refused({"train", "--data", data_, "--out", file("run"), "--crop", "0"}, 2, {"--crop 0"});
  refused({"train", "--data", data_, "--out", file("run"), "--crop", "-5"}, 2, {"--crop -5"});
  refused({"train", "--data", data_, "--out", file("run"), "--images", "0"}, 2, {"--images 0"});
  refused({"train", "--data", data_, "--out", file("run"), "--max-iterations", "0"}, 2,
          {"--max-iterations 0"});
  refused(train({"--model", "fields"}), 2, {"fields", "tv", "tv-aniso", "tv2", "h1", "tikhonov", "foe"});
  refused(train({"--model", "h1", "--potential", "huber_c2"}), 2, {"--potential", "h1", "quadratic"});
  refused(train({"--model", "tikhonov", "--learn", "alpha,nu"}), 2, {"--learn nu", "alpha and xi"});
  refused(train({"--model", "h1", "--init", "nu=0.1"}), 2, {"--init nu", "alpha and xi"});
  refused(train({"--potential", "huber"}), 2, {"huber", "charbonnier"});
  refused(train({"--learn", "beta"}), 2, {"--learn beta", "alpha"});
  refused(train({"--init", "alpha"}), 2, {"--init alpha", "NAME=VALUE"});
  refused(train({"--init", "alpha=x"}), 2, {"--init alpha=x"});
  refused(train({"--init", "alpha=-1"}), 2, {"--init alpha=-1", "between"});
  refused(train({"--init", "beta=1"}), 2, {"beta"});
  refused(train({"--algorithm", "adam"}), 2, {"--algorithm adam", "maid", "lbfgsb", "hoag"});
  refused(train({"--schedule", "cubic"}), 2, {"--schedule", "--algorithm hoag", "maid"});
  refused(train({"--compat", "hoag"}), 2, {"--compat", "--algorithm hoag", "maid"});
  refused(train({"--algorithm", "lbfgsb", "--non-monotone", "0.5"}), 2, {"--non-monotone", "lbfgsb"});
  refused(train({"--errors", "constant:1"}), 2, {"--errors", "--algorithm inexact-gradient", "maid"});
  const auto inexact = [&](const char* option, const char* value, const std::vector<std::string>& parts) {
    refused(train({"--algorithm", "inexact-gradient", option, value}), 2, parts);
  };
  inexact("--errors", "linear:1", {"--errors linear", "harmonic"});
  inexact("--errors", "harmonic:x", {"--errors harmonic:x", "number"});
  inexact("--errors", "harmonic:1:2", {"--errors harmonic:1:2", "exponential:E:RATE"});
  inexact("--errors", "constant:-1", {"error0"});
  inexact("--errors", "1,0", {"list"});
  inexact("--bound", "printed", {"--bound printed", "corrected"});
  inexact("--epsilon-down", "1", {"epsilon-down"});
  inexact("--delta-up", "0.5", {"delta-up"});
  refused(train({"--radius0", "0.2"}), 2, {"--radius0", "--algorithm dfo", "maid"});
  refused(train({"--algorithm", "dfo", "--radius0", "0"}), 2, {"radius0"});
  refused(train({"--algorithm", "dfo", "--accuracies", "exact"}), 2, {"--accuracies exact", "dynamic"});
  refused(train({"--algorithm", "dfo", "--max-evaluations", "-1"}), 2, {"max-evaluations"});
  refused(train({"--algorithm", "dfo", "--model", "foe"}), 2, {"dfo", "500", "maid"});
  refused(train({"--hypergradient", "reverse"}), 2, {"--hypergradient", "--algorithm unrolled", "maid"});
  refused(train({"--unrolled-steps", "5"}), 2, {"--unrolled-steps", "--algorithm unrolled", "maid"});
  refused(train({"--update", "adam"}), 2, {"--update", "--algorithm unrolled", "maid"});
  const auto unrolled = [&](const char* option, const char* value, const std::vector<std::string>& parts) {
    refused(train({"--algorithm", "unrolled", option, value}), 2, parts);
  };
  unrolled("--hypergradient", "ift", {"--hypergradient ift", "reverse", "inexact-ad"});
  unrolled("--unrolled-steps", "0", {"--unrolled-steps 0", "at least 1"});
  unrolled("--unrolled-step", "0", {"--unrolled-step 0", "positive"});
  unrolled("--unrolled-method", "fista", {"--unrolled-method fista", "heavy-ball"});
  unrolled("--unrolled-memory", "none", {"--unrolled-memory none", "checkpoints"});
  unrolled("--update", "sgd", {"--update sgd", "adam"});
  refused(train({"--algorithm", "hoag", "--schedule", "linear"}), 2, {"--schedule linear", "geometric"});
  refused(train({"--algorithm", "hoag", "--compat", "maid"}), 2, {"--compat maid", "hoag"});
  const auto batches = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    std::vector<std::string> all{"--algorithm", "isgd", "--batch", "1"};
    all.insert(all.end(), more.begin(), more.end());
    refused(train(all), 2, parts);
  };
  refused(train({"--batch", "1"}), 2, {"--batch", "isgd and stochastic-maid", "maid"});
  refused(train({"--check-gradient"}), 2, {"--check-gradient", "isgd and stochastic-maid", "maid"});
  refused(train({"--step-rule", "adam"}), 2, {"--step-rule", "--algorithm isgd", "maid"});
  refused(train({"--algorithm", "stochastic-maid"}), 2, {"stochastic-maid", "--batch N"});
  refused(train({"--algorithm", "stochastic-maid", "--batch", "1", "--accuracy-decay", "1"}), 2,
          {"--accuracy-decay", "isgd", "stochastic-maid"});
  refused(train({"--algorithm", "isgd", "--batch", "2"}), 2, {"--batch 2", "--images 3", "divisor"});
  refused(train({"--algorithm", "isgd", "--batch", "0"}), 2, {"--batch 0", "divisor"});
  refused({"train", "--data", data_, "--out", file("run"), "--images", "2", "--algorithm", "isgd", "--batch",
           "1", "--epochs", "0"},
          2, {"--epochs 0", "at least 1"});
  batches({"--epochs", "2"}, {"--epochs", "--max-iterations"});
  batches({"--step-rule", "newton"}, {"--step-rule newton", "adagrad"});
  batches({"--step-decay", "-1"}, {"step-decay"});
  batches({"--accuracy-decay", "inf"}, {"accuracy-decay"});
  batches({"--check-every", "-1"}, {"check-every"});
  batches({"--min-progress", "0.1"}, {"--min-progress", "isgd"});
  batches({"--precision", "mixed"}, {"--precision mixed", "isgd", "float"});
  batches({"--model", "dtv", "--reference", file("reference.png")}, {"isgd", "reference"});
  refused(train({"--scaling", "newton"}), 2, {"--scaling newton"});
  refused(train({"--solver", "magic"}), 2, {"--solver magic", "fista"});
  refused(train({"--linear-solver", "magic"}), 2, {"--linear-solver magic", "pcg"});
  refused(train({"--precision", "half"}), 2, {"half"});
  refused(train({"--min-progress", "1.5"}), 2, {"min-progress"});
  refused(train({"--rho", "2"}), 2, {"rho"});
  refused(train({"--rho-up", "0.5"}), 2, {"rho-up"});
  refused(train({"--nu", "1"}), 2, {"nu"});
  refused(train({"--nu-up", "0"}), 2, {"nu-up"});
  refused(train({"--eta", "1.5"}), 2, {"eta"});
  refused(train({"--lambda", "0.9"}), 2, {"lambda"});
  refused(train({"--epsilon0", "0"}), 2, {"epsilon0"});
  refused(train({"--delta0", "-1"}), 2, {"delta0"});
  refused(train({"--step0", "0"}), 2, {"step0"});
  refused(train({"--max-backtracks", "0"}), 2, {"max-backtracks"});
  refused(train({"--non-monotone", "1"}), 2, {"non-monotone"});
  refused(train({"--time-limit", "-1"}), 2, {"--time-limit"});
  refused(train({"--budget", "-1"}), 2, {"--budget"});
  refused(train({"--seed", "-1"}), 2, {"--seed"});
  refused(train({"--condition-penalty", "-1"}), 2, {"--condition-penalty"});
  refused({"train", "--data", data_, "--out", file("run"), "--tolerance", "0"}, 2, {"--tolerance"});
  refused({"train", "--data", data_, "--out", file("run"), "--threads", "-2"}, 2, {"--threads"});
  refused(train({"--quiet", "--verbose"}), 2, {"--quiet", "--verbose"});
  refused(train({"--noisy", data_, "--sigma", "0.1"}), 2, {"--sigma", "--noisy"});
  refused({"apply", "--model", file("model.json"), "--input", data_, "--output", file("x"), "--bits", "12"},
          2, {"--bits 12"});
  refused(
      {"apply", "--model", file("model.json"), "--input", data_, "--output", file("x"), "--tolerance", "0"},
      2, {"--tolerance"});
  refused({"check", "--data", data_, "--precision", "float"}, 2, {"float", "double"});
  refused({"check", "--data", data_, "--model", file("model.json"), "--model-type", "tv"}, 2,
          {"--model-type"});
}

TEST_F(BadInput, FieldsOfExperts) {
  const auto foe = [this](std::vector<std::string> more) {
    more.insert(more.begin(), {"--model", "foe"});
    return train(more);
  };
  refused(foe({"--solver", "pdhg"}), 2, {"--solver pdhg", "foe"});
  refused(foe({"--filters", "0"}), 2, {"--filters 0", "64"});
  refused(foe({"--filters", "65"}), 2, {"--filters 65", "64"});
  refused(foe({"--filters", "-3"}), 2, {"--filters -3"});
  refused(foe({"--filters", "many"}), 2, {"--filters", "many"});
  for (const char* size : {"4", "1", "13", "0", "-3"})
    refused(foe({"--filter-size", size}), 2, {std::string("--filter-size ") + size, "3, 5, 7, 9 or 11"});
  refused(foe({"--padding", "zero"}), 2, {"zero", "symmetric", "valid"});
  refused(foe({"--filter-init", "gabor"}), 2, {"--filter-init gabor", "dct"});
  refused(foe({"--potential", "student"}), 2, {"student", "charbonnier"});
  refused(foe({"--learn", "alpha"}), 2, {"--learn alpha", "smoothing"});
  refused(foe({"--learn", "mu"}), 2, {"--learn mu", "filters"});
  refused(foe({"--init", "xi=1"}), 2, {"--init xi", "mu"});
  refused(foe({"--init", "alpha=-1"}), 2, {"--init alpha=-1", "between"});
  refused(foe({"--init", "nu=0"}), 2, {"--init nu=0", "between"});
  refused(foe({"--init", "nu=nan"}), 2, {"--init nu=nan"});
  refused(foe({"--init", "mu=-1"}), 2, {"--init mu=-1", "between"});
  refused(foe({"--xi-inside-alpha"}), 2, {"--xi-inside-alpha", "tv"});
  refused(foe({"--condition-penalty", "1"}), 2, {"--condition-penalty", "tv"});
  const auto sized = [this](const char* crop, const char* size, const char* padding) {
    return std::vector<std::string>{"train",   "--data",    data_,    "--out", file("run"),
                                    "--model", "foe",       "--crop", crop,    "--filter-size",
                                    size,      "--padding", padding};
  };
  refused(sized("8", "9", "valid"), 2, {"--filter-size 9", "at least 9", "--crop 8"});
  refused(sized("4", "11", "symmetric"), 2, {"--filter-size 11", "at least 5", "--crop 4"});
  for (const std::vector<std::string>& other : std::vector<std::vector<std::string>>{{"--filters", "3"},
                                                                                     {"--filter-size", "3"},
                                                                                     {"--padding", "valid"},
                                                                                     {"--filter-init", "dct"},
                                                                                     {"--free-mean"}})
    for (const char* type : {"tv", "tv-aniso"}) {
      auto a = train({"--model", type});
      a.insert(a.end(), other.begin(), other.end());
      refused(a, 2, {other[0], "foe", type});
    }
  refused({"check", "--data", data_, "--model-type", "tv", "--filters", "3"}, 2, {"--filters", "foe"});
  refused({"check", "--data", data_, "--model-type", "foe", "--crop", "8", "--filter-size", "11", "--padding",
           "valid"},
          2, {"--filter-size 11", "--crop 8"});
  refused({"check", "--data", data_, "--model", file("model.json"), "--filters", "3"}, 2, {"--filters"});
}

TEST_F(BadInput, ModelsOfFieldsOfExperts) {
  bilevel::DenoiseModel model;
  model.options = bilevel::ExpertsOptions{bilevel::FilterPadding::valid};
  model.parameters = bilevel::experts_parameters(2, 9, bilevel::FilterInit::dct, 0.03, 0.05).segments();
  model.training = {{"sigma", 0.1}};
  bilevel::write_model(file("foe.json"), model);
  bilevel::write_image(file("small.png"), photograph(8, 40, 1));
  refused({"apply", "--model", file("foe.json"), "--input", file("small.png"), "--output", file("x.png")}, 3,
          {"small.png", "40 x 8", "9 x 9"});
  refused({"evaluate", "--model", file("foe.json"), "--data", file("small.png")}, 3,
          {"small.png", "40 x 8", "9 x 9"});
  refused({"check", "--model", file("foe.json"), "--data", data_, "--crop", "8"}, 3, {"foe.json", "8 x 8"});
}

TEST_F(BadInput, HeldOutImages) {
  refused(train({"--test-data", file("nowhere")}), 3, {"nowhere"});
  refused(train({"--test-data", data_, "--test-every", "0"}), 2, {"--test-every 0"});
  refused(train({"--test-data", data_, "--noisy", data_}), 2, {"--test-data", "--noisy"});
  refused(train({"--test-data", photographs(folder_, "small", 1, 20, 20)}), 3,
          {"photo1.png", "20 x 20", "--crop"});
}

TEST_F(BadInput, Devices) {
  refused({"train", "--data", data_, "--out", file("run"), "--device", "tpu"}, 2, {"tpu"});
  refused({"train", "--data", data_, "--out", file("run"), "--device", "cuda:77"}, 5, {"cuda:77"});
  refused({"train", "--data", data_, "--out", file("run"), "--device", "cpu:2", "--threads", "2"}, 2,
          {"--threads"});
}

TEST_F(BadInput, Folders) {
  fs::create_directories(file("empty"));
  refused(train_on(file("empty")), 3, {"empty"});
  refused(train_on(file("nowhere")), 3, {"nowhere"});
  refused(train_on(folder_with("notes.txt", "no image")), 3, {"bad"});
  refused({"evaluate", "--model", file("model.json"), "--data", file("empty")}, 3, {"empty"});
  refused({"check", "--data", file("empty")}, 3, {"empty"});
  refused({"apply", "--model", file("model.json"), "--input", file("empty"), "--output", file("x")}, 3,
          {"empty"});
}

TEST_F(BadInput, Images) {
  const std::string png = get_file(fs::path(data_) / "photo1.png");
  const auto everywhere = [&](const std::string& name, const std::string& bytes) {
    const std::string bad = folder_with(name, bytes);
    refused(train_on(bad), 3, {name});
    refused({"evaluate", "--model", file("model.json"), "--data", bad}, 3, {name});
    refused(apply_to(bad + "/" + name), 3, {name});
    refused({"check", "--data", bad}, 3, {name});
    fs::remove_all(bad);
  };
  everywhere("truncated.png", png.substr(0, png.size() / 2));
  everywhere("header.png", png.substr(0, 20));
  everywhere("empty.png", "");
  everywhere("text.png", "this is no image");
  everywhere("cut.pgm", "P5 64 64 255\nabc");
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    std::vector<double> values(1600, 0.5);
    values[77] = bad;
    fs::create_directories(file("bad"));
    const std::vector<std::size_t> shape{40, 40};
    bilevel::write_npy(file("bad/pixels.npy"), shape, std::span<const double>(values));
    everywhere("pixels.npy", get_file(file("bad/pixels.npy")));
  }
}

TEST_F(BadInput, Sizes) {
  refused({"train", "--data", data_, "--out", file("run"), "--images", "3", "--crop", "64"}, 3,
          {"photo1.png", "44 x 40", "64 x 64", "--crop"});
  refused({"train", "--data", data_, "--out", file("run"), "--images", "5", "--crop", "32"}, 2,
          {"--images 5", "--crop"});
  refused({"evaluate", "--model", file("model.json"), "--data", data_, "--crop", "50"}, 3,
          {"photo1.png", "--crop 50"});
  refused({"evaluate", "--model", file("model.json"), "--data", data_, "--images", "9"}, 2, {"--images 9"});
  const std::string fewer = photographs(folder_, "fewer", 2, 40, 44);
  refused(train({"--noisy", fewer}), 2, {"--noisy", "2", "3"});
  refused({"evaluate", "--model", file("model.json"), "--data", data_, "--noisy", fewer}, 2, {"--noisy"});
  const std::string other = photographs(folder_, "other", 3, 44, 44);
  refused(train({"--noisy", other}), 3, {"photo1.png", "44 x 44", "44 x 40"});
  bilevel::write_image(file("mask.png"), photograph(31, 32, 1));
  refused(train({"--mask", file("mask.png")}), 3, {"mask.png", "32 x 31", "32 x 32"});
  bilevel::HostImage zero{1, 32, 32, std::vector<double>(1024, 0.0)};
  bilevel::write_image(file("zero.png"), zero);
  refused(train({"--mask", file("zero.png")}), 3, {"zero.png"});
}

TEST_F(BadInput, Models) {
  const std::string text = get_file(file("model.json"));
  const std::string image = data_ + "/photo1.png";
  for (const auto& [name, bytes] :
       std::vector<std::pair<std::string, std::string>>{{"cut.json", text.substr(0, text.size() / 2)},
                                                        {"empty.json", ""},
                                                        {"other.json", "{}"},
                                                        {"image.json", get_file(image)}}) {
    put_file(file(name), bytes);
    refused({"apply", "--model", file(name), "--input", image, "--output", file("x.png")}, 3, {name});
    refused({"evaluate", "--model", file(name), "--data", data_}, 3, {name});
    refused({"check", "--model", file(name), "--data", data_}, 3, {name});
  }
  refused({"apply", "--model", file("none.json"), "--input", image, "--output", file("x.png")}, 3,
          {"none.json"});
}

TEST_F(BadInput, ConfigurationFiles) {
  refused(train({"--config", file("none.ini")}), 3, {"none.ini"});
  const auto with = [&](const std::string& text) {
    put_file(file("options.ini"), text);
    return std::vector<std::string>{"train",    "--data",           data_, "--out", file("run"),
                                    "--config", file("options.ini")};
  };
  refused(with("frobnicate = 3\n"), 2, {"options.ini", "frobnicate"});
  refused(with("sigma = much\n"), 2, {"options.ini", "sigma"});
  refused(with("sigma = -1\n"), 2, {"--sigma -1"});
  refused(with("[apply]\nluma = true\n"), 2, {"options.ini", "apply"});
  refused(with("config = other.ini\n"), 2, {"options.ini", "config"});
}

TEST_F(BadInput, OutputFolders) {
  put_file(file("occupied"), "a file");
  refused(training(data_, file("occupied")), 3, {"occupied"});
  refused(training(data_, file("occupied/run")), 3, {"occupied/run"});
  refused(training(data_, "/proc/bilevel-run"), 3, {"/proc/bilevel-run"});
  const std::string image = data_ + "/photo1.png";
  const auto apply = [&](const std::string& output, const std::vector<std::string>& inputs) {
    std::vector<std::string> a{"apply", "--model", file("model.json"), "--output", output, "--input"};
    a.insert(a.end(), inputs.begin(), inputs.end());
    return a;
  };
  refused(apply(file("occupied/x.png"), {image}), 3, {"x.png"});
  refused(apply(file("x.jpeg"), {image}), 3, {"x.jpeg"});
  refused(apply(file("x.png"), {image, data_ + "/photo2.png"}), 2, {"x.png", "2 inputs"});
  refused(apply(file("out"), {image, image}), 2, {"photo1.png"});
  refused(apply(image, {image}), 2, {"photo1.png"});
  refused(apply(data_, {image}), 2, {"photo1.png"});
  EXPECT_FALSE(fs::exists("/proc/bilevel-run"));
}

/// Files may grow to a limit only, as on a full disk: nothing half-written stays.
TEST_F(BadInput, FullDisk) {
  // On the CPU: the limit would hold for what the driver of another device writes, too.
  const bilevel::testing_support::ScopedEnvironment cpu("BILEVEL_TEST_DEVICE", "");
  const auto limit = [](rlim_t bytes) {
    return [bytes] {
      const rlimit limits{bytes, bytes};
      ::setrlimit(RLIMIT_FSIZE, &limits);
    };
  };
  refused(train({}), 3, {"run"}, limit(0));
  refused(train({}), 3, {"run"}, limit(100));   // the log
  refused(train({}), 3, {"run"}, limit(4096));  // the checkpoint
  std::vector<std::string> apply = apply_to(data_ + "/photo1.png");
  apply.insert(apply.end(), {"--device", "cpu"});
  refused(apply, 3, {"result.png"}, limit(100));
  const auto arguments = train({});
  // Later, what was saved stays whole, and the run can go on.
  const Outcome later =
      run(arguments, limit(74000));  // checkpoints fit (3 x 32 x 32 x 3 doubles), convergence.svg may
  if (later.code == 3) {
    expect_one_sentence(later);
    const Outcome again = run(train({"--resume"}));
    EXPECT_EQ(again.code, 0) << again.err;
  }
  const Outcome devfull =
      run({"evaluate", "--model", file("model.json"), "--data", data_, "--device", "cpu"}, [] {
        const int full = ::open("/dev/full", O_WRONLY);
        ::dup2(full, 1);
      });
  EXPECT_EQ(devfull.code, 3);
  expect_one_sentence(devfull);
}

/// A disk that fills up while a run is going on: exit code 3, whole checkpoints, and the run can go on.
TEST_F(BadInput, DiskFullLater) {
  // On the CPU: the limit would hold for what the driver of another device writes, too.
  const bilevel::testing_support::ScopedEnvironment cpu("BILEVEL_TEST_DEVICE", "");
  const Outcome o = run(train({}), [] {
    const rlimit limits{1500, 1500};  // the second line of the log does not fit; checkpoints do not either
    ::setrlimit(RLIMIT_FSIZE, &limits);
  });
  EXPECT_EQ(o.code, 3);
  expect_one_sentence(o);
  EXPECT_FALSE(fs::exists(file("run")));
}

}  // namespace
}  // namespace bilevel_test
