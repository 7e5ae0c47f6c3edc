// The pattern of one run under the regulariser of another: baseline --pattern given.

#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

TEST(MriGivenPattern, IsTakenAsItIsWithAWeightOfItsOwn) {
  const TemporaryFolder folder;
  const std::string data = head_file(folder, "head.npy", 2, 24);
  const auto run = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> a{"baseline", "--data", data, "--out", folder / out, "--max-iterations", "8"};
    a.insert(a.end(), more.begin(), more.end());
    return mri_here(a);
  };
  const auto refused = [&](const Outcome& o, const std::string& part) {
    EXPECT_EQ(o.code, 2) << o.err;
    expect_one_sentence(o, "bilevel-mri");
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  ASSERT_EQ(run("vds", {"--pattern", "lines-vds", "--rate", "0.4"}).code, 0);
  const std::vector<std::string> given{"--pattern", "given", "--from", folder / "vds"};
  auto h1 = given;
  h1.insert(h1.end(), {"--regulariser", "h1"});
  const Outcome o = run("h1", h1);
  ASSERT_EQ(o.code, 0) << o.err;
  const Json of_vds = Json::parse(get_file(folder / "vds/model.json")),
             of_h1 = Json::parse(get_file(folder / "h1/model.json"));
  EXPECT_EQ(of_h1["regulariser"], "h1");
  for (const char* file : {"images/mask.png", "images/mask.npy"})
    EXPECT_EQ(get_file(folder / ("vds/" + std::string(file))),
              get_file(folder / ("h1/" + std::string(file))));
  EXPECT_NE(of_vds["theta"]["alpha"], of_h1["theta"]["alpha"]);

  auto small = given;
  small.insert(small.end(), {"--size", "16"});
  refused(run("small", small), "24x24, the images are of 16x16; use --size or --crop-to");
  auto rate = given;
  rate.insert(rate.end(), {"--rate", "0.3"});
  refused(run("rate", rate), "--rate");
  refused(run("nothing", {"--pattern", "given"}), "--from");
  refused(run("idle", {"--pattern", "vds", "--from", folder / "vds"}), "--from");
  auto missing = given;
  missing.back() = folder / "nowhere";
  const Outcome none = run("none", missing);
  EXPECT_EQ(none.code, 3) << none.err;
  EXPECT_NE(none.err.find("nowhere"), std::string::npos) << none.err;
}

}  // namespace
}  // namespace bilevel_test
