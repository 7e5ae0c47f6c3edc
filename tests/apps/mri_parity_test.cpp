// Learning a sampling pattern on CUDA ends where the CPU does.

#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

struct Choice {
  const char* pattern;
  const char* precision;
};
void PrintTo(const Choice& c, std::ostream* out) { *out << c.pattern << "_" << c.precision; }

class MriParity : public testing::TestWithParam<Choice> {};

/// The transforms of cuFFT and FFTW differ in their rounding, and a run that is cut short shows the way it
/// took: at a flat start a line search decides by the last bits. To the end, the stages and the result are
/// the same within what the tolerances leave open, the mask sample by sample.
TEST_P(MriParity, LearningOnCudaFollowsTheCpu) {
  if (const std::string reason = no_cuda(); !reason.empty()) GTEST_SKIP() << reason;
  TemporaryFolder folder;
  const std::string data = head_file(folder, "head.npy", 2, 16);
  const auto learn = [&](const std::string& out, const std::vector<std::string>& device) {
    std::vector<std::string> a{"learn",
                               "--data",
                               data,
                               "--out",
                               folder / out,
                               "--pattern",
                               GetParam().pattern,
                               "--precision",
                               GetParam().precision,
                               "--penalty",
                               "3e-3,3e-3",
                               "--sigma",
                               "0.01",
                               "--max-iterations",
                               "20"};
    a.insert(a.end(), device.begin(), device.end());
    const Outcome o = mri(a);
    // Single precision alone ends where it certifies no further step, with all files written.
    if (std::string(GetParam().precision) == "float" && o.code == 4)
      EXPECT_NE(o.err.find("certified"), std::string::npos) << o.err;
    else
      EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(get_file(fs::path(folder / out) / "summary.json"));
  };
  const Json cpu = learn("cpu", {"--device", "cpu", "--threads", "1"}),
             cuda = learn("cuda", {"--device", "cuda"});
  EXPECT_EQ(get_file(fs::path(folder / "cuda") / "images/mask.npy"),
            get_file(fs::path(folder / "cpu") / "images/mask.npy"));
  ASSERT_EQ(cuda["stages"].size(), cpu["stages"].size());
  const bool single = std::string(GetParam().precision) == "float";
  for (const char* part : {"relaxed", "binary"})
    EXPECT_NEAR(cuda["training"][part]["psnr"].get<double>(), cpu["training"][part]["psnr"].get<double>(),
                single ? 0.02 : 1e-3)
        << part;
}
INSTANTIATE_TEST_SUITE_P(Patterns, MriParity,
                         testing::Values(Choice{"lines", "double"}, Choice{"free", "double"},
                                         Choice{"lines", "float"}),
                         [](const testing::TestParamInfo<Choice>& choice) {
                           return std::string(choice.param.pattern) + "_" + choice.param.precision;
                         });

}  // namespace
}  // namespace bilevel_test
