// What --resume finds in a folder: a run of another command, or a result without checkpoints, is never
// replaced.

#include "apps/common/earlier_run.hpp"

#include <map>
#include <set>

#include "apps/common/run_folder.hpp"
#include "apps/mri/staged_run.hpp"
#include "tests/apps/denoise_in_process.hpp"
#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

/// Options of a run that is to be resumed are called what the user gives, files and data by what names them.
TEST(EarlierRunOptions, AreNamedAsTheyAreGiven) {
  const TemporaryFolder folder;
  const auto refusal = [&](const Json& before, const std::vector<bilevel::NamedOption>& now,
                           const char* file = "checkpoint/000001/state.json") {
    fs::remove_all(folder / "run");
    const fs::path path = folder / ("run/" + std::string(file));
    fs::create_directories(path.parent_path());
    put_file(path, Json{{"identity", before}}.dump());
    try {
      bilevel_app::require_same_options(folder / "run", folder / "run/checkpoint", now);
    } catch (const bilevel::ConfigError& error) {
      const std::string text = error.what(), begin = "cannot be resumed: ";
      const std::size_t at = text.find(begin) + begin.size();
      return text.substr(at, text.find("; resume with the same") - at);
    }
    return std::string();
  };
  EXPECT_EQ(refusal({{"sigma", "0.1"}, {"start", "12"}}, {{"sigma", 0.1}}), "");
  EXPECT_EQ(refusal({{"sigma", "0.1"}}, {{"sigma", 0.2}}), "--sigma was 0.1, not 0.2");
  EXPECT_EQ(refusal({{"sigma", "0.1"}}, {{"sigma", 0.2}}, "checkpoint/result.json"),
            "--sigma was 0.1, not 0.2");
  EXPECT_EQ(refusal({{"init alpha", "0.05"}}, {{"init alpha", 0.1}}), "--init alpha was 0.05, not 0.1");
  EXPECT_EQ(refusal({{"levels", "3"}}, {{"levels", std::int64_t{2}}}), "--levels was 3, not 2");
  EXPECT_EQ(refusal({{"weight0", "0.02"}}, {{"weight0", 0.1}}), "--weight (alpha0) was 0.02, not 0.1");
  EXPECT_EQ(refusal({{"2.weight", "0.02"}}, {{"2.weight", 0.1}}), "--weight (2.alpha) was 0.02, not 0.1");
  EXPECT_EQ(refusal({{"exchange", "true"}}, {{"exchange", false}}), "--exchange was on, not off");
  EXPECT_EQ(refusal({{"noisy given", "false"}}, {{"noisy given", true}}),
            "--noisy was not given, and is now");
  EXPECT_EQ(refusal({{"crop-to", "10"}, {"xi", "1"}}, {{"xi", std::int64_t{1}}}),
            "--crop-to was 10, and is not given now");
  EXPECT_EQ(refusal({{"xi", "1"}}, {{"xi", std::int64_t{1}}, {"crop-to", std::string("10")}}),
            "--crop-to was not given, and is 10 now");
  EXPECT_EQ(refusal({{"experts", "a1"}}, {{"experts", std::string("b2")}}),
            "the model of --experts is another now");
  EXPECT_EQ(refusal({{"data (fingerprint)", "a1"}}, {{"data (fingerprint)", std::string("b2")}}),
            "the data of --data and of the options on it is another now");
}

/// One finished run of each command, copied by the tests.
class EarlierRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    photos_ = photographs(*folder_, "photos", 1, 16, 16);
    head_ = head_file(*folder_, "head.npy", 1, 12);
    for (const std::string& command : commands()) finished_.push_back(start(command, file(command)).code);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::vector<std::string> commands() { return {"train", "learn", "baseline"}; }
  static std::string file(const std::string& name) { return *folder_ / name; }
  static Outcome start(const std::string& command, const std::string& out,
                       const std::vector<std::string>& more = {}) {
    std::vector<std::string> a{command, "--out", out, "--tolerance", "1e-9"};
    a.insert(a.end(), more.begin(), more.end());
    const auto add = [&](std::vector<std::string> rest) { a.insert(a.end(), rest.begin(), rest.end()); };
    if (std::count(more.begin(), more.end(), "--max-iterations") == 0) add({"--max-iterations", "2"});
    if (command == "train") {
      add({"--data", photos_, "--images", "1", "--crop", "16"});
      return denoise_here(a);
    }
    add({"--data", head_});
    if (command == "learn") add({"--penalty", "1e-4", "--no-exchange"});
    return mri_here(a);
  }
  static std::string copy(const std::string& command, const std::string& name) {
    fs::copy(file(command), file(name), fs::copy_options::recursive);
    return file(name);
  }
  static std::map<std::string, std::string> contents(const std::string& run) {
    std::map<std::string, std::string> all;
    for (const std::string& name : tree(run))
      all[name] = fs::is_directory(fs::path(run) / name) ? "" : get_file(fs::path(run) / name);
    return all;
  }
  /// The command is refused, names what it found, and leaves the folder as it was.
  static void expect_refused(const std::string& command, const std::string& run, const std::string& found,
                             const std::vector<std::string>& more = {}) {
    SCOPED_TRACE(command + " in " + run);
    const auto before = contents(run);
    std::vector<std::string> arguments{"--resume"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome o = start(command, run, arguments);
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o, command == "train" ? "bilevel-denoise" : "bilevel-mri");
    EXPECT_NE(o.err.find(found), std::string::npos) << o.err;
    EXPECT_TRUE(contents(run) == before);
  }
  static std::string full(const std::string& command) {
    return (command == "train" ? "bilevel-denoise " : "bilevel-mri ") + command;
  }

  static TemporaryFolder* folder_;
  static std::string photos_, head_;
  static std::vector<int> finished_;
};
TemporaryFolder* EarlierRun::folder_ = nullptr;
std::string EarlierRun::photos_, EarlierRun::head_;
std::vector<int> EarlierRun::finished_;

TEST_F(EarlierRun, OfAnotherCommandIsRefused) {
  ASSERT_EQ(finished_, (std::vector<int>{0, 0, 0}));
  for (const std::string& made : commands())
    for (const std::string& command : commands()) {
      if (made == command) continue;
      expect_refused(command, file(made), full(made));
    }
}

/// Each of the three kinds of files tells the command by itself.
TEST_F(EarlierRun, IsToldByEachFile) {
  for (const std::string& made : commands())
    for (const std::string kept : {"model.json", "summary.json", "checkpoint"}) {
      const std::string run = copy(made, made + "-" + kept);
      for (const std::string name : {"model.json", "summary.json", "checkpoint"})
        if (name != kept) fs::remove_all(fs::path(run) / name);
      EXPECT_EQ(bilevel_app::command_of_run(run), full(made)) << kept;
      expect_refused(made == "train" ? "baseline" : "train", run, full(made));
    }
  EXPECT_EQ(bilevel_app::command_of_run(file("photos")), "");
}

TEST_F(EarlierRun, WithoutItsCheckpointsIsRefused) {
  for (const std::string& command : commands()) {
    for (const std::string kept : {"", "model.json", "summary.json"}) {
      const std::string run = copy(command, command + "-unsaved" + kept);
      fs::remove_all(run + "/checkpoint");
      for (const std::string name : {"model.json", "summary.json"})
        if (!kept.empty() && name != kept) fs::remove(fs::path(run) / name);
      expect_refused(command, run, "no checkpoint");
    }
    const std::string damaged = copy(command, command + "-damaged");
    fs::remove_all(damaged + "/checkpoint");
    for (const char* name : {"/model.json", "/summary.json"}) put_file(damaged + name, "{");
    expect_refused(command, damaged, "no checkpoint");
  }
}

TEST_F(EarlierRun, FinishedOnesGoOn) {
  for (const std::string& command : commands()) {
    const std::string run = copy(command, command + "-again");
    const std::string model = get_file(run + "/model.json");
    const Outcome o = start(command, run, {"--resume"});
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(get_file(run + "/model.json"), model);
  }
}

/// Interrupted, failed or out of time before its first iteration: there is nothing to lose.
TEST_F(EarlierRun, CutBeforeItsFirstIterationBeginsAnew) {
  for (const std::string& command : commands())
    for (const std::string status : {"interrupted", "failed", "time_limit", "budget"}) {
      const std::string run = copy(command, command + "-" + status);
      fs::remove_all(run + "/checkpoint");
      Json summary = Json::parse(get_file(run + "/summary.json"));
      summary["status"] = status;
      put_file(run + "/summary.json", summary.dump());
      expect_refused(command, run, "no checkpoint");  // it had iterations
      summary["iterations"] = 0;
      put_file(run + "/summary.json", summary.dump());
      const Outcome o = start(command, run, {"--resume"});
      EXPECT_EQ(o.code, 0) << o.err;
      EXPECT_NE(o.err.find("no iteration was saved yet"), std::string::npos) << o.err;
      EXPECT_EQ(get_file(run + "/model.json"), get_file(file(command) + "/model.json"));
    }
}

/// Stages that the other run does not come to are its result too: a baseline that begins with another stage.
TEST_F(EarlierRun, KilledWithOtherOptionsKeepsItsStages) {
  const std::string run = copy("baseline", "killed");
  for (const char* name : {"/model.json", "/summary.json"}) fs::remove(run + name);
  expect_refused("baseline", run, "--pattern was vds, not greedy",
                 {"--pattern", "greedy", "--groups", "rows"});
}

TEST_F(EarlierRun, OnlyStagesAreForgotten) {
  std::set<std::string> names;
  for (const char* command : {"learn", "baseline"})
    for (const auto& entry : fs::directory_iterator(file(command) + "/checkpoint"))
      names.insert(entry.path().filename());
  for (const std::string& name : names) EXPECT_TRUE(bilevel_app::mri::is_stage_name(name)) << name;
  EXPECT_TRUE(bilevel_app::mri::is_stage_name("exchange-12"));
  for (const char* name : {"", "000002", "pattern-", "pattern-x", "weights", "mine", "my-1"})
    EXPECT_FALSE(bilevel_app::mri::is_stage_name(name)) << name;

  const std::string run = copy("learn", "with-mine");
  fs::create_directories(run + "/checkpoint/mine");
  put_file(run + "/checkpoint/mine/notes.txt", "kept");
  fs::create_directories(run + "/checkpoint/exchange-7");
  const Outcome o = start("learn", run, {"--resume", "--max-iterations", "3"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(get_file(run + "/checkpoint/mine/notes.txt"), "kept");
  EXPECT_FALSE(fs::exists(run + "/checkpoint/exchange-7"));
}

}  // namespace
}  // namespace bilevel_test
