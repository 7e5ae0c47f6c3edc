#include "bilevel/core/version.hpp"
#include "tests/apps/learn_test_support.hpp"

namespace bilevel_test {
namespace {

void expect_options(const char* command, std::vector<std::string> options) {
  for (const char* common : {"--device", "--threads", "--precision", "--config", "--quiet", "--verbose",
                             "--json", "--help", "--version"})
    options.push_back(common);
  const Outcome o = learn({command, "--help"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.err, "");
  for (const std::string& option : options) {
    EXPECT_TRUE(o.out.find(option + " ") != std::string::npos ||
                o.out.find(option + "\n") != std::string::npos)
        << command << " " << option;
  }
  EXPECT_NE(o.out.find("Example:"), std::string::npos) << command;
  EXPECT_EQ(o.out.find("mixed"), std::string::npos) << command;
  EXPECT_LT(o.out.size(), 7200u) << command;
}

TEST(LearnHelp, ListsTheContract) {
  expect_options("train", {"--train-data",
                           "--train-labels",
                           "--validation-data",
                           "--validation-labels",
                           "--train",
                           "--validation",
                           "--classes",
                           "--bias",
                           "--corrupt",
                           "--block-rows",
                           "--upper-matrix",
                           "--upper-vector",
                           "--lower-matrix",
                           "--shift-matrix",
                           "--lower-vector",
                           "--learn",
                           "--ridge",
                           "--init",
                           "--out",
                           "--resume",
                           "--max-iterations",
                           "--min-progress",
                           "--time-limit",
                           "--budget",
                           "--algorithm",
                           "--schedule",
                           "--compat",
                           "--tolerance",
                           "--epsilon0",
                           "--delta0",
                           "--rho",
                           "--nu",
                           "--eta",
                           "--lambda",
                           "--scaling",
                           "--solver",
                           "--linear-solver",
                           "--seed"});
  expect_options("evaluate", {"--model", "--data", "--labels"});
  expect_options("apply", {"--model", "--data", "--output"});
}

TEST(LearnHelp, OfTheProgramNamesTheCommandsAndExitCodes) {
  const Outcome o = learn({"--help"});
  EXPECT_EQ(o.code, 0);
  for (const char* part : {"train", "evaluate", "apply", "130 interrupted", "Example:"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part;
  EXPECT_EQ(lines_of(learn({"--version"}).out).at(0), "bilevel " BILEVEL_VERSION);
  const Outcome none = learn({});
  EXPECT_EQ(none.code, 2);
  expect_one_sentence(none, "bilevel-learn");
}

TEST(LearnHelp, OptionsMayStandInAFile) {
  const TemporaryFolder folder;
  const Pictures pictures;
  pictures.put(folder, "train", 30, 1);
  put_file(folder / "options.ini", "learn = samples\nridge = 0.02\nmax-iterations = 1\nvalidation = 9\n");
  const Outcome o =
      learn_here({"train", "--train-data", folder / "train-images", "--train-labels", folder / "train-labels",
                  "--config", folder / "options.ini", "--out", folder / "run", "--ridge", "0.04", "--quiet"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "");
  const Json model = Json::parse(get_file(folder / "run/model.json"));
  EXPECT_EQ(model["training"]["ridge"], 0.04);  // the command line wins
  EXPECT_EQ(model["training"]["validation"], 9);
  EXPECT_EQ(model["theta"][1]["value"], 0.08);  // xi/2 |W|^2
}

}  // namespace
}  // namespace bilevel_test
