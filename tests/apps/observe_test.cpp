#include <sys/syscall.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>

#include "bilevel/core/error.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/observe/checkpoint.hpp"
#include "bilevel/observe/console_progress.hpp"
#include "bilevel/observe/jsonl_log.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/support/no_descriptors.hpp"

namespace {
int fsyncs = 0;  // of this process, the libraries' too
}

extern "C" int fsync(int file) {
  ++fsyncs;
  return static_cast<int>(::syscall(SYS_fsync, file));
}

namespace bilevel_test {
namespace {

using namespace bilevel;

IterationRecord record(int iteration) {
  IterationRecord r;
  r.iteration = iteration;
  r.theta = {std::log(0.05), std::log(0.01)};
  r.loss = 4.5;
  r.loss_lower = 4.25;
  r.loss_upper = 4.75;
  r.gradient_norm = 0.3;
  r.error_bound = 0.01;
  r.omega_theorem = 0.5;
  r.omega_adjoint = 0.25;
  r.omega_directional = 0.125;
  r.omega_columns = std::numeric_limits<double>::infinity();
  r.epsilon = 0.1;
  r.delta = 0.2;
  r.step = 0.05;
  r.backtracks = 2;
  r.psnr = 27.125;
  r.work = {100, 200, 30};
  r.seconds = 1.5 * (iteration + 1);
  r.status = "accepted";
  return r;
}

UpperState state(int iteration) {
  UpperState s;
  s.theta = {0.1, -1.0 / 3.0};
  s.method = "maid";
  s.iteration = iteration;
  s.work = {1, 2, (std::uint64_t{1} << 60) + 1};
  s.seconds = 2.5;
  s.has_columns = true;
  s.losses = {3.5, 0.1 + 0.2};
  s.numbers = {{"epsilon", {1e-3 / 7}},
               {"delta", {5e-324}},
               {"previous-theta", {1e300, -0.0}},
               {"previous-omega", {std::numeric_limits<double>::infinity()}},
               {"diagonal", {1e-300, 1.0 / 7}},
               {"step", {0.7}},
               {"nothing", {}}};
  for (int k = 0; k < 1000; ++k) s.x.push_back(static_cast<std::uint8_t>(k * 7 + iteration));
  for (int k = 0; k < 333; ++k) s.adjoints.push_back(static_cast<std::uint8_t>(k * 3));
  for (int k = 0; k < 64; ++k) s.arrays["pairs"].push_back(static_cast<std::uint8_t>(k * 5));
  return s;
}

void expect_same(const UpperState& a, const UpperState& b) {
  EXPECT_EQ(a.theta, b.theta);
  EXPECT_EQ(a.method, b.method);
  EXPECT_EQ(a.iteration, b.iteration);
  EXPECT_EQ(a.work, b.work);
  EXPECT_EQ(a.seconds, b.seconds);
  EXPECT_EQ(a.has_columns, b.has_columns);
  EXPECT_EQ(a.numbers, b.numbers);
  EXPECT_EQ(std::signbit(a.list("previous-theta").at(1)), std::signbit(b.list("previous-theta").at(1)));
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.x, b.x);
  EXPECT_EQ(a.adjoints, b.adjoints);
  EXPECT_EQ(a.arrays, b.arrays);
}

const std::vector<NamedOption> kIdentity{
    {"sigma", 0.1}, {"images", std::int64_t{25}}, {"model", std::string("tv")}};

TEST(Checkpoint, ReturnsTheSameBits) {
  const TemporaryFolder folder;
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  EXPECT_TRUE(checkpoint.wants_state(record(0)));
  checkpoint.state(state(3));
  const auto loaded = Checkpoint::load_latest(folder / "checkpoint", kIdentity);
  ASSERT_TRUE(loaded);
  expect_same(loaded->state, state(3));
  EXPECT_EQ(loaded->note, "");
}

TEST(Checkpoint, KeepsTheLastTwo) {
  const TemporaryFolder folder;
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  for (int k = 1; k <= 5; ++k) checkpoint.state(state(k));
  std::vector<std::string> expected;
  for (const char* number : {"000004", "000005"})
    for (const char* name : {"", "/adjoints.bin", "/pairs.bin", "/state.json", "/x.bin"})
      expected.push_back(std::string(number) + name);
  EXPECT_EQ(tree(folder / "checkpoint"), expected);
}

/// Checkpoints of short iterations are not forced to the disk one by one, but the last one is in the end.
TEST(Checkpoint, IsForcedToTheDiskNowAndThen) {
  const TemporaryFolder folder;
  Checkpoint rarely(folder / "rarely", kIdentity, 1e9), always(folder / "always", kIdentity, 0);
  fsyncs = 0;
  rarely.state(state(1));
  rarely.state(state(2));
  EXPECT_EQ(fsyncs, 0);
  rarely.finished({});
  EXPECT_EQ(fsyncs, 6);  // four files, their folder and that of the checkpoints
  rarely.finished({});
  EXPECT_EQ(fsyncs, 6);
  always.state(state(1));
  EXPECT_EQ(fsyncs, 12);
  always.finished({});
  EXPECT_EQ(fsyncs, 12);
}

std::vector<std::string> checkpoints(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const std::string& name : tree(folder / "checkpoint"))
    if (name.size() == 6) names.push_back(name);
  return names;
}

/// A kill between a new checkpoint and the end of the oldest leaves three; a run that is then taken up at its
/// end saves none, and leaves two. Those behind the one it was taken up from are damaged and left alone.
TEST(Checkpoint, ARunTakenUpAtItsEndForgetsTheOldest) {
  const TemporaryFolder folder;
  for (int k = 1; k <= 4; ++k) {
    Checkpoint checkpoint(folder / "other", kIdentity);
    checkpoint.state(state(k));
    char name[8];
    std::snprintf(name, sizeof(name), "%06d", k);
    fs::create_directories(folder / "checkpoint");
    fs::rename(folder / ("other/" + std::string(name)), folder / ("checkpoint/" + std::string(name)));
  }
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  UpperReport report;
  report.last.iteration = 3;
  checkpoint.finished(report);
  EXPECT_EQ(checkpoints(folder), (std::vector<std::string>{"000002", "000003", "000004"}));
}

TEST(Checkpoint, TheOneOnTheDiskStaysBesideTheLastTwo) {
  const TemporaryFolder folder;
  const auto kept = [&] { return checkpoints(folder); };
  Checkpoint checkpoint(folder / "checkpoint", kIdentity, 2);
  checkpoint.state(state(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(2050));
  for (int k = 2; k <= 5; ++k) checkpoint.state(state(k));
  EXPECT_EQ(kept(), (std::vector<std::string>{"000002", "000004", "000005"}));
  checkpoint.finished({});
  EXPECT_EQ(kept(), (std::vector<std::string>{"000004", "000005"}));
}

TEST(Checkpoint, RefusesNumbersItCouldNotFindAgain) {
  const TemporaryFolder folder;
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  EXPECT_THROW(checkpoint.state(state(-1)), ConfigError);
  EXPECT_THROW(checkpoint.state(state(1000000000)), ConfigError);
  EXPECT_TRUE(tree(folder / "checkpoint").empty());
}

/// What cannot be read is not taken for what is not there: a resumed run would begin anew over it.
TEST(Checkpoint, AFolderThatCannotBeReadIsAnError) {
  const TemporaryFolder folder;
  Checkpoint(folder / "checkpoint", kIdentity).state(state(1));
  // first: sanitizers need descriptors to look at what the message comes from
  put_file(folder / "file", "no folder");
  EXPECT_THROW(Checkpoint::load_latest(folder / "file", kIdentity), IoError);
  {
    const bilevel::testing_support::NoDescriptors none;
    EXPECT_THROW(Checkpoint::load_latest(folder / "checkpoint", kIdentity), IoError);
  }
  EXPECT_TRUE(Checkpoint::load_latest(folder / "checkpoint", kIdentity));
}

TEST(Checkpoint, NoneIsNoError) {
  const TemporaryFolder folder;
  EXPECT_FALSE(Checkpoint::load_latest(folder / "nowhere", kIdentity));
}

/// Every way to damage the newest one falls back to the one before; both damaged is an error that names both.
TEST(Checkpoint, SkipsDamagedOnes) {
  const std::vector<std::function<void(const fs::path&)>> damages{
      [](const fs::path& p) { fs::remove(p / "state.json"); },
      [](const fs::path& p) { put_file(p / "state.json", get_file(p / "state.json").substr(0, 100)); },
      [](const fs::path& p) {
        std::string text = get_file(p / "state.json");
        text.replace(text.find("0.7"), 3, "0.8");
        put_file(p / "state.json", text);
      },
      [](const fs::path& p) { put_file(p / "x.bin", get_file(p / "x.bin").substr(1)); },
      [](const fs::path& p) {
        std::string bytes = get_file(p / "x.bin");
        bytes[500] = static_cast<char>(bytes[500] ^ 1);
        put_file(p / "x.bin", bytes);
      },
      [](const fs::path& p) { put_file(p / "adjoints.bin", ""); },
      [](const fs::path& p) { fs::remove(p / "adjoints.bin"); },
      [](const fs::path& p) { put_file(p / "state.json", "[]"); },
  };
  for (std::size_t k = 0; k < damages.size(); ++k) {
    SCOPED_TRACE(k);
    const TemporaryFolder folder;
    const fs::path path = folder / "checkpoint";
    Checkpoint checkpoint(path, kIdentity);
    checkpoint.state(state(1));
    checkpoint.state(state(2));
    damages[k](path / "000002");
    const auto loaded = Checkpoint::load_latest(path, kIdentity);
    ASSERT_TRUE(loaded);
    expect_same(loaded->state, state(1));
    EXPECT_NE(loaded->note.find("000002"), std::string::npos) << loaded->note;
    damages[k](path / "000001");
    try {
      Checkpoint::load_latest(path, kIdentity);
      FAIL() << "no exception";
    } catch (const IoError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("000001"), std::string::npos) << what;
      EXPECT_NE(what.find("000002"), std::string::npos) << what;
    }
  }
}

TEST(Checkpoint, RefusesThoseOfAnotherVersion) {
  const TemporaryFolder folder;
  const fs::path path = folder / "checkpoint";
  Checkpoint(path, kIdentity).state(state(1));
  auto json = nlohmann::ordered_json::parse(get_file(path / "000001" / "state.json"));
  json["format_version"] = 2;
  json.erase("checksum");
  const std::string text = json.dump();
  json["checksum"] = fingerprint_text(fingerprint(std::as_bytes(std::span(text))));
  put_file(path / "000001" / "state.json", json.dump(1) + "\n");
  try {
    Checkpoint::load_latest(path, kIdentity);
    FAIL() << "no exception";
  } catch (const IoError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("another format version"), std::string::npos) << what;
    EXPECT_NE(what.find("start a new run"), std::string::npos) << what;
  }
}

/// Names of a state become names of files.
TEST(Checkpoint, RefusesNamesThatAreNoneOfAFile) {
  const TemporaryFolder folder;
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  for (const char* name : {"", "../x", "a b", "Pairs", "x", "adjoints"}) {
    UpperState bad = state(1);
    bad.arrays[name] = {1};
    EXPECT_THROW(checkpoint.state(bad), ConfigError) << name;
    bad = state(1);
    bad.numbers[name] = {1};
    EXPECT_THROW(checkpoint.state(bad), ConfigError) << name;
  }
  EXPECT_TRUE(tree(folder / "checkpoint").empty());
}

TEST(Checkpoint, RefusesAnotherRun) {
  const TemporaryFolder folder;
  Checkpoint checkpoint(folder / "run/checkpoint", kIdentity);
  checkpoint.state(state(1));
  auto other = kIdentity;
  other[0].second = 0.2;
  try {
    Checkpoint::load_latest(folder / "run/checkpoint", other);
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("its sigma is 0.1, not 0.2"), std::string::npos) << error.what();
  }
  other = kIdentity;
  other.emplace_back("mask", true);
  EXPECT_THROW(Checkpoint::load_latest(folder / "run/checkpoint", other), ConfigError);
  other = {kIdentity[0], kIdentity[1]};
  EXPECT_THROW(Checkpoint::load_latest(folder / "run/checkpoint", other), ConfigError);
}

TEST(Checkpoint, RemovesLeftoversOfAKilledProcess) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "checkpoint/.000007.tmp");
  put_file(folder / "checkpoint/.000007.tmp/x.bin", "half");
  Checkpoint checkpoint(folder / "checkpoint", kIdentity);
  EXPECT_TRUE(tree(folder / "checkpoint").empty());
  EXPECT_FALSE(Checkpoint::load_latest(folder / "checkpoint", kIdentity));
}

TEST(Checkpoint, UnwritableFolderIsAnIoError) {
  const TemporaryFolder folder;
  put_file(folder / "file", "x");
  EXPECT_THROW(Checkpoint(folder / "file/checkpoint", kIdentity), IoError);
}

Parameters parameters() { return tv_parameters(); }

TEST(JsonlLog, WritesEveryField) {
  const TemporaryFolder folder;
  {
    JsonlLog log(folder / "log.jsonl", parameters());
    EXPECT_TRUE(log.iteration(record(0)));
    const auto lines = lines_of(get_file(folder / "log.jsonl"));  // complete before the log is closed
    ASSERT_EQ(lines.size(), 1u);
  }
  const Json line = Json::parse(lines_of(get_file(folder / "log.jsonl")).at(0));
  std::vector<std::string> keys;
  for (const auto& [key, value] : line.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"iteration",
                                            "loss",
                                            "loss_lower",
                                            "loss_upper",
                                            "gradient_norm",
                                            "error_bound",
                                            "epsilon",
                                            "delta",
                                            "step",
                                            "backtracks",
                                            "lower_gradients",
                                            "hessian_products",
                                            "other_operators",
                                            "lower_solves",
                                            "seconds",
                                            "status",
                                            "theta",
                                            "psnr",
                                            "omega_theorem",
                                            "omega_adjoint",
                                            "omega_directional"}));
  EXPECT_EQ(line["iteration"], 0);
  EXPECT_EQ(line["loss"], 4.5);
  EXPECT_EQ(line["loss_lower"], 4.25);
  EXPECT_EQ(line["loss_upper"], 4.75);
  EXPECT_EQ(line["gradient_norm"], 0.3);
  EXPECT_EQ(line["error_bound"], 0.01);
  EXPECT_EQ(line["epsilon"], 0.1);
  EXPECT_EQ(line["delta"], 0.2);
  EXPECT_EQ(line["step"], 0.05);
  EXPECT_EQ(line["backtracks"], 2);
  EXPECT_EQ(line["lower_gradients"], 100);
  EXPECT_EQ(line["hessian_products"], 200);
  EXPECT_EQ(line["other_operators"], 30);
  EXPECT_EQ(line["seconds"], 1.5);
  EXPECT_EQ(line["status"], "accepted");
  EXPECT_EQ(line["psnr"], 27.125);
  EXPECT_NEAR(line["theta"]["alpha"].get<double>(), 0.05, 1e-15);
  EXPECT_NEAR(line["theta"]["nu"].get<double>(), 0.01, 1e-15);
  EXPECT_EQ(line["theta"]["xi"], 1e-3);
  EXPECT_EQ(line["omega_directional"], 0.125);
}

TEST(JsonlLog, RefusesAThetaOfAnotherLength) {
  const TemporaryFolder folder;
  JsonlLog log(folder / "log.jsonl", parameters());
  for (const std::size_t length : {0, 1, 3}) {
    IterationRecord r = record(0);
    r.theta.assign(length, 0.0);
    try {
      log.iteration(r);
      FAIL() << "no exception";
    } catch (const ShapeError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("2 learned"), std::string::npos) << what;
      EXPECT_NE(what.find("theta of " + std::to_string(length)), std::string::npos) << what;
    }
  }
  EXPECT_EQ(get_file(folder / "log.jsonl"), "");
}

TEST(JsonlLog, AnInfiniteLossIsNull) {
  const TemporaryFolder folder;
  JsonlLog log(folder / "log.jsonl", parameters());
  IterationRecord r = record(0);
  r.loss_upper = std::numeric_limits<double>::infinity();
  r.psnr = std::nan("");
  log.iteration(r);
  const Json line = Json::parse(lines_of(get_file(folder / "log.jsonl")).at(0));
  EXPECT_TRUE(line["loss_upper"].is_null());
  EXPECT_FALSE(line.contains("psnr"));
}

TEST(JsonlLog, TheLastPointIsALineToo) {
  const TemporaryFolder folder;
  JsonlLog log(folder / "log.jsonl", parameters());
  log.iteration(record(0));
  UpperReport report;
  report.last = record(1);
  report.last.status = "stationary";
  log.finished(report);
  const auto lines = lines_of(get_file(folder / "log.jsonl"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(Json::parse(lines[1])["status"], "stationary");
}

TEST(JsonlLog, ResumingKeepsTheLinesBeforeTheCheckpoint) {
  const TemporaryFolder folder;
  {
    JsonlLog log(folder / "log.jsonl", parameters());
    for (int k = 0; k < 5; ++k) log.iteration(record(k));
  }
  const std::string before = get_file(folder / "log.jsonl");
  put_file(folder / "log.jsonl", before + R"({"iteration": 5, "lo)");  // a killed process
  JsonlLog log(folder / "log.jsonl", parameters(), 3);
  const auto lines = lines_of(before);
  EXPECT_EQ(get_file(folder / "log.jsonl"), lines[0] + "\n" + lines[1] + "\n" + lines[2] + "\n");
  log.iteration(record(3));
  EXPECT_EQ(lines_of(get_file(folder / "log.jsonl")).size(), 4u);
  JsonlLog anew(folder / "log.jsonl", parameters());
  EXPECT_EQ(get_file(folder / "log.jsonl"), "");
}

TEST(JsonlLog, AFullDiskIsAnIoError) {
  JsonlLog log("/dev/full", parameters());
  EXPECT_THROW(log.iteration(record(0)), IoError);
  const TemporaryFolder folder;
  EXPECT_THROW(JsonlLog(folder / "no/such/folder.jsonl", parameters()), IoError);
}

TEST(JsonlLog, EveryLineIsJsonWhateverTheNumbers) {
  const TemporaryFolder folder;
  JsonlLog log(folder / "log.jsonl", parameters());
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const double odd : {std::nan(""), inf, -inf}) {
    IterationRecord r = record(0);
    for (double* number :
         {&r.loss, &r.loss_lower, &r.loss_upper, &r.gradient_norm, &r.error_bound, &r.epsilon, &r.delta,
          &r.step, &r.psnr, &r.omega_theorem, &r.omega_adjoint, &r.omega_directional, &r.seconds})
      *number = odd;
    r.theta = {odd, odd};
    r.status = "not \xff text";
    log.iteration(r);
    const std::string line = lines_of(get_file(folder / "log.jsonl")).back();
    ASSERT_TRUE(Json::accept(line)) << line;
    EXPECT_TRUE(Json::parse(line)["loss"].is_null());
    std::ostringstream out;
    EXPECT_NO_THROW(ConsoleProgress(out, true, {10, 5, 100}).line(r));
  }
}

TEST(ConsoleProgress, SaysNothingUnlessAsked) {
  std::ostringstream out;
  ConsoleProgress progress(out, false, {});
  for (int k = 0; k < 3; ++k) EXPECT_TRUE(progress.iteration(record(k)));
  progress.finished({});
  EXPECT_EQ(out.str(), "");
}

TEST(ConsoleProgress, RewritesOneLineOnATerminal) {
  std::ostringstream out;
  ConsoleProgress progress(out, true, {});
  for (int k = 0; k < 3; ++k) progress.iteration(record(k));
  progress.finished({});
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 3);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(text.back(), '\n');
}

TEST(ConsoleProgress, VerboseLinesAreAtMostOneASecond) {
  std::ostringstream out;
  ConsoleProgress progress(out, false, {}, true);
  UpperReport report;
  for (int k = 0; k < 30; ++k) {
    report.last = record(k);
    report.last.seconds = 0.25 * (k + 1);
    progress.iteration(report.last);
  }
  report.last.iteration = 30;
  progress.finished(report);
  // 0.25, 1.25, ..., 7.25 and the last point
  EXPECT_EQ(lines_of(out.str()).size(), 9u) << out.str();
}

TEST(ConsoleProgress, ShowsTheNumbers) {
  std::ostringstream out;
  const ConsoleProgress progress(out, true, {10, 0, 0});
  const std::string line = progress.line(record(1));
  for (const char* part : {"iteration 1/10", "loss 4.5", "|z| 3.00e-01", "omega 1.0e-02", "epsilon 1.0e-01",
                           "PSNR 27.12 dB", "operators 330", "(110/s)", "3.0s"})
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
}

/// The limit that comes first counts: 2 iterations in 3 s.
TEST(ConsoleProgress, TimeLeftIsThatOfTheFirstLimit) {
  std::ostringstream out;
  const auto line = [&](const ProgressLimits& limits) {
    return ConsoleProgress(out, true, limits).line(record(1));
  };
  EXPECT_NE(line({10, 0, 0}).find("at most 12.0s left"), std::string::npos) << line({10, 0, 0});
  EXPECT_NE(line({10, 5, 0}).find("at most 2.0s left"), std::string::npos) << line({10, 5, 0});
  EXPECT_NE(line({10, 5, 440}).find("at most 1.0s left"), std::string::npos) << line({10, 5, 440});
  EXPECT_EQ(line({0, 0, 0}).find("left"), std::string::npos);
  EXPECT_NE(line({1000, 0, 0}).find("at most 24:57 left"), std::string::npos) << line({1000, 0, 0});
}

TEST(ObserverList, RefusesNullPointers) {
  Observer silent;
  try {
    ObserverList({&silent, nullptr});
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("observer 2 of 2"), std::string::npos) << error.what();
  }
}

/// What an observer throws ends the run and comes out of it; context, problem and optimiser can be used
/// again.
TEST(Observer, MayThrow) {
  struct Throwing : Observer {
    int when = 0, events = 0;
    void event() {
      if (++events == when) throw std::runtime_error("from the observer");
    }
    bool iteration(const IterationRecord&) override { return event(), true; }
    bool wants_state(const IterationRecord&) override { return event(), true; }
    void state(const UpperState&) override { event(); }
    bool alive() override { return event(), true; }
    void finished(const UpperReport&) override { event(); }
  };
  Context context(Device::open(bilevel::testing_support::test_device("cpu:2")));
  const Shape shape{1, 1, 16, 16};
  const HostImage clean = photograph(16, 16, 3);
  std::vector<double> noisy = clean.pixels;
  for (std::size_t k = 0; k < noisy.size(); ++k) noisy[k] += k % 3 == 0 ? 0.1 : -0.05;
  const Tensor<double> truth(context, shape, clean.pixels), data(context, shape, noisy);
  const Parameters learned = tv_parameters();
  const BilevelProblem<double> problem(
      std::make_unique<ComposedEnergy<double>>(context, data.view(), learned), truth.view(), learned);
  UpperOptions options;
  options.max_iterations = 3;
  const auto maid = make_maid<double>(options);
  const auto run_with = [&](Observer& observer) {
    return maid->run(context, problem, learned.initial(), data.view(), observer).theta;
  };
  Throwing undisturbed;
  const std::vector<double> expected = run_with(undisturbed);
  const std::uint64_t memory = context.counters().bytes_allocated;
  ASSERT_GT(undisturbed.events, 8);
  for (int when = 1; when <= undisturbed.events; ++when) {
    Throwing observer;
    observer.when = when;
    EXPECT_THROW(run_with(observer), std::runtime_error) << when;
    EXPECT_LE(context.counters().bytes_allocated, memory) << when;
  }
  Throwing again;
  EXPECT_EQ(run_with(again), expected);
}

TEST(ObserverList, EveryObserverSeesEveryEvent) {
  struct Counting : Observer {
    bool answer = true;
    int iterations = 0, asked = 0, states = 0, alives = 0, ends = 0;
    bool iteration(const IterationRecord&) override { return ++iterations, answer; }
    bool wants_state(const IterationRecord&) override { return ++asked, answer; }
    void state(const UpperState&) override { ++states; }
    bool alive() override { return ++alives, answer; }
    void finished(const UpperReport&) override { ++ends; }
  } no, yes;
  no.answer = false;
  ObserverList list({&no, &yes});
  EXPECT_FALSE(list.iteration(record(0)));
  EXPECT_TRUE(list.wants_state(record(0)));
  list.state(state(0));
  EXPECT_FALSE(list.alive());
  list.finished({});
  for (const Counting* c : {&no, &yes}) {
    EXPECT_EQ(c->iterations, 1);
    EXPECT_EQ(c->asked, 1);
    EXPECT_EQ(c->states, 1);
    EXPECT_EQ(c->alives, 1);
    EXPECT_EQ(c->ends, 1);
  }
  EXPECT_STREQ(upper_status_name(UpperStatus::line_search_failed), "line_search_failed");
  EXPECT_STREQ(upper_status_name(UpperStatus::slow_progress), "slow_progress");
  EXPECT_STREQ(upper_status_name(UpperStatus::converged), "converged");
}

}  // namespace
}  // namespace bilevel_test
