// What a run tells besides its numbers: what helps where rounding ended it, what learning left at a bound, a
// reference that several files share, files of options that are missing.

#include <random>

#include "apps/common/run_output.hpp"
#include "bilevel/io/array_file.hpp"
#include "tests/apps/denoise_in_process.hpp"
#include "tests/apps/mri_in_process.hpp"

namespace bilevel_test {
namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class Advice : public testing::Test {
 protected:
  static constexpr int size = 32;
  void SetUp() override {
    photos_ = photographs(folder_, "photos", 2, size, size);
    std::mt19937 generator(3);
    const auto image = [&](const std::string& path, const auto& value) {
      bilevel::HostImage made{1, size, size, {}};
      for (int i = 0; i < size; ++i)
        for (int j = 0; j < size; ++j) made.pixels.push_back(value(i, j));
      bilevel::write_image(path, made);
    };
    image(noise_, [&](int, int) { return static_cast<double>(generator()) / 4294967295.0; });
    image(disc_, [](int i, int j) {
      return std::hypot(i - size / 3, j - size / 2) < size / 5 ? 0.8 : 0.3 + 0.2 * (i + 2 * j) / (3.0 * size);
    });
  }
  /// Of the first photograph, or what --data adds.
  Outcome train(const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> a{
        "train", "--data", photo_, "--out", folder_ / out, "--images", "1", "--crop", std::to_string(size)};
    if (std::count(more.begin(), more.end(), "--data") == 0) a.insert(a.end(), {"--data", photo_});
    a.insert(a.end(), more.begin(), more.end());
    return denoise_here(a);
  }
  /// A run that rounding ended says so once, and what helps.
  void expect_limit(const std::string& out, const Outcome& o, const std::string& options) {
    EXPECT_EQ(o.code, 4) << o.err;
    const Json summary = summary_of(folder_ / out);
    EXPECT_EQ(summary["status"], "accuracy_limit");
    const std::string message = summary["message"];
    EXPECT_TRUE(message.ends_with(" (" + options + ").")) << message;
    EXPECT_TRUE(holds(o.err, message)) << o.err;
    EXPECT_FALSE(holds(o.out, message)) << o.out;
    EXPECT_TRUE(holds(o.out, "loss ") || holds(o.out, "samples ")) << o.out;
  }

  TemporaryFolder folder_;
  std::string photos_, photo_ = folder_ / "photos/photo1.png", noise_ = folder_ / "noise.npy",
                       disc_ = folder_ / "disc.npy";
};

TEST_F(Advice, WhereSinglePrecisionIsTheLimit) {
  expect_limit("tgv", train("tgv", {"--model", "tgv2", "--precision", "float"}),
               "--precision mixed or double");
  expect_limit("blur", train("blur", {"--blur", "gaussian:1", "--precision", "float"}), "--precision double");
  const Outcome o =
      mri_here({"baseline", "--data", head_file(folder_, "head.npy", 1, 16), "--rate", "0.4", "--regulariser",
                "wavelet", "--precision", "float", "--tolerance", "1e-9", "--out", folder_ / "mri"});
  expect_limit("mri", o, "--precision mixed or double");
}

/// A reference without any edge of the image: the smoothing becomes small. What the run advises helps.
TEST_F(Advice, ASmoothingThatBecameSmall) {
  const std::vector<std::string> dtv{"--data",      disc_,  "--model",     "dtv",
                                     "--reference", noise_, "--tolerance", "1e-5"};
  const Outcome o = train("small", dtv);
  expect_limit("small", o, "--learn alpha --init nu=VALUE, or --tolerance");
  std::vector<std::string> advised = dtv;
  advised.insert(advised.end(), {"--learn", "alpha", "--init", "nu=0.01"});
  const Outcome fixed = train("fixed", advised);
  EXPECT_EQ(fixed.code, 0) << fixed.err;
  EXPECT_EQ(fixed.err, "");
}

TEST_F(Advice, NumbersAtTheirBounds) {
  const std::vector<bilevel::Segment> segments{
      {"alpha", bilevel::Transform::exp, 1, 1e-8, 1e3, true},
      {"nu", bilevel::Transform::exp, 1e-6, 1e-6, 1, true},
      {"xi", bilevel::Transform::exp, 1, 0.1, 1, false},
      {"s", bilevel::Transform::identity, 1, 0, 1, true, {2}, {0, 1}}};
  const auto notes = [&](double alpha, double nu) {
    const std::vector<double> theta{std::log(alpha), std::log(nu), 0, 1};
    return bilevel_app::bound_notes(bilevel::Parameters(segments), theta, [](const std::string& name) {
      return name == "nu" ? std::string("keep it") : std::string();
    });
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(notes(1, 1e-3), List());
  EXPECT_EQ(notes(1e3, 1e-6),
            (List{"alpha ended at its upper bound, 1000", "nu ended at its lower bound, 1e-06; keep it"}));
  EXPECT_EQ(notes(1.0001e-8, 1), (List{"nu ended at its upper bound, 1; keep it"}));
  const Outcome second = train("second", {"--data", disc_, "--model", "tv2"});
  EXPECT_EQ(second.err,
            "bilevel-denoise: nu ended at its lower bound, 0.0001; --learn alpha --init nu=VALUE keeps it "
            "fixed.\n");
  const Outcome o = mri_here({"baseline", "--data", head_file(folder_, "head.npy", 1, 12), "--rate", "0.4",
                              "--weight", "1000", "--tolerance", "10", "--out", folder_ / "mri"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(holds(o.err, "alpha ended at its upper bound, 1000.\n")) << o.err;
}

TEST_F(Advice, AReferenceOfSeveralFiles) {
  const std::string shared = "serves the images of 2 files";
  bilevel_app::DataOptions o;
  o.data = {photos_};
  o.reference = noise_;
  o.images = 2;
  o.crop = 16;
  const auto notes = [&] {
    std::string all;
    for (const std::string& text : bilevel_app::load_crops(o).notes) all += text + "\n";
    return all;
  };
  EXPECT_TRUE(holds(notes(), shared)) << notes();
  o.data = {photo_};  // crops of one scene
  EXPECT_FALSE(holds(notes(), shared)) << notes();
  ASSERT_EQ(train("run", {"--model", "dtv", "--reference", noise_, "--learn", "alpha"}).code, 0);
  const std::vector<std::string> usual{"--model", folder_ / "run/model.json", "--reference", noise_};
  const auto use = [&](std::vector<std::string> a) {
    a.insert(a.end(), usual.begin(), usual.end());
    return denoise_here(a).err;
  };
  EXPECT_TRUE(holds(use({"evaluate", "--data", photos_}), shared));
  EXPECT_TRUE(holds(use({"apply", "--input", photos_, "--output", folder_ / "out"}), shared));
  EXPECT_EQ(use({"apply", "--input", photo_, "--output", folder_ / "one.png"}), "");
}

TEST_F(Advice, FilesOfOptionsThatAreMissing) {
  const auto refused = [&](const Outcome& o, int code, const std::string& begin) {
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_EQ(lines_of(o.err).size(), 1u) << o.err;
    EXPECT_TRUE(o.err.starts_with(begin)) << o.err;
  };
  const std::string missing = folder_ / "missing.npy", program = "bilevel-denoise: ";
  refused(train("run", {"--model", "dtv", "--reference", missing}), 3,
          program + "--reference " + missing + ": ");
  refused(train("run", {"--blur", missing}), 3, program + "--blur " + missing + ": ");
  refused(train("run", {"--mask", missing}), 3, program + "--mask " + missing + ": ");
  for (const char* command : {"apply", "evaluate"})
    refused(denoise_here({command, "--blur", "gaussian:1"}), 2, program + "--blur is kept by model.json");
  const std::string small = folder_ / "small.npy";
  bilevel::write_image(small, {1, 8, 8, std::vector<double>(64, 1.0)});
  const Outcome o = train("run", {"--mask", small});
  refused(o, 3, program + small);
  EXPECT_TRUE(holds(o.err, "give one of their size")) << o.err;
}

/// Masks and runs of another size than k-space.
TEST_F(Advice, MasksOfAnotherSize) {
  const std::string data = head_file(folder_, "head.npy", 1, 12), scan = folder_ / "scan.npy";
  const Complexes values(256, 1.0);
  bilevel::write_npy(scan, std::vector<std::size_t>{16, 16}, std::span<const std::complex<double>>(values));
  ASSERT_EQ(mri_here({"baseline", "--data", data, "--rate", "0.4", "--out", folder_ / "run"}).code, 0);
  const auto refused = [&](const std::vector<std::string>& more, const std::string& remedy) {
    std::vector<std::string> a{"reconstruct", "--kspace", scan, "--output", folder_ / "out.png"};
    a.insert(a.end(), more.begin(), more.end());
    const Outcome o = mri_here(a);
    EXPECT_EQ(o.code, 3) << o.err;
    expect_one_sentence(o, "bilevel-mri");
    EXPECT_TRUE(holds(o.err, remedy)) << o.err;
  };
  refused({"--run", folder_ / "run"}, "(--size or --crop-to there), or another mask with --mask");
  refused({"--mask", folder_ / "run/images/mask.npy"}, "give another mask, [16,16]");
}

}  // namespace
}  // namespace bilevel_test
