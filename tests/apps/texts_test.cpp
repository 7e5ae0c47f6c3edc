// What the programs read from the command line and configuration files, and what they print when a number is
// not finite.

#include <algorithm>
#include <limits>
#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/run_output.hpp"
#include "apps/denoise/options.hpp"
#include "apps/mri/options.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/model/model_file.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app;
using bilevel::SolveStatus;
using bilevel::UpperStatus;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// A program run in this process.
template <class Parse, class Run>
Outcome call(const char* program, const std::vector<std::string>& arguments, Parse parse, Run run) {
  std::vector<const char*> argv{program};
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  std::ostringstream out, err;
  const int code = guarded(program, out, err,
                           [&] { return run(parse(static_cast<int>(argv.size()), argv.data()), out, err); });
  return {code, out.str(), err.str()};
}
Outcome denoise(const std::vector<std::string>& arguments) {
  return call("bilevel-denoise", arguments, denoise::parse, denoise::run);
}
Outcome mri(const std::vector<std::string>& arguments) {
  return call("bilevel-mri", arguments, mri::parse, mri::run);
}

void expect_refused(const Outcome& o, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(o.code, code) << o.out << o.err;
  EXPECT_EQ(lines_of(o.err).size(), 1u) << o.err;
  for (const std::string& part : parts)
    EXPECT_NE(o.err.find(part), std::string::npos) << part << ": " << o.err;
}

using Command = std::function<Outcome(const std::vector<std::string>&)>;

/// Commands that name data that is not there: what is wrong with an option is told first.
std::vector<Command> commands_with_seed() {
  const auto with = [](Outcome (*program)(const std::vector<std::string>&), std::vector<std::string> usual) {
    return [=](std::vector<std::string> more) {
      more.insert(more.begin(), usual.begin(), usual.end());
      return program(more);
    };
  };
  return {with(denoise, {"train", "--data", "/nowhere", "--out", "/nowhere/run"}),
          with(denoise, {"evaluate", "--model", "/nowhere/model.json", "--data", "/nowhere"}),
          with(denoise, {"check", "--data", "/nowhere"}),
          with(mri, {"learn", "--data", "/nowhere", "--out", "/nowhere/run", "--rate", "0.3"}),
          with(mri, {"baseline", "--data", "/nowhere", "--out", "/nowhere/run"}),
          with(mri, {"evaluate", "--run", "/nowhere/run", "--data", "/nowhere"})};
}

TEST(Numbers, SeedsAreWholeNumbersBelowTwoToThe64) {
  for (const Command& command : commands_with_seed()) {
    for (const char* bad :
         {"-1", "1.5", "1e3", "0x10", "010", "18446744073709551616", "99999999999999999999999", "5x", "nan"})
      expect_refused(command({std::string("--seed=") + bad}), 2,
                     {std::string("--seed ") + bad + ": use a whole number from 0 to 18446744073709551615"});
    for (const char* good : {"0", "7", "9223372036854775808", "18446744073709551615"}) {
      const Outcome o = command({"--seed", good});
      EXPECT_EQ(o.err.find("--seed"), std::string::npos) << o.err;
    }
  }
}

TEST(Numbers, CountsAreDecimal) {
  const std::vector<std::string> train{"train", "--data", "/nowhere", "--out", "/nowhere/run"};
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--images", "010"},
                                                        {"--images", "99999999999"},
                                                        {"--crop", "0x20"},
                                                        {"--crop", "32.5"},
                                                        {"--budget", "99999999999999999999"},
                                                        {"--max-iterations", "1e3"},
                                                        {"--threads", "08"},
                                                        {"--filters", "-07"}}) {
    std::vector<std::string> arguments = train;
    arguments.push_back(option + "=" + value);
    expect_refused(denoise(arguments), 2, {option + " " + value + ": use a whole number"});
  }
}

/// Seeds above 2^63 - 1 are other seeds, in the noise and in the model.
TEST(Numbers, LargeSeedsAreKept) {
  EXPECT_EQ(bilevel::option_text(seed_value(7)), "7");
  EXPECT_EQ(bilevel::option_text(seed_value(9223372036854775807u)), "9223372036854775807");
  EXPECT_EQ(bilevel::option_text(seed_value(18446744073709551615u)), "18446744073709551615");
  const char* argv[] = {"bilevel-denoise", "check", "--data", "x", "--seed", "18446744073709551615"};
  const auto options = std::get<denoise::CheckOptions>(denoise::parse(6, argv).command);
  EXPECT_EQ(options.data.seed, 18446744073709551615u);
}

TEST(Numbers, ThatAreNotFiniteAreNamed) {
  for (const auto& [number, text] : std::vector<std::pair<double, std::string>>{
           {std::nan(""), "nan"}, {infinity, "inf"}, {-infinity, "-inf"}})
    EXPECT_EQ(bilevel::option_text(number), text);
  for (const char* text : {"nan", "inf"}) {
    for (const char* option : {"--sigma", "--tolerance", "--time-limit", "--condition-penalty"})
      expect_refused(denoise({"train", "--data", "/nowhere", "--out", "/nowhere/run", option, text}), 2,
                     {std::string(option) + " " + text});
    for (const char* option : {"--rate", "--sigma", "--weight", "--tolerance"})
      expect_refused(mri({"learn", "--data", "/nowhere", "--out", "/nowhere/run", option, text}), 2,
                     {std::string(option) + " " + text});
  }
}

class Texts : public testing::Test {
 protected:
  void SetUp() override {
    bilevel::DenoiseModel model;
    model.parameters = bilevel::tv_parameters().segments();
    bilevel::write_model(folder_ / "model.json", model);
    data_ = photographs(folder_, "photos", 2, 16, 16);
  }
  Outcome configured(const std::string& text) {
    put_file(folder_ / "options.cfg", text);
    return denoise({"evaluate", "--config", folder_ / "options.cfg", "--data", data_, "--device", "cpu"});
  }
  TemporaryFolder folder_;
  std::string data_;
};

TEST_F(Texts, ConfigurationFilesMayHaveAByteOrderMarkAndOtherLineEnds) {
  const std::string lines[] = {"# comment", "model = " + (folder_ / "model.json"), "sigma = 0.1",
                               "[evaluate]", "seed=3"};
  std::string unix_text, windows_text;
  for (const std::string& line : lines) unix_text += line + "\n", windows_text += line + "\r\n";
  const Outcome plain = configured(unix_text);
  ASSERT_EQ(plain.code, 0) << plain.err;
  for (const std::string& text : {windows_text, "\xEF\xBB\xBF" + unix_text, "\xEF\xBB\xBF" + windows_text,
                                  windows_text.substr(0, windows_text.size() - 2)}) {
    const Outcome o = configured(text);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.out, plain.out);
  }
  std::string wide = "\xFF\xFE";
  for (const char c : unix_text) wide += c, wide += '\0';
  expect_refused(configured(wide), 3, {"options.cfg", "UTF-16", "UTF-8"});
  expect_refused(configured(unix_text + "seed = 1.5\n"), 2, {"options.cfg", "1.5", "whole number"});
  expect_refused(denoise({"evaluate", "--config", folder_.path(), "--data", data_}), 3,
                 {folder_.path(), "cannot be read"});
}

/// A noise level of 0 makes the noisy image exact: its PSNR is infinite.
TEST_F(Texts, ExactImagesHaveNoGainAndNoPartInTheMean) {
  const std::vector<std::string> arguments{
      "evaluate", "--model", folder_ / "model.json", "--data", data_, "--sigma", "0", "--device", "cpu"};
  const Outcome text = denoise(arguments);
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.out.find("nan"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("exact"), std::string::npos) << text.out;
  auto more = arguments;
  more.emplace_back("--json");
  const Json json = Json::parse(denoise(more).out);
  EXPECT_TRUE(json["mean"]["psnr_noisy"].is_null());
  EXPECT_EQ(json["mean"]["exact_noisy_images"], 2);
  EXPECT_FALSE(json["mean"].contains("exact_images"));
  EXPECT_NEAR(json["mean"]["psnr"].get<double>(),
              (json["images"][0]["psnr"].get<double>() + json["images"][1]["psnr"].get<double>()) / 2, 1e-12);
}

/// A constant image without noise is within the tolerance already: the reconstruction is exact, too.
void expect_exact(const std::string& model, const std::string& image) {
  const Outcome o =
      denoise({"evaluate", "--model", model, "--data", image, "--sigma", "0", "--device", "cpu"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out.find("nan"), std::string::npos) << o.out;
  std::istringstream row(lines_of(o.out).at(1));
  std::string name, size, noisy, denoised, gain;
  row >> name >> size >> noisy >> denoised >> gain;
  EXPECT_EQ(noisy, "exact") << o.out;
  EXPECT_EQ(denoised, "exact") << o.out;
  EXPECT_EQ(gain, "-") << o.out;
}
TEST_F(Texts, AConstantImageWithoutNoise) {
  const std::vector<std::size_t> shape{16, 16};
  bilevel::write_npy(folder_ / "const.npy", shape, std::span<const double>(std::vector<double>(256, 0.5)));
  expect_exact(folder_ / "model.json", folder_ / "const.npy");
}

TEST_F(Texts, InputsThatWereReadWrongly) {
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared || !fs::is_directory(*shared / "faults")) GTEST_SKIP() << "the shared faults are not here";
  expect_exact(folder_ / "model.json", *shared / "faults/nan_and_inf_texts/const.npy");
  const Outcome o = denoise({"apply", "--config", *shared / "faults/config_with_bom/c.cfg", "--model",
                             folder_ / "model.json", "--input", data_ + "/photo1.png", "--output",
                             folder_ / "o.png", "--device", "cpu", "--json"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("0.0001"), std::string::npos) << "the tolerance of the file: " << o.out;
}

TEST(Means, LeaveOutWhatIsExact) {
  const std::vector<double> values{20, infinity, 30, infinity};
  EXPECT_EQ(mean_psnr(values).value, 25);
  EXPECT_EQ(mean_psnr(values).exact, 2);
  EXPECT_EQ(mean_psnr(std::vector<double>{infinity}).value, infinity);
  EXPECT_EQ(mean_psnr(std::vector<double>{infinity}).exact, 1);
  EXPECT_TRUE(std::isnan(mean_psnr({}).value));
  EXPECT_TRUE(std::isnan(mean_psnr(std::vector<double>{1, std::nan("")}).value));
  EXPECT_EQ(psnr_text(27.125), "27.12");
  EXPECT_EQ(psnr_text(infinity), "exact");
  EXPECT_EQ(decibel_text(27.125), "27.12 dB");
  EXPECT_EQ(decibel_text(infinity), "exact");
  EXPECT_EQ(gain_text(20, 23.5), "+3.50");
  EXPECT_EQ(gain_text(infinity, infinity), "-");
  EXPECT_EQ(gain_text(infinity, 30), "-");
  EXPECT_EQ(gain_text(20, infinity), "-");
}

TEST(ExitCodes, OfEveryEndOfARun) {
  const std::vector<std::pair<UpperStatus, int>> table{
      {UpperStatus::stationary, 0},         {UpperStatus::converged, 0},
      {UpperStatus::slow_progress, 0},      {UpperStatus::accuracy_limit, 4},
      {UpperStatus::line_search_failed, 4}, {UpperStatus::max_iterations, 0},
      {UpperStatus::time_limit, 0},         {UpperStatus::budget, 0},
      {UpperStatus::interrupted, 130},      {UpperStatus::failed, 4}};
  ASSERT_EQ(table.size(), static_cast<std::size_t>(UpperStatus::failed) + 1);
  for (std::size_t k = 0; k < table.size(); ++k) {
    const auto& [status, code] = table[k];
    ASSERT_EQ(static_cast<std::size_t>(status), k);
    SCOPED_TRACE(bilevel::upper_status_name(status));
    EXPECT_EQ(exit_code(status, false), code);
    EXPECT_EQ(exit_code(status, true), status == UpperStatus::accuracy_limit ? 0 : code);
  }
}

TEST(ExitCodes, OfEveryEndOfASolve) {
  const std::vector<std::pair<SolveStatus, int>> table{
      {SolveStatus::converged, 0},        {SolveStatus::decided, 130}, {SolveStatus::iteration_cap, 4},
      {SolveStatus::rounding_limited, 4}, {SolveStatus::budget, 4},    {SolveStatus::failed, 4}};
  ASSERT_EQ(table.size(), static_cast<std::size_t>(SolveStatus::failed) + 1);
  for (std::size_t k = 0; k < table.size(); ++k) {
    ASSERT_EQ(static_cast<std::size_t>(table[k].first), k);
    EXPECT_EQ(exit_code(table[k].first), table[k].second) << bilevel::status_name(table[k].first);
  }
}

/// What the library and the system throw, as exit codes and one sentence.
TEST(ExitCodes, OfEveryException) {
  const auto code_of = [](const std::function<int()>& body) {
    std::ostringstream out, err;
    const int code = guarded("program", out, err, body);
    EXPECT_EQ(lines_of(err.str()).size(), 1u) << err.str();
    EXPECT_TRUE(err.str().starts_with("program: ") && err.str().ends_with(".\n")) << err.str();
    return code;
  };
  EXPECT_EQ(code_of([]() -> int { throw bilevel::ConfigError("x"); }), 2);
  EXPECT_EQ(code_of([]() -> int { throw bilevel::IoError("file", "x"); }), 3);
  EXPECT_EQ(code_of([]() -> int { throw bilevel::ShapeError("x"); }), 3);
  EXPECT_EQ(code_of([]() -> int { return fs::file_size("/nowhere") > 0; }), 3);
  EXPECT_EQ(code_of([]() -> int { throw bilevel::DeviceError("x"); }), 5);
  EXPECT_EQ(code_of([]() -> int { throw std::bad_alloc(); }), 5);
  EXPECT_EQ(code_of([]() -> int {
              std::vector<double>().reserve(~std::size_t{0});
              return 0;
            }),
            5);
  EXPECT_EQ(code_of([]() -> int { throw std::system_error(EAGAIN, std::generic_category()); }), 5);
  EXPECT_EQ(code_of([]() -> int { throw std::runtime_error("x"); }), 4);
}

/// Messages of the library name no option of a program: the words are checked where they are written.
TEST(LibraryTexts, NameNoOptions) {
  int files = 0;
  for (const char* folder : {"src", "include"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(BILEVEL_SOURCE_DIR) / folder)) {
      if (!entry.is_regular_file()) continue;
      ++files;
      int number = 0;
      for (const std::string& line : lines_of(get_file(entry.path()))) {
        ++number;
        const std::size_t at = line.find("--");
        const bool text =
            at != std::string::npos && at + 2 < line.size() &&
            std::islower(static_cast<unsigned char>(line[at + 2])) != 0 &&
            std::count(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at), '"') % 2 == 1;
        EXPECT_FALSE(text) << entry.path() << ":" << number << ": " << line;
      }
    }
  EXPECT_GT(files, 50);
}

}  // namespace
}  // namespace bilevel_test
