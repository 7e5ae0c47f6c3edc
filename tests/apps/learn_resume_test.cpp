#include "tests/apps/learn_test_support.hpp"

namespace bilevel_test {
namespace {

class LearnResume : public testing::Test {
 protected:
  LearnResume() {
    pictures_.put(folder_, "train", 45, 1);
    pictures_.put(folder_, "validation", 30, 2);
  }
  std::string file(const std::string& name) const { return folder_ / name; }
  Outcome start(const std::string& out, int iterations, std::vector<std::string> more) const {
    more.insert(more.end(), {"--max-iterations", std::to_string(iterations), "--min-progress", "0",
                             "--tolerance", "1e-9"});
    return learn_here(learn_files(folder_, out, more));
  }
  std::map<std::string, std::string> contents(const std::string& out) const {
    return contents_of_run(file(out));
  }

  TemporaryFolder folder_;
  Pictures pictures_;
};

TEST_F(LearnResume, ATakenUpRunGivesTheSameBits) {
  const std::vector<std::vector<std::string>> problems{
      {"--learn", "samples", "--corrupt", "0.2", "--ridge", "0.01"},
      {"--learn", "samples", "--corrupt", "0.2", "--algorithm", "maid", "--precision", "float"},
      {"--learn", "ridges", "--bias"},
      {"--learn", "ridge", "--algorithm", "hoag"}};
  for (std::size_t k = 0; k < problems.size(); ++k) {
    SCOPED_TRACE(k);
    const std::string whole = "whole" + std::to_string(k), parts = "parts" + std::to_string(k);
    ASSERT_EQ(start(whole, 6, problems[k]).code, 0);
    ASSERT_EQ(start(parts, 2, problems[k]).code, 0);
    std::vector<std::string> more = problems[k];
    more.push_back("--resume");
    const Outcome o = start(parts, 6, more);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(summary_of(folder_, parts)["resumed_from"], 2);
    EXPECT_TRUE(contents(parts) == contents(whole));
  }
}

TEST_F(LearnResume, OtherOptionsDataAndProgramsAreRefused) {
  const std::vector<std::string> usual{"--learn", "samples", "--corrupt", "0.2"};
  ASSERT_EQ(start("run", 2, usual).code, 0);
  const auto before = contents("run");
  const auto refuse = [&](const std::vector<std::string>& options, const std::string& part) {
    std::vector<std::string> more = options;
    more.push_back("--resume");
    const Outcome o = start("run", 4, more);
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o, "bilevel-learn");
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    EXPECT_TRUE(contents("run") == before);
  };
  refuse({"--learn", "samples", "--corrupt", "0.1"}, "--corrupt was 0.2, not 0.1");
  refuse({"--learn", "samples", "--corrupt", "0.2", "--train", "30"}, "--train was not given, and is 30 now");
  refuse({"--learn", "ridges", "--corrupt", "0.2"}, "--learn was samples, not ridges");
  refuse({"--learn", "samples", "--corrupt", "0.2", "--algorithm", "maid"},
         "--algorithm was lbfgsb, not maid");
  pictures_.put(folder_, "train", 45, 9);
  refuse(usual, "the data of --train-data or of the other files is another now");
  const Outcome o = learn_here(learn_files(folder_, "run", usual));
  EXPECT_EQ(o.code, 2);
  EXPECT_NE(o.err.find("already holds a run; add --resume"), std::string::npos) << o.err;
  for (const std::string kept : {"model.json", "summary.json", "checkpoint"}) {
    fs::create_directories(file("only-" + kept));
    fs::copy(file("run/" + kept), file("only-" + kept + "/" + kept), fs::copy_options::recursive);
    const Outcome other =
        Process({"train", "--data", file("train-images"), "--resume", "--out", file("only-" + kept)}, {},
                BILEVEL_DENOISE_PATH)
            .wait();
    EXPECT_EQ(other.code, 2) << other.err;
    EXPECT_NE(other.err.find("holds a run of bilevel-learn train, not of bilevel-denoise train"),
              std::string::npos)
        << other.err;
  }
}

/// Ctrl-C leaves what was finished, and the run goes on from there.
TEST_F(LearnResume, AnInterruptIsNoLoss) {
  const std::vector<std::string> usual{"--learn",        "samples", "--corrupt",   "0.2",
                                       "--algorithm",    "maid",    "--scaling",   "none",
                                       "--min-progress", "0",       "--tolerance", "1e-9"};
  std::vector<std::string> more = usual;
  more.insert(more.end(), {"--max-iterations", "1000000"});
  Process process(on_device_or_one_thread(learn_files(folder_, "run", more)), {}, BILEVEL_LEARN_PATH);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (lines_of(get_file(file("run/log.jsonl"))).size() < 3 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  process.signal(SIGINT);
  const Outcome o = process.wait();
  ASSERT_EQ(o.code, 130) << o.err;
  EXPECT_NE(o.err.find("interrupted; the last finished iteration is saved"), std::string::npos) << o.err;
  const int reached = summary_of(folder_, "run")["iterations"];
  EXPECT_GE(reached, 2);
  EXPECT_FALSE(summary_of(folder_, "run").contains("compared_with"));
  more = usual;
  more.insert(more.end(), {"--resume", "--max-iterations", std::to_string(reached + 2)});
  const Outcome again = learn_here(learn_files(folder_, "run", more));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(summary_of(folder_, "run")["resumed_from"], reached);
  EXPECT_EQ(summary_of(folder_, "run")["iterations"], reached + 2);
}

}  // namespace
}  // namespace bilevel_test
