#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

/// A run that takes some tenths of a second, its data, and its undisturbed result.
class Resume : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 4, 72, 72);
    const auto start = std::chrono::steady_clock::now();
    reference_ = run(arguments("reference"));
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> arguments(const std::string& out,
                                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> a = on_device_or_one_thread(
        {"train", "--data", data_, "--out", file(out), "--images", "4", "--crop", "64", "--max-iterations",
         "12", "--tolerance", "1e-9", "--scaling", "none", "--seed", "7"});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }

  /// The log without the times, which may differ.
  static std::string log(const std::string& out) {
    std::string text;
    for (const std::string& line : lines_of(get_file(file(out + "/log.jsonl")))) {
      Json json = Json::parse(line);
      json.erase("seconds");
      text += json.dump() + "\n";
    }
    return text;
  }
  static Json summary(const std::string& out) {
    Json json = Json::parse(get_file(file(out + "/summary.json")));
    for (const char* key : {"seconds", "peak_memory_bytes", "resumed_from"}) json.erase(key);
    return json;
  }
  static void expect_like_reference(const std::string& out) {
    EXPECT_EQ(get_file(file(out + "/model.json")), get_file(file("reference/model.json")));
    EXPECT_EQ(log(out), log("reference"));
    EXPECT_EQ(summary(out), summary("reference"));
    const auto names = tree(file(out));
    EXPECT_EQ(names, tree(file("reference")));
    for (const std::string& name : names) {
      if (name.ends_with(".png") || name.ends_with(".bin") || name.ends_with(".svg")) {
        EXPECT_EQ(get_file(file(out + "/" + name)), get_file(file("reference/" + name))) << name;
      }
    }
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome reference_;
  static double seconds_;
};
TemporaryFolder* Resume::folder_ = nullptr;
std::string Resume::data_;
Outcome Resume::reference_;
double Resume::seconds_ = 0;

TEST_F(Resume, AKilledRunGivesTheSameBits) {
  ASSERT_EQ(reference_.code, 0) << reference_.err;
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << ", undisturbed run " << seconds_ << " s\n";
  std::mt19937 generator(seed);
  int kills = 0;
  for (int trial = 0; trial < bilevel::testing_support::repetitions(4); ++trial) {
    SCOPED_TRACE(trial);
    const std::string out = "killed" + std::to_string(trial);
    for (int attempt = 0;; ++attempt) {
      ASSERT_LT(attempt, 40);
      const bool exists = fs::exists(file(out));
      Process process(
          arguments(out, exists ? std::vector<std::string>{"--resume"} : std::vector<std::string>{}));
      const double wait =
          attempt < 5 ? seconds_ * std::uniform_real_distribution<double>(0, 0.7)(generator) : 1e9;
      const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait);
      while (process.running() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::microseconds(300));
      if (process.running()) {
        process.signal(SIGKILL);
        ++kills;
      }
      const Outcome o = process.wait();
      if (o.code == 1000 + SIGKILL) continue;
      ASSERT_EQ(o.code, 0) << o.err;
      break;
    }
    expect_like_reference(out);
  }
  EXPECT_GT(kills, 0);
}

/// Runs cut short by a limit and taken up again with a larger one.
TEST_F(Resume, EveryCheckpointIsAPlaceToGoOnFrom) {
  ASSERT_EQ(reference_.code, 0);
  for (int limit = 1; limit <= 11; limit += 5) {
    const std::string out = "limited" + std::to_string(limit);
    auto short_run = arguments(out);
    for (std::size_t k = 0; k < short_run.size(); ++k)
      if (short_run[k] == "--max-iterations") short_run[k + 1] = std::to_string(limit);
    ASSERT_EQ(run(short_run).code, 0);
    const Outcome o = run(arguments(out, {"--resume"}));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(Json::parse(get_file(file(out + "/summary.json")))["resumed_from"], limit);
    expect_like_reference(out);
  }
}

TEST_F(Resume, EveryMethodGoesOnWithTheSameBits) {
  for (const std::vector<std::string>& method :
       {std::vector<std::string>{"lbfgsb"},
        {"hoag"},
        {"hoag", "--compat", "hoag"},
        {"dfo"},
        {"unrolled", "--unrolled-steps", "20"},
        {"unrolled", "--hypergradient", "inexact-ad", "--update", "gradient", "--unrolled-steps", "20"},
        {"isgd", "--batch", "1", "--step-rule", "adam", "--step0", "0.1"},  // in the middle of an epoch
        {"stochastic-maid", "--batch", "2", "--check-gradient"},
        {"inexact-gradient", "--errors", "constant:50", "--step0", "0.1"}}) {
    std::vector<std::string> models;
    for (const char* limit : {"5", "2"}) {
      const std::string out = method[0] + std::to_string(method.size()) + "-" + limit;
      std::vector<std::string> all = arguments(out, {"--algorithm"});
      all.insert(all.end(), method.begin(), method.end());
      const auto at = std::next(std::find(all.begin(), all.end(), "--max-iterations"));
      *at = limit;
      Outcome o = run(all);
      ASSERT_EQ(o.code, 0) << o.err;
      *at = "5";
      all.push_back("--resume");
      if (std::string(limit) == "2") o = run(all);
      ASSERT_EQ(o.code, 0) << o.err;
      models.push_back(get_file(file(out + "/model.json")) + log(out));
    }
    EXPECT_EQ(models[0], models[1]) << method[0];
  }
}

/// Killed once an epoch is saved, wherever it is then.
TEST_F(Resume, AKilledRunOfMinibatchesGivesTheSameBits) {
  const auto arguments_of = [](const std::string& out) {
    return on_device_or_one_thread({"train", "--data", data_, "--out", file(out), "--images", "4", "--crop",
                                    "64", "--algorithm", "isgd", "--batch", "2", "--epochs",
                                    bilevel::testing_support::on_cuda() ? "6" : "30", "--check-every", "3"});
  };
  ASSERT_EQ(run(arguments_of("batches")).code, 0);
  std::vector<std::string> all = arguments_of("batches-killed");
  {
    const auto saved = [] {
      std::error_code none;
      for (const fs::directory_entry& e : fs::directory_iterator(file("batches-killed/checkpoint"), none))
        if (e.path().filename() >= "000004") return true;
      return false;
    };
    Process process(all);
    while (process.running() && !saved()) std::this_thread::sleep_for(std::chrono::microseconds(300));
    process.signal(SIGKILL);
    ASSERT_EQ(process.wait().code, 1000 + SIGKILL);
  }
  all.push_back("--resume");
  const Outcome o = run(all);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(file("batches-killed/model.json")), get_file(file("batches/model.json")));
  EXPECT_EQ(log("batches-killed"), log("batches"));
}

TEST_F(Resume, AFinishedRunStaysAsItIs) {
  fs::copy(file("reference"), file("finished"), fs::copy_options::recursive);
  put_file(file("finished/.model.json.1-2.tmp"), "left by a killed run");
  put_file(file("finished/images/.clean_2.png.1-2.tmp"), "left by a killed run");
  ASSERT_EQ(run(arguments("finished", {"--resume"})).code, 0);
  expect_like_reference("finished");
}

TEST_F(Resume, ADamagedCheckpointFallsBackToTheOneBefore) {
  fs::copy(file("reference"), file("damaged"), fs::copy_options::recursive);
  put_file(file("damaged/checkpoint/000012/x.bin"), "damaged");
  const Outcome o = run(arguments("damaged", {"--resume"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("000011"), std::string::npos) << o.err;
  expect_like_reference("damaged");
  put_file(file("damaged/checkpoint/000012/x.bin"), "damaged");
  put_file(file("damaged/checkpoint/000011/state.json"), "{");
  const Outcome none = run(arguments("damaged", {"--resume"}));
  EXPECT_EQ(none.code, 3);
  expect_one_sentence(none);
}

TEST_F(Resume, OtherOptionsOrDataAreRefused) {
  const auto refused = [&](const std::vector<std::string>& more, const char* part) {
    auto a = arguments("reference", {"--resume"});
    for (std::size_t k = 0; k + 1 < more.size(); k += 2) {
      const auto found = std::find(a.begin(), a.end(), more[k]);
      if (found != a.end()) {
        *(found + 1) = more[k + 1];
      } else {
        a.insert(a.end(), {more[k], more[k + 1]});
      }
    }
    const Outcome o = run(a);
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  const std::string before = get_file(file("reference/log.jsonl"));
  refused({"--sigma", "0.2"}, "--sigma was 0.1, not 0.2");
  refused({"--learn", "alpha"}, "--learn was alpha,nu, not alpha");
  refused({"--init", "nu=0.02"}, "--init nu was 0.01, not 0.02");
  refused({"--seed", "8"}, "--seed was 7, not 8");
  refused({"--tolerance", "1e-3"}, "--tolerance was");
  refused({"--data", photographs(*folder_, "other", 4, 72, 72, 50)}, "the data of --data");
  EXPECT_EQ(get_file(file("reference/log.jsonl")), before);
}

TEST_F(Resume, ARunIsNotOverwritten) {
  const Outcome o = run(arguments("reference"));
  EXPECT_EQ(o.code, 2);
  expect_one_sentence(o);
  EXPECT_NE(o.err.find("--resume"), std::string::npos);
}

TEST_F(Resume, NothingToResumeIsSaid) {
  const Outcome missing = run(arguments("missing", {"--resume"}));
  EXPECT_EQ(missing.code, 2);
  expect_one_sentence(missing);
  EXPECT_FALSE(fs::exists(file("missing")));
  fs::create_directories(file("empty"));
  const Outcome empty = run(arguments("empty", {"--resume"}));
  EXPECT_EQ(empty.code, 0) << empty.err;
  EXPECT_NE(empty.err.find("begins at the start"), std::string::npos) << empty.err;
  expect_like_reference("empty");
}

TEST_F(Resume, SignalsLeaveACheckpoint) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string out = "signal" + std::to_string(signal);
    auto a = arguments(out);
    for (std::size_t k = 0; k < a.size(); ++k)
      if (a[k] == "--max-iterations") a[k + 1] = "100000";
    Process process(a);
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(std::max(60.0, 10 * seconds_));
    while (!fs::exists(file(out + "/checkpoint/000003")) && process.running() &&
           std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    process.signal(signal);
    const Outcome o = process.wait();
    EXPECT_EQ(o.code, 130) << o.err;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find("--resume"), std::string::npos) << o.err;
    EXPECT_EQ(Json::parse(get_file(file(out + "/summary.json")))["status"], "interrupted");
    EXPECT_NO_THROW(bilevel::read_model(file(out + "/model.json")));
    const Outcome resumed = run(arguments(out, {"--resume"}));
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    if (Json::parse(get_file(file(out + "/summary.json")))["iterations"] == 12) expect_like_reference(out);
  }
}

TEST_F(Resume, AnEarlySignalMayComeBeforeTheFirstIteration) {
  Process process(arguments("early"));
  while (!fs::exists(file("early/log.jsonl")) && process.running())
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  process.signal(SIGINT);
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 130) << o.err;
  expect_one_sentence(o);
  const Outcome resumed = run(arguments("early", {"--resume"}));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  expect_like_reference("early");
}

}  // namespace
}  // namespace bilevel_test
