// Too little of what the system gives: one sentence, the right code, and never a process that does not end.

#include "tests/apps/app_test_support.hpp"
#include "tests/model/scoped_environment.hpp"

namespace bilevel_test {
namespace {

constexpr rlim_t megabyte = rlim_t{1} << 20;

std::function<void()> limited(decltype(RLIMIT_AS) resource, rlim_t amount) {
  return [resource, amount] {
    ::close_range(3, ~0U, 0);  // what a parent left open counts too
    const rlimit limits{amount, amount};
    ::setrlimit(resource, &limits);
  };
}

/// What becomes of a process within a time in which it ends many times over.
Outcome within(int seconds, const std::vector<std::string>& arguments, const std::function<void()>& prepare,
               const char* program = BILEVEL_DENOISE_PATH) {
  Process process(arguments, prepare, program);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (process.running() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  if (process.running()) {
    ADD_FAILURE() << "still running after " << seconds << " s";
    process.signal(SIGKILL);
  }
  return process.wait();
}

class Resources : public testing::Test {
 protected:
  /// On the CPU: a GPU's driver and sanitizers reserve addresses without end.
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "Sanitizers reserve more addresses than any limit here.";
#endif
  }
  std::vector<std::string> train(const std::string& device, const std::string& crop = "16") const {
    return {"train",  "--data", data_,      "--out", folder_ / "run", "--images",         "1",
            "--crop", crop,     "--device", device,  "--quiet",       "--max-iterations", "1"};
  }
  /// Megabytes of addresses that loading the program takes: below them the loader ends it, not the program.
  /// Larger with the kernels of every instruction set.
  static rlim_t least_to_start(const char* program) {
    rlim_t amount = 32;
    while (amount < 2000 &&
           within(60, {"--version"}, limited(RLIMIT_AS, amount * megabyte), program).code != 0)
      amount += 4;
    return amount;
  }
  const bilevel::testing_support::ScopedEnvironment cpu_{"BILEVEL_TEST_DEVICE", ""};
  TemporaryFolder folder_;
  const std::string data_ = photographs(folder_, "photos", 1, 512, 512);
};

TEST_F(Resources, LittleMemoryIsEnoughOrTold) {
  const rlim_t least = least_to_start(BILEVEL_DENOISE_PATH);
  std::set<int> codes;
  for (const rlim_t more : {4, 20, 40, 90, 2000}) {
    const rlim_t amount = least + more;
    SCOPED_TRACE(amount);
    const Outcome o = within(60, train("cpu:1", "512"), limited(RLIMIT_AS, amount * megabyte));
    codes.insert(o.code);
    if (o.code == 0) {
      EXPECT_EQ(o.err, "");
      fs::remove_all(folder_ / "run");
      continue;
    }
    EXPECT_EQ(o.code, 5) << o.err;
    expect_one_sentence(o);
    EXPECT_FALSE(fs::exists(folder_ / "run"));
  }
  EXPECT_TRUE(codes.contains(0));
  EXPECT_TRUE(codes.contains(5)) << "the smallest amount is enough: this test shows nothing";
}

TEST_F(Resources, LittleMemoryIsEnoughOrToldForPatterns) {
  const rlim_t least = least_to_start(BILEVEL_MRI_PATH);
  std::set<int> codes;
  for (const rlim_t more : {4, 30, 60, 2000}) {
    const rlim_t amount = least + more;
    SCOPED_TRACE(amount);
    const Outcome o =
        within(60,
               {"learn", "--data", data_ + "/photo1.png", "--size", "256", "--sigma", "0.01", "--rate", "0.5",
                "--out", folder_ / "run", "--device", "cpu:1", "--max-iterations", "1", "--quiet"},
               limited(RLIMIT_AS, amount * megabyte), BILEVEL_MRI_PATH);
    fs::remove_all(folder_ / "run");
    codes.insert(o.code);
    if (o.code == 0) continue;
    EXPECT_EQ(o.code, 5) << o.err;
    expect_one_sentence(o, "bilevel-mri");
  }
  EXPECT_EQ(codes, (std::set<int>{0, 5})) << "amounts that show both are needed";
}

TEST_F(Resources, ThreadsThatCannotBeStartedAreCounted) {
  const Outcome o = within(60, train("cpu:1000", "256"), limited(RLIMIT_AS, 600 * megabyte));
  EXPECT_EQ(o.code, 5) << o.err;
  expect_one_sentence(o);
  for (const char* part : {"cannot start thread", "of 1000", "fewer threads"})
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

TEST_F(Resources, TooFewDescriptorsAreNamed) {
  const Outcome o = within(60, train("cpu:1"), limited(RLIMIT_NOFILE, 4));
  EXPECT_EQ(o.code, 3) << o.err;
  expect_one_sentence(o);
  EXPECT_NE(o.err.find("may open 4, allow more with 'ulimit -n'"), std::string::npos) << o.err;
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

}  // namespace
}  // namespace bilevel_test
