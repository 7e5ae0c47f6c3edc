#include "apps/mri/training_run.hpp"

#include <csignal>
#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app;

/// A signal during the final reconstructions: they are not what the run would have reported.
TEST(TrainingRun, ASignalBeforeItsReportLeavesNoResult) {
  const TemporaryFolder folder;
  const std::string data = photographs(folder, "photos", 1, 16, 16), out = folder / "run";
  const std::vector<const char*> arguments{"bilevel-mri", "baseline", "--data",  data.c_str(),
                                           "--size",      "16",       "--out",   out.c_str(),
                                           "--device",    "cpu",      "--sigma", "0.01"};
  const auto options = std::get<mri::BaselineOptions>(
      mri::parse(static_cast<int>(arguments.size()), arguments.data()).command);
  for (const bool signal : {true, false}) {
    SCOPED_TRACE(signal);
    const InterruptGuard guard;
    std::ostringstream output, errors;
    mri::BaselineOptions o = options;
    o.run.resume = !signal;
    mri::TrainingRun run(o, "baseline", {}, output, errors);
    const mri::MriModel model = run.model(bilevel::PatternKind::free, 64, std::vector<double>(256, 1.0));
    mri::StageResult stage;
    stage.message = "Done.";
    if (signal) std::raise(SIGINT);
    EXPECT_EQ(run.conclude(model, {}, stage, Json::object()), signal ? exit_interrupted : exit_ok);
    const Json summary = Json::parse(get_file(out + "/summary.json"));
    EXPECT_EQ(summary["status"], signal ? "interrupted" : "stationary");
    EXPECT_EQ(summary.contains("training"), !signal);
    EXPECT_EQ(fs::exists(out + "/model.json"), !signal);
    EXPECT_EQ(fs::exists(out + "/images"), !signal);
  }
}

}  // namespace
}  // namespace bilevel_test
