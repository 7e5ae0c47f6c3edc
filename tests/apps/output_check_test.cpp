#include "apps/common/output_check.hpp"

#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

using bilevel_app::require_output_is_no_input;

class OutputCheck : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_ / name; }
  /// The sentence of the refusal, empty when there is none.
  std::string refusal(const std::string& output, const std::string& input) const {
    try {
      require_output_is_no_input({"--output", file(output)},
                                 {{"--mask", ""}, {"--kspace", file("other")}, {"--input", file(input)}});
    } catch (const bilevel::ConfigError& error) {
      return error.what();
    }
    return {};
  }
  TemporaryFolder folder_;
};

TEST_F(OutputCheck, EveryNameOfAFile) {
  put_file(file("a.npy"), "a");
  put_file(file("b.npy"), "a");
  fs::create_symlink("a.npy", file("soft.npy"));
  fs::create_hard_link(file("a.npy"), file("hard.npy"));
  fs::create_symlink(folder_.path(), file("here"));
  for (const char* output : {"a.npy", "soft.npy", "hard.npy", "./a.npy", "here/a.npy"}) {
    const std::string text = refusal(output, "a.npy");
    for (const std::string& part : {std::string("--output ") + file(output), std::string("--input")})
      EXPECT_NE(text.find(part), std::string::npos) << output << ": " << text;
    EXPECT_NE(refusal("a.npy", output), "") << output;
  }
  for (const char* output : {"b.npy", "new.npy", "nowhere/new.npy"})
    EXPECT_EQ(refusal(output, "a.npy"), "") << output;
  EXPECT_EQ(refusal("new.npy", "missing.npy"), "");
}

TEST_F(OutputCheck, PairsAndFolders) {
  for (const char* name : {"k.cfl", "k.hdr", "run/model.json", "run/images/mask.png", "other.png"}) {
    fs::create_directories(fs::path(file(name)).parent_path());
    put_file(file(name), name);
  }
  fs::create_symlink("k.cfl", file("data.npy"));
  fs::create_symlink("k.hdr", file("header.npy"));
  for (const char* input : {"k", "k.cfl", "k.hdr"})
    for (const char* output : {"data.npy", "header.npy"})
      EXPECT_NE(refusal(output, input).find("--input"), std::string::npos) << input << " " << output;
  EXPECT_NE(refusal("run/images/mask.png", "run"), "");
  EXPECT_EQ(refusal("run/images/new.png", "run"), "");
  EXPECT_EQ(refusal("other.png", "run"), "");
  EXPECT_EQ(refusal("k.cfl", "k.npy"), "");
}

/// Each file that bilevel-mri reconstruct reads is as before.
TEST_F(OutputCheck, Reconstruct) {
  const Complexes ones(64, 1.0);
  const std::vector<std::size_t> shape{8, 8}, coils{1, 8, 8};
  bilevel::write_npy(file("k.npy"), shape, std::span<const std::complex<double>>(ones));
  bilevel::write_npy(file("maps.npy"), coils, std::span<const std::complex<double>>(ones));
  bilevel::write_npy(file("mask.npy"), shape, std::span<const double>(std::vector<double>(64, 1.0)));
  fs::create_directories(file("run/images"));
  put_file(file("run/images/strip.png"), "of the run");
  put_file(file("options.png"), "weight = 0.1\n");
  const std::vector<std::string> usual{"reconstruct", "--kspace", file("k.npy")};
  const auto expect_refused = [&](const std::string& option, const std::string& value,
                                  const std::string& output) {
    auto a = usual;
    if (option != "--kspace") a.insert(a.end(), {option, value});
    a.insert(a.end(), {"--output", output});
    const std::string before = get_file(output);
    const Outcome o = mri_here(a);
    EXPECT_EQ(o.code, 2) << option << ": " << o.err;
    for (const std::string& part : {option, std::string("--output ") + output})
      EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
    EXPECT_EQ(get_file(output), before) << option;
  };
  expect_refused("--kspace", "", file("k.npy"));
  expect_refused("--mask", file("mask.npy"), file("mask.npy"));
  expect_refused("--sensitivities", file("maps.npy"), file("maps.npy"));
  expect_refused("--run", file("run"), file("run/images/strip.png"));
  expect_refused("--config", file("options.png"), file("options.png"));
}

}  // namespace
}  // namespace bilevel_test
