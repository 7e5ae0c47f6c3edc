// bilevel-experiments: options, lists, runs from end to end, reports.

#include "apps/experiments/options.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/result_file.hpp"
#include "bilevel/core/version.hpp"
#include "tests/apps/in_process.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app::experiments;

Outcome plain(const std::vector<std::string>& arguments) {
  return called("bilevel-experiments", arguments, parse, bilevel_app::experiments::run);
}
Outcome on_the_device(const std::vector<std::string>& arguments) {
  return in_process("bilevel-experiments", arguments, parse, bilevel_app::experiments::run);
}

void expect_refused(const std::vector<std::string>& arguments, const std::string& part, int code = 2) {
  const Outcome o = plain(arguments);
  EXPECT_EQ(o.code, code) << o.err;
  EXPECT_NE(o.err.find(part), std::string::npos) << part << ": " << o.err;
  expect_one_sentence(o, "bilevel-experiments");
}

TEST(ExperimentOptions, HelpHasExamples) {
  const Outcome all = plain({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const char* part : {"list", "run", "report", "130 interrupted", "Examples:"})
    EXPECT_NE(all.out.find(part), std::string::npos) << part;
  const Outcome run = plain({"run", "--help"});
  for (const char* part :
       {"--quick", "--out", "--device", "--threads", "--seed", "--data", "--json", "Examples:"})
    EXPECT_NE(run.out.find(part), std::string::npos) << part;
  EXPECT_NE(plain({"report", "--help"}).out.find("Example:"), std::string::npos);
  EXPECT_EQ(lines_of(plain({"--version"}).out).at(0), "bilevel " BILEVEL_VERSION);
}

TEST(ExperimentOptions, AreRead) {
  const std::vector<const char*> argv{
      "bilevel-experiments", "run", "e14",    "E2", "E14",      "--quick", "--out", "there",
      "--threads",           "2",   "--seed", "7",  "--device", "cpu"};
  const Options options = parse(static_cast<int>(argv.size()), argv.data());
  const auto& run = std::get<RunOptions>(options.command);
  EXPECT_TRUE(run.quick);
  EXPECT_EQ(run.out, "there");
  EXPECT_EQ(run.common.threads, 2);
  EXPECT_EQ(run.common.seed, 7u);
  const std::vector<Experiment> wanted = chosen(run.names);
  ASSERT_EQ(wanted.size(), 2u);
  EXPECT_EQ(wanted[0].id + wanted[1].id, "E14E2");
  EXPECT_EQ(chosen({"all"}).size(), experiments().size());
}

TEST(ExperimentOptions, BadOnesAreRefused) {
  std::string known;
  for (const Experiment& e : experiments()) known += (known.empty() ? "" : ", ") + e.id;
  expect_refused({}, "no command");
  expect_refused({"run"}, "needs the name");
  expect_refused({"run", "E99"}, "'E99' is unknown; use " + known + " or all");
  expect_refused({"run", ""}, "'' is unknown");
  expect_refused({"run", "E5"}, "--data PATH");
  expect_refused({"run", "E4"}, "--data FOLDER");
  for (const char* published : {"E7", "E8", "E10"})
    expect_refused({"run", published, "--seed", "3"}, "--seed");
  expect_refused({"run", "E2", "--seed", "4294967296"}, "below 2^32");
  expect_refused({"run", "E2", "--seed", "-1"}, "--seed");
  expect_refused({"run", "E2", "--data", "photos"}, "--data");
  expect_refused({"run", "E2", "--threads", "two"}, "--threads");
  expect_refused({"run", "E2", "--threads", "-1"}, "--threads");
  expect_refused({"run", "E2", "--out", ""}, "--out is empty");
  expect_refused({"run", "E2", "--precision", "float"}, "--precision");
  expect_refused({"run", "E2", "--device", "abacus"}, "abacus");
  expect_refused({"report"}, "folder of results");
  expect_refused({"report", "/nowhere/at/all"}, "/nowhere/at/all", 3);
}

TEST(ExperimentOptions, FoldersThatCannotBeWrittenAreRefused) {
  const TemporaryFolder folder;
  put_file(folder / "file", "content");
  expect_refused({"run", "E14", "--quick", "--device", "cpu", "--out", folder / "file"}, folder / "file", 3);
  expect_refused({"run", "E14", "--quick", "--device", "cpu", "--out", "/proc/nothing"}, "/proc/nothing", 3);
  EXPECT_EQ(get_file(folder / "file"), "content");
  expect_refused({"report", folder.path().string()}, "holds no results", 3);
  EXPECT_EQ(tree(folder.path()), std::vector<std::string>{"file"});
}

TEST(Experiments, AreListed) {
  const Outcome o = plain({"list"});
  EXPECT_EQ(o.code, 0);
  for (const Experiment& e : experiments()) EXPECT_NE(o.out.find(e.id + " "), std::string::npos) << e.id;
}

TEST(Experiments, AQuickRunEndsInAPage) {
  const TemporaryFolder folder;
  const std::string out = folder / "new/results";
  const Outcome first = on_the_device({"run", "E2", "--quick", "--out", out});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(tree(out), (std::vector<std::string>{"E2", "E2/curves.svg", "E2/result.json", "index.html"}));
  EXPECT_NE(first.out.find("page: " + out + "/index.html"), std::string::npos) << first.out;
  EXPECT_NE(first.err.find("E2: dynamic from 1e-03, gradient steps"), std::string::npos) << first.err;
  const SavedResult saved = read_result(fs::path(out) / "E2" / "result.json");
  int certificates = 0;
  for (const Row& row : saved.result.rows)
    if (row.quantity.ends_with("smallest")) {
      EXPECT_EQ(row.verdict, Verdict::reproduced) << row.quantity << " " << row.why;
      ++certificates;
    }
  EXPECT_EQ(certificates, 2);
  EXPECT_EQ(saved.result.curves.at(0).series.at(0).x.size(), 601u);
  EXPECT_TRUE(saved.command.starts_with("bilevel-experiments run E2 --quick")) << saved.command;

  const std::string page = get_file(fs::path(out) / "index.html");
  fs::remove(fs::path(out) / "index.html");
  EXPECT_EQ(plain({"report", out}).code, 0);
  EXPECT_EQ(get_file(fs::path(out) / "index.html"), page);

  // the same numbers again, as JSON, beside a result that was there
  SavedResult other = saved;
  other.id = "E14";
  write_result(out, other);
  const Outcome again = on_the_device({"run", "E2", "--quick", "--json", "--quiet", "--out", out});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.err, "");
  const Json json = Json::parse(again.out);
  EXPECT_EQ(json.at(0).at("rows"), to_json(saved).at("rows"));
  EXPECT_EQ(json.at(0).at("curves"), to_json(saved).at("curves"));
  EXPECT_NE(get_file(fs::path(out) / "index.html").find("<h2 id=\"E14\">"), std::string::npos);

  // other draws
  const Outcome seeded =
      on_the_device({"run", "E2", "--quick", "--json", "--quiet", "--seed", "1", "--out", out});
  EXPECT_NE(Json::parse(seeded.out).at(0).at("rows"), to_json(saved).at("rows"));
  EXPECT_NE(seeded.out.find("--seed 1"), std::string::npos);
}

TEST(Experiments, PhotographsAreTakenFromAFolder) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 2, 64, 70);
  const Outcome o =
      on_the_device({"run", "E5", "--quick", "--json", "--quiet", "--data", data, "--out", folder / "out"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json result = Json::parse(o.out).at(0);
  EXPECT_EQ(result.at("rows").at(0).at("verdict"), "reproduced") << result.at("rows").at(0);
  EXPECT_NE(o.out.find("photo2.png"), std::string::npos);
  EXPECT_EQ(
      plain({"run", "E5", "--quick", "--device", "cpu", "--data", folder / "none", "--out", folder / "out"})
          .code,
      3);
}

/// Rows of a result by the quantity.
Json row_of(const Json& result, const std::string& quantity) {
  for (const Json& row : result.at("rows"))
    if (row.at("quantity") == quantity) return row;
  ADD_FAILURE() << quantity;
  return {{"ours", 0}, {"verdict", ""}};
}
Json quick_run(const std::string& id, const std::string& out, const std::string& data = {}) {
  std::vector<std::string> arguments{"run", id, "--quick", "--json", "--quiet", "--out", out};
  if (!data.empty()) arguments.insert(arguments.end(), {"--data", data});
  const Outcome o = on_the_device(arguments);
  EXPECT_EQ(o.code, 0) << o.err;
  return o.code == 0 ? Json::parse(o.out).at(0) : Json{{"rows", Json::array()}};
}

TEST(Experiments, GeneralisedVariationLiesBetweenItsLimits) {
  const TemporaryFolder folder;
  const Json result = quick_run("E12", folder / "out", photographs(folder, "photos", 1, 64, 70));
  for (const char* image : {"piecewise affine", "photo1.png"})
    for (const char* factor : {"0.1", "10"}) {
      const Json row = row_of(result, std::string(image) + ": loss with alpha0 x " + factor +
                                          ", alpha1 learned anew, over the least one");
      EXPECT_EQ(row.at("verdict"), "reproduced") << row;
    }
  EXPECT_GT(row_of(result, "piecewise affine: tgv2 over tv, dB").at("ours"), 0.0);
  EXPECT_EQ(tree(folder / "out"),
            (std::vector<std::string>{"E12", "E12/curves.svg", "E12/image-1.png", "E12/image-2.png",
                                      "E12/result.json", "index.html"}));
}

TEST(Experiments, RegularisersHaveTheirOrder) {
  const TemporaryFolder folder;
  const Json result = quick_run("E13", folder / "out", photographs(folder, "photos", 4, 64, 70));
  for (const char* quantity :
       {"tv over h1, dB", "tikhonov, the next worst being 0, dB",
        "alpha = 0.001: relative distance to the data", "nu = 10: relative distance to h1 with alpha / nu",
        "xi = 1 beside alpha = 0.1: mean over that of the data",
        "xi = 1 inside alpha = 0.1: mean over that of the data"})
    EXPECT_EQ(row_of(result, quantity).at("verdict"), "reproduced") << row_of(result, quantity);
  EXPECT_TRUE(fs::exists(folder / "out/E13/models-1.png"));
  const Outcome one = plain({"run", "E13", "--quick", "--device", "cpu", "--data",
                             photographs(folder, "one", 1, 64, 64), "--out", folder / "out"});
  EXPECT_EQ(one.code, 2) << one.err;
}

TEST(Experiments, SamplingPatternsAreBetterThanOthers) {
  const TemporaryFolder folder;
  const auto shared = bilevel::testing_support::shared_folder();
  const std::string volume =
      shared ? (*shared / "data/mri/nifti/colin27_slab_z058-099.nii.gz").string() : std::string();
  const Json result = quick_run("E11", folder / "out", volume);
  EXPECT_GT(row_of(result, ".1: weight at full sampling, median of the draws").at("ours"), 0.02);
  EXPECT_EQ(
      row_of(result, ".4: largest rise of the rate from one penalty to the next larger one").at("verdict"),
      "reproduced");
  EXPECT_TRUE(fs::exists(folder / "out/E11/sparsity.png"));
  if (volume.empty()) GTEST_SKIP() << "The slices are absent: set BILEVEL_SHARED.";
  for (const char* quantity : {".2: learned over variable density, dB", ".6: learned over uniform, dB"})
    EXPECT_GT(row_of(result, quantity).at("ours"), 0.0) << row_of(result, quantity);
  EXPECT_LT(row_of(result, ".3: solves of learned lines over those of greedy ones").at("ours"), 1.0);
  EXPECT_GT(row_of(result, ".8: lines of 64 x 64: learned over variable density, dB").at("ours"), 0.0);
  for (const char* quantity :
       {".9: largest difference of 1 + xi times a pixel from zero filling, alpha extrapolated to 0",
        ".9: least loss inside over the lesser one of the ends"})
    EXPECT_EQ(row_of(result, quantity).at("verdict"), "reproduced") << row_of(result, quantity);
}

TEST(Experiments, ExpertsOfMaidNeverGetWorse) {
  const TemporaryFolder folder;
  const Json result = quick_run("E6", folder / "out", photographs(folder, "photos", 4, 64, 70));
  EXPECT_EQ(
      row_of(result, "MAID: iterations with a loss certainly above that of the one before, exact to 1e-6")
          .at("verdict"),
      "reproduced");
}

TEST(Experiments, WeightsVanishWithTheNoise) {
  const TemporaryFolder folder;
  const Json result = quick_run("E9", folder / "out", photographs(folder, "photos", 2, 64, 70));
  const Json alpha =
      row_of(result, "alpha at a level over that at ten times the noise, the largest down to 1e-4");
  EXPECT_EQ(alpha.at("verdict"), "reproduced") << alpha;
  // The noise falls by 20 dB, and what denoising gains falls with it.
  const double gain =
      row_of(result, "PSNR gained by a tenth of the noise, the least down to 1e-4, dB").at("ours");
  EXPECT_GT(gain, 10);
  EXPECT_LT(gain, 20);
}

TEST(Experiments, DamagedResultsStopARunBeforeItBegins) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "E2");
  put_file(folder / "E2/result.json", "{\"id\": \"E2\"");
  expect_refused({"run", "E14", "--quick", "--device", "cpu", "--out", folder.path().string()},
                 "E2/result.json: the result is damaged", 3);
  expect_refused({"report", folder.path().string()}, "E2/result.json: the result is damaged", 3);
  EXPECT_FALSE(fs::exists(folder / "E14"));
}

TEST(Experiments, ASignalEndsARunAndKeepsWhatIsFinished) {
  const TemporaryFolder folder;
  Process process(
      {"run", "E2", "E7", "--quick", "--device", "cpu", "--threads", "1", "--out", folder.path().string()});
  while (process.running() && !fs::exists(folder / "index.html"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  process.signal(SIGINT);
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 130) << o.err;
  EXPECT_EQ(lines_of(o.err).back(),
            "bilevel-experiments: interrupted; the results that were finished are in " +
                folder.path().string() + ".");
  EXPECT_EQ(tree(folder.path()),
            (std::vector<std::string>{"E2", "E2/curves.svg", "E2/result.json", "index.html"}));
}

TEST(Experiments, QuickOnesDoNotReplaceFullResults) {
  const TemporaryFolder folder;
  SavedResult full;
  full.id = "E14";
  write_result(folder.path(), full);
  expect_refused({"run", "E14", "--quick", "--device", "cpu", "--out", folder.path().string()},
                 "full result of E14");
}

/// The quick form on one thread of the CPU, or on the device of the tests.
Result quick_result(const std::string& id, const std::vector<std::string>& data = {}) {
  const Settings settings{bilevel::Device::open(bilevel::testing_support::test_device("cpu:1")), 0, true,
                          data, [](const std::string&) {}};
  return chosen({id}).front().run(settings);
}
const Row& row_of(const Result& result, const std::string& quantity) {
  for (const Row& row : result.rows)
    if (row.quantity == quantity) return row;
  throw std::runtime_error("there is no row '" + quantity + "'");
}
double ours(const Result& result, const std::string& quantity) {
  return row_of(result, quantity).ours.value();
}
/// What was not reproduced, for messages.
std::string missed(const Result& result) {
  std::string text;
  for (const Row& row : result.rows)
    if (row.verdict == Verdict::not_reproduced) text += row.quantity + ": " + row.why + "\n";
  return text;
}

TEST(Experiments, ErrorsPrescribedInAdvanceAreKept) {
  const Result result = quick_result("E1");
  EXPECT_EQ(missed(result), "");
  EXPECT_EQ(result.curves.size(), 5u);
}

TEST(Experiments, BoundsBeforeAndAfterHold) {
  const Result result = quick_result("E3");
  EXPECT_EQ(missed(result), "");
  EXPECT_EQ(result.rows.size(), 12u);
}

// The data of the published raw results, to the digits of an independent computation.

TEST(Experiments, OneParameterHasThePublishedOptimum) {
  const Result result = quick_result("E7");
  EXPECT_NEAR(ours(result, "exact least f"), 1.37148883335, 2e-9);
  EXPECT_NEAR(ours(result, "its log10 alpha"), -0.3149213, 1e-5);
  EXPECT_NEAR(ours(result, "zero differences over the border, maid from 0: f"), 1.43226270188, 2e-8);
  EXPECT_NEAR(ours(result, "zero differences over the border, maid from 0: log10 alpha"), -0.3280525, 1e-4);
}

TEST(Experiments, ThreeParametersHaveTheOptimumAtTheBound) {
  const Result result = quick_result("E8");
  for (const auto& [beta, f, alpha, nu] : {std::tuple{"beta 1e-06: ", 2.8268742, -.41090, -2.51207},
                                           std::tuple{"beta 1e-04: ", 4.9796784, -.55268, -1.88479}}) {
    const std::string name = beta;
    EXPECT_NEAR(ours(result, name + "exact least f"), f, 1e-6 * f);
    EXPECT_NEAR(ours(result, name + "its log10 alpha"), alpha, 1e-3);
    EXPECT_EQ(ours(result, name + "its log10 xi, at its bound -7"), -7);
    EXPECT_NEAR(ours(result, name + "its log10 nu"), nu, 1e-3);
    for (const char* method : {"maid: f", "lbfgsb: f"})
      EXPECT_EQ(row_of(result, name + method).verdict, Verdict::reproduced) << name << method;
  }
  // of the stored theta itself, which here has three decimals
  for (const auto& [row, f] :
       {std::pair{"beta 1e-06: f at the stored theta (FISTA, dynamic accuracy)", 2.880614},
        std::pair{"beta 1e-06: f at the stored theta (GD, dynamic accuracy)", 2.852537},
        std::pair{"beta 1e-04: f at the stored theta (GD, 10000 iterations)", 5.004061}})
    EXPECT_NEAR(ours(result, row), f, 3e-4) << row;
}

TEST(Experiments, SamplingWeightsHaveThePublishedPattern) {
  const Result result = quick_result("E10");
  EXPECT_EQ(missed(result), "");
  EXPECT_NEAR(ours(result, "f at the start, theta = 0.5"), 4.1610939, 1e-6);
  EXPECT_NEAR(ours(result, "lbfgsb: f"), .4782751223, 1e-7);
}

std::string big_endian(int value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

/// Images 5 x 4 of three classes that differ in which pixels are bright, as idx files.
void put_digits(const TemporaryFolder& folder, const std::string& name, int count, unsigned seed) {
  std::mt19937 shared(17), own(seed);
  std::vector<unsigned> bright(3 * 20);
  for (unsigned& b : bright) b = static_cast<unsigned>(shared() % 2);
  std::string pixels, labels;
  for (int j = 0; j < count; ++j) {
    const int label = j % 3;
    labels += static_cast<char>(label);
    for (int p = 0; p < 20; ++p)
      pixels += static_cast<char>(40 + 60 * bright[static_cast<std::size_t>(20 * label + p)] + own() % 110);
  }
  const std::string head(2, '\0'), number = big_endian(count);
  put_file(folder / (name + "-images-idx3-ubyte"),
           head + "\x08\x03" + number + big_endian(5) + big_endian(4) + pixels);
  put_file(folder / (name + "-labels-idx1-ubyte"), head + "\x08\x01" + number + labels);
}

TEST(Experiments, DigitsAreTakenFromAFolder) {
  const TemporaryFolder folder;
  put_digits(folder, "train", 400, 1);
  put_digits(folder, "val", 90, 2);
  const Result result = quick_result("E4", {folder.path().string()});
  EXPECT_EQ(missed(result), "");
  EXPECT_NE(result.notes.at(0).find("90 for the test"), std::string::npos) << result.notes.at(0);

  put_digits(folder, "train", 399, 1);
  expect_refused(
      {"run", "E4", "--quick", "--device", "cpu", "--data", folder.path().string(), "--out", folder / "out"},
      "it holds 399 samples, but E4 takes 400", 3);
  fs::remove(folder / "val-labels-idx1-ubyte");
  expect_refused(
      {"run", "E4", "--quick", "--device", "cpu", "--data", folder.path().string(), "--out", folder / "out"},
      "val-labels-idx1-ubyte", 3);
}

TEST(Experiments, DataGoToThoseThatNeedThem) {
  const TemporaryFolder folder;
  put_digits(folder, "train", 3, 1);
  const std::string digits = folder.path().string();
  EXPECT_EQ(of_kind(DataKind::digits, {"photos", digits}), std::vector<std::string>{digits});
  EXPECT_EQ(of_kind(DataKind::photographs, {"photos", digits}), std::vector<std::string>{"photos"});
  EXPECT_TRUE(of_kind(DataKind::none, {"photos", digits}).empty());
  EXPECT_TRUE(digit_files(digits).test_labels.ends_with("/val-labels-idx1-ubyte"));
  put_digits(folder, "t10k", 3, 1);
  EXPECT_TRUE(digit_files(digits).test_labels.ends_with("/t10k-labels-idx1-ubyte"));
  expect_refused({"run", "E4", "--data", "photos"}, "E4 needs digits; give --data FOLDER");
  expect_refused({"run", "E5", "--data", digits}, "E5 needs photographs; give --data PATH");
}

}  // namespace
}  // namespace bilevel_test
