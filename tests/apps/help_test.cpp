#include "bilevel/core/version.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

const std::vector<std::string> kCommon{"--device",  "--threads", "--precision", "--config", "--quiet",
                                       "--verbose", "--json",    "--help",      "--version"};

void expect_options(const char* command, std::vector<std::string> options) {
  options.insert(options.end(), kCommon.begin(), kCommon.end());
  const Outcome o = run({command, "--help"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.err, "");
  for (const std::string& option : options) {
    const auto at = o.out.find(option);
    ASSERT_NE(at, std::string::npos) << command << " " << option;
    const char after = o.out[at + option.size()];
    EXPECT_TRUE(after == ' ' || after == '\n') << command << " " << option;
  }
  EXPECT_NE(o.out.find("Example:"), std::string::npos) << command;
  EXPECT_LT(o.out.size(), 9200u) << command;
}

TEST(Help, ListsTheContract) {
  expect_options("train", {"--data",
                           "--noisy",
                           "--mask",
                           "--model",
                           "--potential",
                           "--xi-inside-alpha",
                           "--blur",
                           "--wavelet",
                           "--levels",
                           "--filters",
                           "--filter-size",
                           "--padding",
                           "--filter-init",
                           "--free-mean",
                           "--test-data",
                           "--test-every",
                           "--learn",
                           "--reference",
                           "--edge-eta",
                           "--init",
                           "--sigma",
                           "--images",
                           "--crop",
                           "--algorithm",
                           "--schedule",
                           "--compat",
                           "--errors",
                           "--bound",
                           "--epsilon-down",
                           "--epsilon-up",
                           "--delta-down",
                           "--delta-up",
                           "--accuracies",
                           "--radius0",
                           "--radius-end",
                           "--max-evaluations",
                           "--batch",
                           "--epochs",
                           "--step-rule",
                           "--step-decay",
                           "--accuracy-decay",
                           "--check-every",
                           "--check-gradient",
                           "--hypergradient",
                           "--unrolled-steps",
                           "--unrolled-step",
                           "--unrolled-method",
                           "--unrolled-memory",
                           "--update",
                           "--out",
                           "--resume",
                           "--seed",
                           "--max-iterations",
                           "--min-progress",
                           "--time-limit",
                           "--budget",
                           "--epsilon0",
                           "--delta0",
                           "--step0",
                           "--rho",
                           "--rho-up",
                           "--nu",
                           "--nu-up",
                           "--eta",
                           "--lambda",
                           "--max-backtracks",
                           "--non-monotone",
                           "--tolerance",
                           "--scaling",
                           "--solver",
                           "--linear-solver",
                           "--condition-penalty",
                           "--log10"});
  expect_options("apply", {"--model", "--input", "--output", "--tolerance", "--luma", "--bits", "--mask",
                           "--reference", "--solver"});
  expect_options("evaluate", {"--model", "--save", "--data", "--noisy", "--sigma", "--images", "--crop",
                              "--mask", "--reference", "--seed", "--tolerance", "--solver"});
  expect_options("check", {"--model", "--model-type", "--data", "--sigma", "--images", "--crop", "--seed",
                           "--potential", "--learn", "--init", "--reference"});
}

TEST(Help, OfTheProgramNamesTheCommandsAndExitCodes) {
  const Outcome o = run({"--help"});
  EXPECT_EQ(o.code, 0);
  for (const char* part : {"train", "apply", "evaluate", "check", "130 interrupted", "Example:"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part;
}

TEST(Help, VersionNamesLibraryBackEndsAndDevice) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--version"}, {"train", "--version"}}) {
    const Outcome o = run(arguments);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(lines_of(o.out).at(0), "bilevel " BILEVEL_VERSION);
    for (const char* part : {"cpu: ", "instruction set", "cuda: ", "device auto: "})
      EXPECT_NE(o.out.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace bilevel_test
