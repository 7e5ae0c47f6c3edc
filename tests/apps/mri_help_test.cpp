#include "bilevel/core/version.hpp"
#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

const std::vector<std::string> kCommon{"--device",  "--threads", "--precision", "--config", "--quiet",
                                       "--verbose", "--json",    "--help",      "--version"};
const std::vector<std::string> kTraining{
    "--data",      "--slices",         "--axis",       "--size",    "--sensitivities",
    "--sigma",     "--image",          "--weight",     "--nu",      "--test-slices",
    "--test-data", "--regulariser",    "--potential",  "--xi",      "--out",
    "--resume",    "--max-iterations", "--time-limit", "--budget",  "--tolerance",
    "--epsilon0",  "--delta0",         "--rho",        "--nu-down", "--accuracy",
    "--solver",    "--linear-solver",  "--seed",       "--wavelet", "--levels"};

void expect_options(const char* command, const std::vector<std::vector<std::string>>& lists) {
  const Outcome o = mri({command, "--help"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.err, "");
  for (const auto& list : lists)
    for (const std::string& option : list) {
      const auto at = o.out.find(option);
      ASSERT_NE(at, std::string::npos) << command << " " << option;
    }
  EXPECT_NE(o.out.find("Example:"), std::string::npos) << command;
  EXPECT_LT(o.out.size(), 9500u) << command;
}

TEST(MriHelp, ListsTheContract) {
  expect_options("learn", {kCommon,
                           kTraining,
                           {"--pattern", "--penalty", "--rate", "--map", "--spokes", "--algorithm",
                            "--schedule", "--compat", "--learn-weight", "--rate-runs"}});
  expect_options("baseline", {kCommon, kTraining, {"--pattern", "--rate", "--groups", "--draws", "--power"}});
  expect_options("reconstruct", {kCommon,
                                 {"--kspace", "--mask", "--regulariser", "--weight", "--output", "--run",
                                  "--sensitivities", "--slice", "--scale", "--tolerance"}});
  expect_options("evaluate", {kCommon, {"--run", "--data", "--slices", "--sigma", "--save", "--seed"}});
}

TEST(MriHelp, OfTheProgramNamesTheCommandsAndExitCodes) {
  const Outcome o = mri({"--help"});
  EXPECT_EQ(o.code, 0);
  for (const char* part : {"learn", "baseline", "reconstruct", "evaluate", "130 interrupted", "Example:"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part;
  EXPECT_EQ(lines_of(mri({"--version"}).out).at(0), "bilevel " BILEVEL_VERSION);
}

}  // namespace
}  // namespace bilevel_test
