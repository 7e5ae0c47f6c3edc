// Runs of bilevel-mri that were killed, cut short by a limit or interrupted go on with the same bits.

#include <iomanip>

#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

class MriResume : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 4, 24);
    const auto start = std::chrono::steady_clock::now();
    reference_ = mri(arguments("reference"));
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more = {},
                                            const char* iterations = "15") {
    auto a = on_device_or_one_thread({"learn", "--data", data_, "--rate", "0.4", "--rate-runs", "3",
                                      "--max-iterations", iterations, "--seed", "5", "--out", file(out)});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  /// A file without what may differ: times (L-BFGS-B keeps its own in library.bin), and whether the run was
  /// resumed.
  static std::string lasting(const std::string& name) {
    const std::string bytes = get_file(file(name));
    if (name.ends_with("library.bin")) return std::to_string(bytes.size());
    if (!name.ends_with(".json") && !name.ends_with(".jsonl")) return bytes;
    std::string text;
    for (const std::string& line :
         name.ends_with(".jsonl") ? lines_of(bytes) : std::vector<std::string>{bytes}) {
      Json json = Json::parse(line);
      for (const char* key : {"seconds", "selection_seconds", "peak_memory_bytes", "resumed", "checksum"})
        json.erase(key);
      if (json.contains("arrays")) json["arrays"].erase("library");
      if (json.contains("stages"))
        for (Json& stage : json["stages"]) stage.erase("seconds");
      text += json.dump() + "\n";
    }
    return text;
  }
  static void expect_same(const std::string& out, const std::string& reference = "reference") {
    const auto names = tree(file(reference));
    EXPECT_EQ(tree(file(out)), names);
    for (const std::string& name : names)
      if (!fs::is_directory(file(reference + "/" + name)) && fs::exists(file(out + "/" + name))) {
        EXPECT_TRUE(lasting(out + "/" + name) == lasting(reference + "/" + name)) << name;
      }
  }
  /// Starts a run, kills it as soon as `path` exists, and finishes it.
  static void kill_at(const std::string& out, const std::string& path,
                      const std::vector<std::string>& command, const std::vector<std::string>& resume) {
    Process process(command, {}, BILEVEL_MRI_PATH);
    while (!fs::exists(file(out + "/" + path)) && process.running())
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    process.signal(SIGKILL);
    EXPECT_EQ(process.wait().code, 1000 + SIGKILL) << path << ": the run ended before it could be killed";
    const Outcome o = mri(resume);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(summary_of(file(out))["resumed"], true);
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome reference_;
  static double seconds_;
};
TemporaryFolder* MriResume::folder_ = nullptr;
std::string MriResume::data_;
Outcome MriResume::reference_;
double MriResume::seconds_ = 0;

TEST_F(MriResume, KilledInEveryStage) {
  ASSERT_EQ(reference_.code, 0) << reference_.err;
  std::vector<std::string> names, places{"checkpoint/weight/result.json"};
  const Json summary = summary_of(file("reference"));
  for (const Json& stage : summary["stages"]) {
    names.push_back(stage["stage"]);
    const int middle = std::max(1, stage["iterations"].get<int>() / 2);
    std::ostringstream place;
    place << "checkpoint/" << names.back() << "/" << std::setfill('0') << std::setw(6) << middle;
    places.push_back(place.str());
  }
  for (const char* name : {"weight", "pattern-1", "pattern-2", "exchange", "binary"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  for (std::size_t k = 0; k < places.size(); ++k) {
    SCOPED_TRACE(places[k]);
    const std::string out = "place" + std::to_string(k);
    kill_at(out, places[k], arguments(out), arguments(out, {"--resume"}));
    expect_same(out);
  }
}

TEST_F(MriResume, KilledAtRandomMoments) {
  ASSERT_EQ(reference_.code, 0);
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << ", undisturbed run " << seconds_ << " s\n";
  std::mt19937 generator(seed);
  for (int trial = 0; trial < bilevel::testing_support::repetitions(3); ++trial) {
    const std::string out = "random" + std::to_string(trial);
    for (int attempt = 0;; ++attempt) {
      ASSERT_LT(attempt, 20);
      Process process(arguments(out, fs::exists(file(out)) ? std::vector<std::string>{"--resume"}
                                                           : std::vector<std::string>{}),
                      {}, BILEVEL_MRI_PATH);
      const double wait =
          attempt < 4 ? seconds_ * std::uniform_real_distribution<double>(0, 0.8)(generator) : 1e9;
      const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait);
      while (process.running() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::microseconds(300));
      if (process.running()) process.signal(SIGKILL);
      const Outcome o = process.wait();
      if (o.code == 1000 + SIGKILL) continue;
      ASSERT_EQ(o.code, 0) << o.err;
      break;
    }
    expect_same(out);
  }
}

TEST_F(MriResume, AFinishedRunStaysAsItIs) {
  fs::copy(file("reference"), file("finished"), fs::copy_options::recursive);
  ASSERT_EQ(mri(arguments("finished", {"--resume"})).code, 0);
  expect_same("finished");
}

TEST_F(MriResume, ARaisedLimitGoesOn) {
  auto fixed = [&](const std::string& out, const char* iterations,
                   const std::vector<std::string>& more = {}) {
    auto a = on_device_or_one_thread(
        {"learn", "--data", data_, "--penalty", "4e-3", "--max-iterations", iterations, "--out", file(out)});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  ASSERT_EQ(mri(fixed("whole", "12")).code, 0);
  ASSERT_EQ(mri(fixed("raised", "5")).code, 0);
  const Outcome o = mri(fixed("raised", "12", {"--resume"}));
  ASSERT_EQ(o.code, 0) << o.err;
  expect_same("raised", "whole");
}

/// A budget that is taken away, or raised, lets the stage that it ended go on; the same or a smaller one does
/// not.
TEST_F(MriResume, ALimitThatIsRemovedGoesOn) {
  const auto learn = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> a{"learn",   "--data",    data_,    "--slices",         "0:2", "--size",
                               "12",      "--penalty", "4e-3",   "--max-iterations", "8",   "--no-exchange",
                               "--quiet", "--out",     file(out)};
    a.insert(a.end(), more.begin(), more.end());
    const Outcome o = mri_here(a);
    EXPECT_EQ(o.code, 0) << o.err;
    return summary_of(file(out));
  };
  const Json whole = learn("unlimited", {});
  ASSERT_EQ(whole["stages"][1]["stage"], "pattern");
  const auto spent = [](const Json& summary, int stage) {
    return summary["stages"][static_cast<std::size_t>(stage)]["operators"].get<std::uint64_t>();
  };
  // What is spent before the pattern counts.
  const std::string budget = std::to_string(spent(whole, 0) + spent(whole, 1) / 2);
  const Json cut = learn("limited", {"--budget", budget});
  EXPECT_EQ(cut["stages"][1]["status"], "budget");
  EXPECT_LT(spent(cut, 1), spent(whole, 1));
  const Json same = learn("limited", {"--budget", budget, "--resume"});
  EXPECT_EQ(same["stages"][1]["iterations"], cut["stages"][1]["iterations"]);
  const Json resumed = learn("limited", {"--resume"});
  EXPECT_EQ(resumed["stages"][1]["status"], whole["stages"][1]["status"]);
  expect_same("limited", "unlimited");
}

TEST_F(MriResume, GreedySelectionGoesOn) {
  const auto greedy = [&](const std::string& out, const std::vector<std::string>& more = {}) {
    auto a = on_device_or_one_thread(
        {"baseline", "--pattern", "greedy", "--rate", "0.3", "--data", data_, "--out", file(out)});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  ASSERT_EQ(mri(greedy("greedy")).code, 0);
  kill_at("cut", "checkpoint/selection.json", greedy("cut"), greedy("cut", {"--resume"}));
  expect_same("cut", "greedy");
}

TEST_F(MriResume, SignalsEndWithACheckpoint) {
  const std::string out = "signal";
  Process process(arguments(out, {}, "100000"), {}, BILEVEL_MRI_PATH);
  while (!fs::exists(file(out + "/checkpoint/pattern-1/000003")) && process.running())
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  process.signal(SIGINT);
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 130) << o.err;
  expect_one_sentence(o, "bilevel-mri");
  EXPECT_NE(o.err.find("--resume"), std::string::npos);
  EXPECT_EQ(summary_of(file(out))["status"], "interrupted");
  EXPECT_FALSE(fs::exists(file(out + "/model.json")));
  const Outcome resumed = mri(arguments(out, {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(fs::exists(file(out + "/model.json")));
}

TEST_F(MriResume, OtherOptionsOrDataAreRefused) {
  const auto refused = [&](const std::vector<std::string>& more, const char* part) {
    const Outcome o = mri(arguments("reference", more));
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o, "bilevel-mri");
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  const std::string before = get_file(file("reference/log.jsonl"));
  refused({}, "--resume");
  refused({"--resume", "--sigma", "0.1"}, "--sigma was 0.02, not 0.1");
  refused({"--resume", "--pattern", "lines"}, "--pattern was free, not lines");
  refused({"--resume", "--slices", "0:2"}, "the data of --data");
  EXPECT_EQ(get_file(file("reference/log.jsonl")), before);
  const Outcome missing = mri(arguments("missing", {"--resume"}));
  EXPECT_EQ(missing.code, 2);
  EXPECT_FALSE(fs::exists(file("missing")));
}

}  // namespace
}  // namespace bilevel_test
