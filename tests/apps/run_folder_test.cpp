// The folder of a run: one process at a time, nothing lost in silence, no leftovers.

#include "apps/common/run_folder.hpp"

#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "apps/mri/options.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/observe/checkpoint.hpp"
#include "bilevel/observe/jsonl_log.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel_test {
namespace {

using bilevel::ConfigError;
using bilevel::IoError;
using bilevel::testing_support::message_of;
using bilevel_app::RunFolder;

TEST(RunFolderLock, IsHeldOnce) {
  const TemporaryFolder folder;
  {
    RunFolder first(folder / "run", false);
    first.keep();
    for (const bool resume : {false, true})
      EXPECT_NE(message_of<ConfigError>([&] {
                  RunFolder(folder / "run", resume);
                }).find("in use by another process"),
                std::string::npos);
    EXPECT_NO_THROW(RunFolder(folder / "other", false));
  }
  EXPECT_NO_THROW(RunFolder(folder / "run", true));
}

/// The refused process touches nothing of the first one, not even an empty folder.
TEST(RunFolderLock, TheRefusedLeavesEverything) {
  const TemporaryFolder folder;
  RunFolder first(folder / "run", false);
  put_file(folder / "run/.model.json.1-2.tmp", "being written");
  EXPECT_THROW(RunFolder(folder / "run", false), ConfigError);
  EXPECT_EQ(tree(folder / "run"), (std::vector<std::string>{".model.json.1-2.tmp"}));
  fs::remove(folder / "run/.model.json.1-2.tmp");
  EXPECT_THROW(RunFolder(folder / "run", false), ConfigError);
  EXPECT_TRUE(fs::is_directory(folder / "run"));
}

TEST(RunFolderLock, EndsWithAProcessThatIsKilled) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunFolder held(folder / "run", false);
    static_cast<void>(::write(ready[1], "x", 1));
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THROW(RunFolder(folder / "run", true), ConfigError);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(RunFolder(folder / "run", true));
  ::close(ready[0]), ::close(ready[1]);
}

TEST(RunFolderLock, HoldsForTheOtherProgramToo) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 1, 16, 16), out = folder / "run";
  const RunFolder held(out, false);
  const std::vector<const char*> arguments{"bilevel-mri", "baseline",  "--data", data.c_str(), "--out",
                                           out.c_str(),   "--pattern", "vds",    "--device",   "cpu"};
  std::ostringstream output, errors;
  const int code = bilevel_app::guarded("bilevel-mri", output, errors, [&] {
    return bilevel_app::mri::run(
        bilevel_app::mri::parse(static_cast<int>(arguments.size()), arguments.data()), output, errors);
  });
  EXPECT_EQ(code, 2);
  EXPECT_NE(errors.str().find("in use by another process"), std::string::npos) << errors.str();
}

TEST(RunFolderPresence, ARemovedRenamedOrReplacedFolderIsNoticed) {
  const TemporaryFolder folder;
  const auto gone = [](const RunFolder& run) {
    const std::string message = message_of<IoError>([&] { run.require_present(); });
    EXPECT_NE(message.find("removed, renamed or replaced"), std::string::npos) << message;
    EXPECT_THROW(bilevel_app::RunFolderWatch(run).iteration({}), IoError);
  };
  {
    const RunFolder run(folder / "removed", false);
    EXPECT_NO_THROW(run.require_present());
    fs::remove_all(folder / "removed");
    gone(run);
  }
  {
    const RunFolder run(folder / "renamed", false);
    fs::rename(folder / "renamed", folder / "elsewhere");
    gone(run);
  }
  EXPECT_TRUE(fs::is_directory(folder / "elsewhere"));
  {
    const RunFolder run(folder / "replaced", false);
    fs::remove_all(folder / "replaced");
    fs::create_directories(folder / "replaced");
    put_file(folder / "replaced/log.jsonl", "of another run");
    gone(run);
  }
  EXPECT_EQ(get_file(folder / "replaced/log.jsonl"), "of another run");
}

/// Neither the log nor the checkpoints go on into a folder that nobody sees, or make it anew.
TEST(RunFolderPresence, LogAndCheckpointsNoticeIt) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "run");
  bilevel::JsonlLog log(folder / "run/log.jsonl", bilevel::tv_parameters());
  bilevel::Checkpoint checkpoint(folder / "run/checkpoint", {});
  bilevel::IterationRecord record;
  record.theta = {0, 0};
  bilevel::UpperState state;
  state.iteration = 1;
  log.iteration(record);
  checkpoint.state(state);
  fs::remove_all(folder / "run");
  EXPECT_NE(message_of<IoError>([&] { log.iteration(record); }).find("was removed"), std::string::npos);
  EXPECT_NE(message_of<IoError>([&] { checkpoint.state(state); }).find("removed or renamed"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run"));
}

/// What was saved is remembered, not looked up: the rest of the run stays when its checkpoints are moved.
TEST(RunFolderPresence, MovedCheckpointsDeleteNothing) {
  const TemporaryFolder folder;
  for (const bool saved : {true, false}) {
    const fs::path path = folder / (saved ? "saved" : "unsaved");
    {
      RunFolder run(path, false);
      put_file(path / "log.jsonl", "{}");
      bilevel::Checkpoint checkpoint(path / "checkpoint", {});
      bilevel_app::RunFolderKeeper keeper(run);
      bilevel::ObserverList observers({&checkpoint, &keeper});
      bilevel::UpperState state;
      state.iteration = 1;
      if (saved) observers.state(state);
      fs::rename(path / "checkpoint", folder / (saved ? "moved" : "empty"));
    }
    EXPECT_EQ(tree(path), saved ? std::vector<std::string>{"log.jsonl"} : std::vector<std::string>{});
    EXPECT_EQ(fs::exists(path), saved);
  }
}

TEST(RunFolderPresence, LeftoversOfKilledRunsAreRemoved) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "run/images");
  fs::create_directories(folder / "run/checkpoint/weight/.000003.tmp");
  put_file(folder / "run/log.jsonl", "");
  const std::vector<std::string> left{".model.json.1-2.tmp", ".probe.0-0.tmp", "images/.mask.png.1-3.tmp",
                                      "checkpoint/.selection.json.1-4.tmp",
                                      "checkpoint/weight/.000003.tmp/x.bin"};
  for (const std::string& name : left) put_file(folder / ("run/" + name), "half");
  RunFolder(folder / "run", true).keep();
  EXPECT_EQ(tree(folder / "run"),
            (std::vector<std::string>{"checkpoint", "checkpoint/weight", "images", "log.jsonl"}));
}

/// A training run that takes long, as processes.
class LongRun : public testing::Test {
 protected:
  static std::vector<std::string> arguments(const std::string& data, const std::string& out) {
    return on_device_or_one_thread({"train", "--data", data, "--out", out, "--images", "1", "--crop", "32",
                                    "--model", "foe", "--filters", "8", "--filter-size", "5",
                                    "--max-iterations", "1000000", "--tolerance", "1e-300"});
  }
  /// Checkpoints but the last two are deleted, so that any will do.
  void wait_for_a_checkpoint() const {
    const auto found = [&] {
      std::error_code none;
      for (const fs::directory_entry& e : fs::directory_iterator(out_ + "/checkpoint", none))
        if (e.path().filename().string().front() != '.') return true;
      return false;
    };
    for (int k = 0; k < 30000; ++k) {
      if (found()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL() << "no checkpoint in " << out_;
  }
  TemporaryFolder folder_;
  const std::string data_ = photographs(folder_, "photos", 1, 32, 32);
  const std::string out_ = folder_ / "run";
};

TEST_F(LongRun, ASecondProcessIsRefusedAndTheFirstCanBeKilled) {
  Process first(arguments(data_, out_));
  wait_for_a_checkpoint();
  first.signal(SIGSTOP);  // the run would end before this test on a fast machine
  for (const char* more : {"--quiet", "--resume"}) {
    std::vector<std::string> second = arguments(data_, out_);
    second.emplace_back(more);
    const Outcome refused = run(second);
    EXPECT_EQ(refused.code, 2) << refused.err;
    expect_one_sentence(refused);
    EXPECT_NE(refused.err.find("in use by another process"), std::string::npos) << refused.err;
  }
  EXPECT_TRUE(first.running());
  first.signal(SIGKILL);
  first.wait();
  std::vector<std::string> third = arguments(data_, out_);
  third.insert(third.end(), {"--resume", "--time-limit", "0.001"});
  const Outcome resumed = run(third);
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST_F(LongRun, ItsFolderIsRemoved) {
  Process process(arguments(data_, out_));
  wait_for_a_checkpoint();
  fs::rename(out_, folder_ / "removed");
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 3) << o.err;
  expect_one_sentence(o);
  EXPECT_NE(o.err.find(out_), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("removed"), std::string::npos) << o.err;
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(LongRun, ItsCheckpointsAreMoved) {
  Process process(arguments(data_, out_));
  wait_for_a_checkpoint();
  fs::rename(out_ + "/checkpoint", folder_ / "moved");
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 3) << o.err;
  expect_one_sentence(o);
  EXPECT_FALSE(get_file(out_ + "/log.jsonl").empty());
}

}  // namespace
}  // namespace bilevel_test
