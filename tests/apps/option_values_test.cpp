// Empty values, numbers with something behind them, masks of every type, and outputs that are inputs.

#include "apps/common/image_data.hpp"
#include "apps/denoise/options.hpp"
#include "apps/mri/options.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/model/parameters.hpp"
#include "tests/apps/in_process.hpp"

namespace bilevel_test {
namespace {

Outcome denoise(const std::vector<std::string>& arguments) {
  return called("bilevel-denoise", arguments, bilevel_app::denoise::parse, bilevel_app::denoise::run);
}
Outcome mri(const std::vector<std::string>& arguments) {
  return called("bilevel-mri", arguments, bilevel_app::mri::parse, bilevel_app::mri::run);
}

void expect_refused(const Outcome& o, const std::string& part, int code = 2) {
  EXPECT_EQ(o.code, code) << o.out << o.err;
  EXPECT_EQ(lines_of(o.err).size(), 1u) << o.err;
  EXPECT_NE(o.err.find(part), std::string::npos) << part << ": " << o.err;
  EXPECT_EQ(o.err.find(".."), std::string::npos) << o.err;
}

using Program = Outcome (*)(const std::vector<std::string>&);
struct Usual {
  Program program;
  std::vector<std::string> arguments;
  std::vector<std::string> options;
};
std::vector<Usual> usual() {
  return {
      {denoise,
       {"train", "--data", "/nowhere", "--out", "/nowhere/run"},
       {"--sigma", "--mask", "--config", "--noisy", "--device", "--test-data", "--padding", "--images"}},
      {mri,
       {"learn", "--data", "/nowhere", "--out", "/nowhere/run"},
       {"--rate", "--sigma", "--penalty", "--config", "--crop-to", "--slices", "--precision"}},
      {mri, {"reconstruct", "--kspace", "/nowhere", "--output", "x.png"}, {"--mask", "--run", "--scale"}}};
}

TEST(OptionValues, EmptyOnesAreRefused) {
  const TemporaryFolder folder;
  for (const Usual& u : usual())
    for (const std::string& option : u.options) {
      SCOPED_TRACE(option);
      std::vector<std::string> a = u.arguments;
      a.insert(a.end(), {option, ""});
      expect_refused(u.program(a), option + " is empty");
      if (option == "--config") continue;
      for (const char* value : {"", "\"\""}) {
        put_file(folder / "options.cfg", option.substr(2) + " = " + value + "\n");
        a = u.arguments;
        a.insert(a.end(), {"--config", folder / "options.cfg"});
        expect_refused(u.program(a), option + " is empty");
      }
    }
}

TEST(OptionValues, NumbersEndWhereTheyEnd) {
  for (const char* bad : {"0,1", "35%", "0.1x", "0x1p-3", "1e", "+-1", " ", "1e-999", "."})
    for (const Usual& u : usual()) {
      std::vector<std::string> a = u.arguments;
      const std::string option = a[0] == "train" ? "--sigma" : a[0] == "learn" ? "--rate" : "--scale";
      a.push_back(option + "=" + bad);
      expect_refused(u.program(a), option + " " + bad + ": use a number such as 0.35.");
    }
  for (const char* good : {"0.1", "+0.1", ".1", "1e-1", "1"}) {
    const Outcome o = denoise({"train", "--data", "/nowhere", "--out", "/nowhere/run", "--sigma", good});
    EXPECT_EQ(o.err.find("--sigma"), std::string::npos) << o.err;
  }
  EXPECT_EQ(mri({"learn", "--data", "/nowhere", "--out", "/nowhere/run", "--penalty", "1e-3,1e-4"})
                .err.find("--penalty"),
            std::string::npos);
}

/// A .npy file written here byte by byte.
template <class T>
std::string npy(const std::string& path, const char* type, const std::string& shape,
                const std::vector<T>& values) {
  std::string header =
      std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  header += '\n';
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(118) + '\0' + header;
  for (const T value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  put_file(path, bytes);
  return path;
}

TEST(Masks, OfZeroAndOneAreReadInEveryType) {
  const TemporaryFolder folder;
  const std::vector<double> wanted{0, 1, 1, 0, 1, 1};
  const auto values = [&wanted]<class T>(T one) {
    std::vector<T> v;
    for (const double w : wanted) v.push_back(w == 0 ? T{0} : one);
    return v;
  };
  bilevel::write_image(folder / "ones.png", {1, 2, 3, {0, 1 / 255., 1 / 255., 0, 1 / 255., 1 / 255.}});
  bilevel::write_image(folder / "white.png", {1, 2, 3, wanted});
  const std::string shape = "(2, 3)";
  const std::vector<std::pair<std::string, std::size_t>> files{
      {npy(folder / "b1.npy", "|b1", shape, values(std::uint8_t{1})), 0},
      {npy(folder / "u1.npy", "|u1", shape, values(std::uint8_t{1})), 1},
      {npy(folder / "u1full.npy", "|u1", shape, values(std::uint8_t{255})), 0},
      {npy(folder / "u2.npy", "<u2", shape, values(std::uint16_t{1})), 1},
      {npy(folder / "i1.npy", "|i1", shape, values(std::int8_t{1})), 0},
      {npy(folder / "i8.npy", "<i8", shape, values(std::int64_t{1})), 0},
      {npy(folder / "u8.npy", "<u8", shape, values(std::uint64_t{1})), 0},
      {npy(folder / "f4.npy", "<f4", shape, values(1.0F)), 0},
      {npy(folder / "f8.npy", "<f8", shape, values(1.0)), 0},
      {npy(folder / "grey.npy", "<f8", shape, values(0.75)), 1},
      {folder / "ones.png", 1},
      {folder / "white.png", 0}};
  for (const auto& [file, count] : files) {
    SCOPED_TRACE(file);
    std::vector<std::string> notes;
    EXPECT_EQ(bilevel_app::load_mask(file, 2, 3, notes), wanted);
    EXPECT_EQ(notes.size(), count);
  }
  const auto refused = [](const std::string& file, const std::string& part) {
    std::vector<std::string> notes;
    try {
      static_cast<void>(bilevel_app::load_mask(file, 2, 3, notes));
      ADD_FAILURE() << file;
    } catch (const bilevel::IoError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused(npy(folder / "i8full.npy", "<i8", shape, values(std::int64_t{255})), "are 0 to 255; store 0 and 1");
  refused(npy(folder / "f8two.npy", "<f8", shape, values(2.0)), "are 0 to 2; store 0 and 1");
  refused(npy(folder / "negative.npy", "<f8", shape, values(-1.0)), "are -1 to 0; store 0 and 1");
  refused(npy(folder / "none.npy", "|u1", shape, values(std::uint8_t{0})), "no pixel would be measured");
  refused(npy(folder / "turned.npy", "<i8", "(3, 2)", values(std::int64_t{1})),
          "the images have 3 x 2 pixels");
}

class ApplyOutput : public testing::Test {
 protected:
  void SetUp() override {
    bilevel::DenoiseModel model;
    model.parameters = bilevel::tv_parameters().segments();
    bilevel::write_model(folder_ / "model.json", model);
    fs::copy(folder_ / "model.json", folder_ / "model.png");
    for (const char* name : {"in", "out"}) fs::create_directories(folder_ / name);
    for (const char* name : {"in/a.png", "in/b.png", "mask.png"})
      bilevel::write_image(folder_ / name, photograph(8, 8, 1));
    put_file(folder_ / "options.png", "bits = 8\n");
  }
  void refused(const std::string& output, const std::string& what, std::vector<std::string> inputs) {
    SCOPED_TRACE(output);
    const std::string names[] = {"in/a.png", "in/b.png", "mask.png", "options.png", "model.png"};
    std::vector<std::string> before, after;
    for (const std::string& name : names) before.push_back(get_file(folder_ / name));
    std::vector<std::string> a{"apply",
                               "--model",
                               folder_ / "model.png",
                               "--mask",
                               folder_ / "mask.png",
                               "--config",
                               folder_ / "options.png",
                               "--output",
                               folder_ / output,
                               "--device",
                               "cpu",
                               "--input"};
    for (const std::string& input : inputs) a.push_back(folder_ / input);
    const Outcome o = denoise(a);
    expect_refused(o, "would replace");
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    for (const std::string& name : names) after.push_back(get_file(folder_ / name));
    EXPECT_EQ(before, after);
  }
  TemporaryFolder folder_;
};

TEST_F(ApplyOutput, IsNoInput) {
  fs::create_symlink(folder_ / "mask.png", folder_ / "link.png");
  fs::create_hard_link(folder_ / "in/a.png", folder_ / "hard.png");
  fs::create_hard_link(folder_ / "in/b.png", folder_ / "out/a.png");
  refused("mask.png", "--mask", {"in/a.png"});
  refused("link.png", "--mask", {"in/a.png"});
  refused("options.png", "--config", {"in/a.png"});
  refused("model.png", "--model", {"in/a.png"});
  refused("hard.png", "in/a.png", {"in/a.png"});
  refused("in", "in/a.png", {"in/a.png", "in/b.png"});
  refused("out", "in/b.png", {"in/a.png", "in/b.png"});  // the result of the first is the second
  refused("out", "in/b.png", {"in"});
}

TEST_F(ApplyOutput, MayReplaceEarlierResultsAndLieInTheFolderOfTheInputs) {
  for (int k = 0; k < 2; ++k) {
    const Outcome o = denoise({"apply", "--model", folder_ / "model.json", "--input", folder_ / "in",
                               "--output", folder_ / "in/denoised", "--device", "cpu"});
    EXPECT_EQ(o.code, 0) << o.err;
  }
  expect_refused(denoise({"apply", "--model", folder_ / "model.json", "--input", folder_ / "in/a.png",
                          "--output", "/dev/full", "--device", "cpu"}),
                 "it is no folder, and its extension", 3);
}

TEST(PairedImages, OnDifferentScalesAreRefused) {
  const TemporaryFolder folder;
  bilevel::HostImage image = photograph(16, 16, 1);
  bilevel::write_image(folder / "clean.png", image);
  for (double& v : image.pixels) v *= 255;
  bilevel::write_image(folder / "noisy.npy", image);
  const Outcome o = denoise({"train", "--data", folder / "clean.png", "--noisy", folder / "noisy.npy",
                             "--out", folder / "run", "--images", "1", "--crop", "16", "--device", "cpu"});
  expect_refused(o, "are on another scale than those of " + (folder / "clean.png"), 3);
}

}  // namespace
}  // namespace bilevel_test
