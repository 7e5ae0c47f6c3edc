// What becomes of a training run when CUDA fails it: no memory, a launch that fails, a device that is lost or
// was never there.

#include <map>
#include <sstream>

#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

namespace bl = bilevel;

constexpr int exit_device = 5;

/// Codes of cudaError_t.
constexpr int memory_allocation = 2, devices_unavailable = 46, launch_out_of_resources = 701,
              launch_failure = 719;

using Environment = std::vector<std::pair<std::string, std::string>>;

/// Sets variables in a child before it starts its program. Memory that a lost device keeps is no finding.
std::function<void()> with(const Environment& variables) {
  return [variables] {
    ::setenv("CUDA_EMU_LEAKS", "0", 1);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  };
}

/// Loads the library of faults before the program.
Environment faults(const std::string& fault) {
#ifdef BILEVEL_CUDA_FAULTS_PATH
  std::string preload = BILEVEL_CUDA_FAULTS_PATH;
  if (const char* before = std::getenv("LD_PRELOAD"); before != nullptr && *before != '\0')
    preload += std::string(":") + before;
  return {{"LD_PRELOAD", preload}, {"BILEVEL_FAULT", fault}};
#else
  return {{"BILEVEL_FAULT", fault}};
#endif
}
std::string fault(const std::string& function, long call, int error) {
  return function + ":" + std::to_string(call) + ":" + std::to_string(error);
}

std::string no_faults() {
#ifdef BILEVEL_CUDA_FAULTS_PATH
  return no_cuda();
#else
  return "Calls of the CUDA runtime are intercepted in builds with CUDA's shared runtime only.";
#endif
}

#define BILEVEL_SKIP_FOR(reason) \
  if (const std::string why = (reason); !why.empty()) GTEST_SKIP() << why

/// A training run on CUDA that saves a checkpoint after each of its iterations.
class Faults : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!no_faults().empty()) return;
    folder_ = new TemporaryFolder;
    data_ = photographs(*folder_, "photos", 2, 28, 28);
    Environment counting = faults("none:0:0");
    counting.emplace_back("BILEVEL_FAULT_COUNTS", file("counts"));
    reference_ = run(arguments("reference"), with(counting));
    std::istringstream counts(get_file(file("counts")));
    std::string name;
    for (long count = 0; counts >> name >> count;) calls_[name] = count;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override {
    BILEVEL_SKIP_FOR(no_faults());
    ASSERT_EQ(reference_.code, 0) << reference_.err;
  }

  static std::string file(const std::string& name) { return *folder_ / name; }
  static std::vector<std::string> arguments(const std::string& out,
                                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> a{"train",    "--data",      data_,    "--out",  file(out),
                               "--images", "2",           "--crop", "16",     "--max-iterations",
                               "4",        "--tolerance", "1e-9",   "--init", "nu=0.05",
                               "--device", "cuda"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  /// The call at a fraction of the undisturbed run's.
  static long call(const std::string& function, double share) {
    return 1 + static_cast<long>(share * static_cast<double>(calls_.at(function) - 1));
  }

  /// A run told of a DeviceError left nothing half done: whole lines in the log, whole checkpoints, no
  /// result.
  static void expect_nothing_partly_written(const std::string& out) {
    for (const std::string& name : tree(file(out))) {
      const fs::path path(name);
      EXPECT_FALSE(path.filename().string().starts_with(".")) << name;
      EXPECT_TRUE(name == "log.jsonl" || name.starts_with("checkpoint")) << name;
      if (path.filename() == "state.json") {
        EXPECT_TRUE(Json::accept(get_file(file(out) + "/" + name))) << name;
      }
    }
    const std::string log = get_file(file(out + "/log.jsonl"));
    EXPECT_TRUE(log.empty() || log.ends_with('\n'));
    for (const std::string& line : lines_of(log)) EXPECT_TRUE(Json::accept(line)) << line;
  }

  /// Runs with a fault and expects exit code 5 and one sentence with `parts`; then goes on without it to the
  /// undisturbed result.
  static void expect_told_and_resumed(const std::string& out, const Environment& variables,
                                      const std::vector<std::string>& parts) {
    const Outcome o = run(arguments(out), with(variables));
    EXPECT_EQ(o.code, exit_device) << o.err;
    expect_one_sentence(o);
    for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    std::cout << o.err;
    expect_nothing_partly_written(out);
    if (fs::exists(file(out))) resume(out);
  }
  static void resume(const std::string& out) {
    const Outcome o = run(arguments(out, {"--resume"}), with({}));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(get_file(file(out + "/model.json")), get_file(file("reference/model.json")));
    EXPECT_EQ(log(out), log("reference"));
    EXPECT_EQ(tree(file(out)), tree(file("reference")));
    for (const std::string& name : tree(file("reference"))) {
      if (name.ends_with(".bin") || name.ends_with(".png")) {
        EXPECT_EQ(get_file(file(out + "/" + name)), get_file(file("reference/" + name))) << name;
      }
    }
  }
  /// The log without the times.
  static std::string log(const std::string& out) {
    std::string text;
    for (const std::string& line : lines_of(get_file(file(out + "/log.jsonl")))) {
      Json json = Json::parse(line);
      json.erase("seconds");
      text += json.dump() + "\n";
    }
    return text;
  }

  static TemporaryFolder* folder_;
  static std::string data_;
  static Outcome reference_;
  static std::map<std::string, long> calls_;
};
TemporaryFolder* Faults::folder_ = nullptr;
std::string Faults::data_;
Outcome Faults::reference_;
std::map<std::string, long> Faults::calls_;

TEST_F(Faults, MemoryThatCannotBeHadIsTold) {
  for (const double share : {0.0, 0.5, 1.0}) {
    SCOPED_TRACE(share);
    expect_told_and_resumed(
        "memory" + std::to_string(share),
        faults(fault("cudaMallocFromPoolAsync", call("cudaMallocFromPoolAsync", share), memory_allocation)),
        {"cannot allocate", "cuda:0", "single precision"});
  }
  expect_told_and_resumed("pinned",
                          faults(fault("cudaHostAlloc", call("cudaHostAlloc", 1), memory_allocation)),
                          {"cudaHostAlloc", "cudaErrorMemoryAllocation"});
}

/// Memory is asked for in the beginning, so a run that is taken up again meets this fault with something to
/// lose.
TEST_F(Faults, ARunTakenUpWithoutMemoryKeepsItsCheckpoint) {
  const std::string out = "taken-up";
  std::vector<std::string> begin = arguments(out);
  *(std::find(begin.begin(), begin.end(), "--max-iterations") + 1) = "2";
  ASSERT_EQ(run(begin, with({})).code, 0);
  const std::string log_before = log(out);
  for (const double share : {0.0, 0.7}) {
    SCOPED_TRACE(share);
    const Outcome o = run(arguments(out, {"--resume"}),
                          with(faults(fault("cudaMallocFromPoolAsync", call("cudaMallocFromPoolAsync", share),
                                            memory_allocation))));
    EXPECT_EQ(o.code, exit_device) << o.err;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find("cannot allocate"), std::string::npos) << o.err;
    EXPECT_TRUE(log_before.starts_with(log(out)));
  }
  resume(out);
}

TEST_F(Faults, ALaunchThatFailsIsNamed) {
  struct Case {
    double share;
    int error;
    const char* name;
  };
  for (const auto& [share, error, name] :
       {Case{0, launch_out_of_resources, "cudaErrorLaunchOutOfResources"},
        Case{0.3, launch_failure, "cudaErrorLaunchFailure"},
        Case{0.9, launch_out_of_resources, "cudaErrorLaunchOutOfResources"}}) {
    SCOPED_TRACE(share);
    expect_told_and_resumed("launch" + std::to_string(share),
                            faults(fault("cudaLaunchKernel", call("cudaLaunchKernel", share), error)),
                            {"the launch of bilevel::kernels::", name});
  }
}

TEST_F(Faults, ALostDeviceIsTold) {
  struct Case {
    const char* function;
    std::vector<double> shares;
  };
  for (const auto& [function, shares] :
       {Case{"cudaEventSynchronize", {0, 0.5, 0.95}}, Case{"cudaStreamSynchronize", {0.5, 0.9}},
        Case{"cudaMemcpyAsync", {0.7}}, Case{"cudaGraphLaunch", {0.4}}, Case{"cudaGraphInstantiate", {0.6}},
        Case{"cudaStreamBeginCapture", {0.3}}, Case{"cudaStreamEndCapture", {0.8}}}) {
    ASSERT_TRUE(calls_.contains(function)) << function;
    for (const double share : shares) {
      SCOPED_TRACE(function + std::to_string(share));
      expect_told_and_resumed(std::string("lost-") + function + std::to_string(share),
                              faults(fault(function, call(function, share), launch_failure)),
                              {function, "cudaErrorLaunchFailure"});
    }
  }
}

/// cudaErrorDevicesUnavailable, which not every runtime has a name for.
TEST_F(Faults, AnUnavailableDeviceIsTold) {
  expect_told_and_resumed(
      "unavailable",
      faults(fault("cudaEventSynchronize", call("cudaEventSynchronize", 0.3), devices_unavailable)),
      {"cudaEventSynchronize failed with "});
}

/// A run that was taken up again can be lost again.
TEST_F(Faults, EveryAttemptGoesOnFromTheLast) {
  const std::string out = "again";
  int attempts = 0;
  for (; attempts < 12; ++attempts) {
    const bool begun = fs::exists(file(out));
    const Outcome o =
        run(arguments(out, begun ? std::vector<std::string>{"--resume"} : std::vector<std::string>{}),
            with(faults(fault("cudaEventSynchronize", call("cudaEventSynchronize", 0.5), launch_failure))));
    if (o.code == 0) break;
    ASSERT_EQ(o.code, exit_device) << o.err;
    expect_nothing_partly_written(out);
  }
  EXPECT_GE(attempts, 1);
  resume(out);
}

/// The emulator's device, whose memory can be chosen.
TEST_F(Faults, ADeviceTooSmallForTheImagesIsTold) {
  if (std::getenv("CUDA_EMU_BUILD") == nullptr)
    GTEST_SKIP() << "The memory of a real device is not ours to choose.";
  const std::string photos = photographs(*folder_, "large", 1, 260, 260);
  for (const char* megabytes : {"1", "4", "8"}) {
    SCOPED_TRACE(megabytes);
    const std::string out = file(std::string("small") + megabytes);
    const Outcome o = run({"train", "--data", photos, "--out", out, "--images", "1", "--crop", "256",
                           "--max-iterations", "1", "--device", "cuda"},
                          with({{"CUDA_EMU_MEMORY_MB", megabytes}}));
    EXPECT_EQ(o.code, exit_device) << o.err;
    expect_one_sentence(o);
    EXPECT_NE(o.err.find("allocate"), std::string::npos) << o.err;
    EXPECT_FALSE(fs::exists(out));
  }
}

/// Without a device: none that is visible on a machine with GPUs, none in the emulator.
const Environment no_device = {{"CUDA_VISIBLE_DEVICES", ""}, {"CUDA_EMU_DEVICES", "0"}};

TEST(FaultsWithoutADevice, AGpuOlderThanTheBuildIsRefused) {
  if (!no_cuda().empty()) GTEST_SKIP() << no_cuda();
  const Outcome o = run({"--version"}, with({{"CUDA_EMU_ARCH", "75"}}));
  if (o.out.find("sm_75") == std::string::npos)
    GTEST_SKIP() << "needs the emulator, whose GPU can be made old";
  EXPECT_NE(o.out.find("the oldest GPU of this build is sm_80"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("device auto: cpu:"), std::string::npos) << o.out;
}

TEST(FaultsWithoutADevice, TheReasonIsToldWithExitCodeFive) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 1, 20, 20), out = folder / "run";
  const Outcome o = run({"train", "--data", data, "--out", out, "--device", "cuda"}, with(no_device));
  EXPECT_EQ(o.code, exit_device) << o.err;
  expect_one_sentence(o);
  EXPECT_NE(o.err.find("device 'cuda:0': "), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("the device 'cpu'"), std::string::npos) << o.err;
  EXPECT_FALSE(fs::exists(out));
  std::cout << o.err;
  if (no_cuda().empty()) {
    EXPECT_NE(o.err.find("driver says"), std::string::npos) << o.err;
  }

  // Where the libraries of an emulator are not found, the toolkit's ask for a driver.
  const Outcome real = run({"train", "--data", data, "--out", out, "--device", "cuda"}, [] {
    ::unsetenv("LD_LIBRARY_PATH");
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  });
  EXPECT_EQ(real.code, exit_device) << real.err;
  expect_one_sentence(real);
  std::cout << real.err;
}

TEST(FaultsWithoutADevice, ANumberBeyondTheDevicesIsRefused) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 1, 20, 20);
  const Outcome o = run({"train", "--data", data, "--out", folder / "run", "--device", "cuda:77"}, with({}));
  EXPECT_EQ(o.code, exit_device) << o.err;
  expect_one_sentence(o);
  EXPECT_NE(o.err.find("device 'cuda:77': "), std::string::npos) << o.err;
  std::cout << o.err;
}

TEST(FaultsWithoutADevice, AutoTakesTheCpu) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 1, 20, 20);
  const Outcome o = run({"train", "--data", data, "--out", folder / "run", "--device", "auto", "--images",
                         "1", "--crop", "16", "--max-iterations", "1", "--tolerance", "1e-9"},
                        with(no_device));
  EXPECT_EQ(o.code, 0) << o.err;
  const std::string summary = get_file(folder / "run/summary.json");
  EXPECT_NE(summary.find("\"cpu:"), std::string::npos) << summary;
}

// The library by itself.

constexpr bl::Shape block{1, 1, 64, 64};

std::vector<double> ramp() {
  std::vector<double> values(block.count());
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<double>(k);
  return values;
}
/// A context does what it should.
void expect_usable(bl::Context& context) {
  bl::Tensor<double> a(context, block, ramp()), b(context, block);
  bl::copy<double>(context, std::as_const(a).view(), b.view());
  EXPECT_EQ(bl::download(context, b), ramp());
  bl::fill<double>(context, b.view(), 3);
  EXPECT_EQ(bl::download(context, b), std::vector<double>(block.count(), 3));
}

TEST(FaultsInTheLibrary, AContextStaysUsableWithoutTheMemoryAskedFor) {
  BILEVEL_SKIP_FOR(no_cuda());
  bl::Context context(bl::Device::open("cuda"));
  expect_usable(context);
  const auto rows = static_cast<int>(context.device().memory() / (std::size_t{1} << 20) * 2);
  for (int trial = 0; trial < 3; ++trial) {
    const bl::Counters before = context.counters();
    try {
      const bl::Tensor<double> huge(context, {1, 1, rows, 1 << 17});
      ADD_FAILURE() << "twice the memory of the device was allocated";
    } catch (const bl::DeviceError& error) {
      EXPECT_NE(std::string(error.what()).find("cannot allocate"), std::string::npos) << error.what();
    }
    {
      bl::Frame frame(context);
      EXPECT_THROW(frame.view<double>({1, 1, rows, 1 << 17}), bl::DeviceError);
    }
    EXPECT_EQ(context.counters().bytes_allocated, before.bytes_allocated);
    expect_usable(context);
  }
}

/// Starts this program again, for this test alone, with a fault; true in the second one.
bool in_child(const std::string& what) {
  if (std::getenv("BILEVEL_FAULT") != nullptr) return true;
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string filter = std::string("--gtest_filter=") + info->test_suite_name() + "." + info->name();
  const pid_t child = ::fork();
  if (child == 0) {
    with(faults(what))();
    ::execl("/proc/self/exe", "test_apps", filter.c_str(), nullptr);
    ::_exit(127);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << what;
  return false;
}

/// Work until it throws; what it said.
std::string failure_of(bl::Context& context) {
  for (int k = 0; k < 100; ++k) {
    try {
      bl::Tensor<double> a(context, block, ramp());
      bl::fill<double>(context, a.view(), 2);
      static_cast<void>(bl::download(context, a));
    } catch (const bl::DeviceError& error) {
      return error.what();
    }
  }
  ADD_FAILURE() << "nothing failed";
  return {};
}

TEST(FaultsInTheLibrary, AContextOfALostDeviceFailsAndIsDestroyed) {
  BILEVEL_SKIP_FOR(no_faults());
  if (!in_child(fault("cudaStreamSynchronize", 5, launch_failure))) return;
  auto context = std::make_unique<bl::Context>(bl::Device::open("cuda"));
  auto tensor = std::make_unique<bl::Tensor<double>>(*context, block, ramp());
  EXPECT_NE(failure_of(*context).find("cudaStreamSynchronize failed with cudaErrorLaunchFailure"),
            std::string::npos);
  // Everything fails from now on, and says so.
  EXPECT_THROW(bl::download(*context, *tensor), bl::DeviceError);
  EXPECT_THROW(bl::fill<double>(*context, tensor->view(), 1), bl::DeviceError);
  EXPECT_THROW(context->synchronise(), bl::DeviceError);
  EXPECT_THROW(bl::Tensor<double>(*context, block), bl::DeviceError);
  EXPECT_THROW(bl::Context{bl::Device::open("cuda")}, bl::DeviceError);
  tensor.reset();
  context.reset();
  bl::Context cpu(bl::Device::open("cpu:1"));
  expect_usable(cpu);
}

/// An error that passes is told once: the next call does not tell of it again.
TEST(FaultsInTheLibrary, AnErrorThatPassesIsToldOnce) {
  BILEVEL_SKIP_FOR(no_faults());
  const char* text = std::getenv("BILEVEL_FAULT");
  const std::vector<std::string> functions =
      text != nullptr ? std::vector<std::string>{std::string(text)}
                      : std::vector<std::string>{"cudaMallocFromPoolAsync", "cudaMemcpyAsync",
                                                 "cudaLaunchKernel", "cudaStreamSynchronize"};
  for (const std::string& function : functions) {
    SCOPED_TRACE(function);
    if (!in_child(
            fault(function, 3, function == "cudaLaunchKernel" ? launch_out_of_resources : memory_allocation)))
      continue;
    bl::Context context(bl::Device::open("cuda"));
    failure_of(context);
    expect_usable(context);
  }
}

}  // namespace
}  // namespace bilevel_test
