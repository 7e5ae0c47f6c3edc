#include <limits>

#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

/// Good data, a good run and good k-space; what is wrong is added by each test. Nothing may be left of a
/// failed command.
class MriBadInput : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = head_file(*folder_, "head.npy", 4, 16);
    complex_ = head_file(*folder_, "complex.npy", 2, 16, true);
    const Outcome o = mri(on_device_or_one_thread(
        {"baseline", "--pattern", "largest", "--rate", "0.4", "--data", data_, "--out", file("run")}));
    ASSERT_EQ(o.code, 0) << o.err;
    const auto image = head(1, 16);
    write_hdf5(file("scan.h5"), "kspace", {1, 16, 16},
               centred_kspace(Complexes(image.begin(), image.end()), 1, 16));
    put_file(file("not-a-model/model.json"), "");
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }

  /// Fails with `code` and one sentence that contains every part; the folder's tree is as before.
  void refused(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& parts) {
    const auto before = tree(folder_->path());
    const Outcome o = mri(arguments);
    std::string shown;
    for (const std::string& a : arguments) shown += a + " ";
    SCOPED_TRACE(shown);
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_EQ(o.out, "");
    expect_one_sentence(o, "bilevel-mri");
    for (const std::string& part : parts)
      EXPECT_NE(o.err.find(part), std::string::npos) << part << " in " << o.err;
    EXPECT_EQ(tree(folder_->path()), before);
  }
  static std::vector<std::string> with(std::vector<std::string> a, const std::vector<std::string>& more) {
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static std::vector<std::string> learn(const std::vector<std::string>& more,
                                        const std::vector<std::string>& data = {}) {
    auto a = with({"learn", "--out", file("new/run")}, more);
    return with(a, data.empty() ? std::vector<std::string>{"--data", data_} : with({"--data"}, data));
  }
  static std::vector<std::string> rate(const std::vector<std::string>& more,
                                       const std::vector<std::string>& data = {}) {
    return learn(with({"--rate", "0.3"}, more), data);
  }
  static std::vector<std::string> reconstruct(const std::vector<std::string>& more) {
    return with({"reconstruct", "--output", file("out.png")}, more);
  }

  static TemporaryFolder* folder_;
  static std::string data_, complex_;
};
TemporaryFolder* MriBadInput::folder_ = nullptr;
std::string MriBadInput::data_, MriBadInput::complex_;

TEST_F(MriBadInput, Options) {
  refused({}, 2, {"one command is needed"});
  refused({"learn"}, 2, {"--data PATH"});
  refused({"learn", "--data", data_}, 2, {"--out RUN_DIR"});
  refused(learn({}), 2, {"--penalty B1[,B2] or --rate R"});
  refused(learn({"--penalty", "-1"}), 2, {"--penalty -1", "negative"});
  refused(learn({"--penalty", "0.1,-2"}), 2, {"--penalty -2"});
  refused(learn({"--penalty", "nan"}), 2, {"penalties"});
  for (const char* r : {"0", "-0.1", "1.5", "nan"}) refused(learn({"--rate", r}), 2, {"--rate", "fraction"});
  refused(learn({"--rate", "nan"}), 2, {"--rate nan"});
  refused(learn({"--rate", "0.06", "--pattern", "lines"}), 2,
          {"--rate 0.06", "16 groups", "at least 0.0625"});
  refused(learn({"--rate", "0.003"}), 2, {"--rate 0.003", "256 groups", "0.00390625"});
  refused(rate({"--rate-runs", "0"}), 2, {"--rate-runs 0"});
  for (const char* size : {"0", "-3", "8x", "x8", "8x8x8", "full", "99999"})
    refused(rate({"--crop-to", size}), 2, {std::string("--crop-to ") + size, "recon"});
  refused(rate({"--crop-to", "recon"}), 2, {"--crop-to recon", "k-space"});
  refused(rate({"--crop-to", "12x17"}), 3, {"head.npy", "16 x 16", "12x17"});
  refused(rate({"--pattern", "spiral"}), 2, {"spiral", "radial"});
  refused(rate({"--map", "cubic"}), 2, {"--map cubic", "direct"});
  refused(rate({"--map", "rational", "--pattern", "radial"}), 2, {"overlap"});
  refused(rate({"--spokes", "0"}), 2, {"--spokes 0"});
  refused(rate({"--regulariser", "foe"}), 2, {"--regulariser foe", "--experts"});
  refused(rate({"--regulariser", "lasso"}), 2, {"--regulariser lasso", "tv, tv-aniso, tv2, h1, tikhonov"});
  refused(rate({"--regulariser", "h1", "--nu", "0.1"}), 2, {"--nu", "smoothing"});
  refused(rate({"--regulariser", "tikhonov", "--potential", "huber_c2"}), 2, {"--potential", "smoothing"});
  refused(rate({"--potential", "l1"}), 2, {"l1"});
  for (const char* option : {"--weight", "--nu", "--xi", "--tolerance", "--accuracy"})
    refused(rate({option, "0"}), 2, {option});
  refused(rate({"--sigma", "-0.1"}), 2, {"--sigma -0.1"});
  refused(rate({"--size", "1"}), 2, {"--size 1"});
  refused(rate({"--axis", "oblique"}), 2, {"oblique", "sagittal"});
  refused(rate({"--image", "quaternion"}), 2, {"--image quaternion"});
  refused(rate({"--algorithm", "adam"}), 2, {"--algorithm adam", "lbfgsb"});
  refused(rate({"--solver", "sgd"}), 2, {"--solver sgd"});
  refused(rate({"--budget", "-1"}), 2, {"--budget -1"});
  refused(rate({"--time-limit", "-1"}), 2, {"--time-limit -1"});
  refused(rate({"--max-iterations", "0"}), 2, {"--max-iterations 0"});
  refused(rate({"--surprise", "1"}), 2, {"--surprise"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--pattern", "hexagonal"}, 2,
          {"hexagonal", "greedy"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--rate", "2"}, 2, {"--rate 2"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--pattern", "lines-lowpass", "--rate", "0.01"},
          2, {"keeps none"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--pattern", "columns-vds", "--power", "1"}, 2,
          {"power 1", "keeps 8 of 16", "a rate of at least 0.5"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--draws", "0"}, 2, {"--draws 0"});
  refused({"evaluate", "--data", data_}, 2, {"--run RUN_DIR"});
  refused({"reconstruct", "--kspace", file("scan.h5")}, 2, {"--output IMAGE"});
}

TEST_F(MriBadInput, OptionsWithoutEffect) {
  refused(rate({"--spokes", "8"}), 2, {"--spokes", "radial"});
  refused(rate({"--starts", "2", "--no-exchange"}), 2, {"--starts"});
  refused(learn({"--penalty", "1", "--rate-runs", "2"}), 2, {"--rate-runs", "--rate"});
  const auto baseline = [](const char* pattern, const char* option, const char* value) {
    return std::vector<std::string>{"baseline", "--data", data_, "--out",     file("new"), "--rate",
                                    "0.3",      option,   value, "--pattern", pattern};
  };
  refused(baseline("vds", "--groups", "columns"), 2, {"--groups", "greedy"});
  refused(baseline("greedy", "--spokes", "8"), 2, {"--spokes", "radial"});
  for (const char* option : {"--draws", "--power", "--radius"})
    for (const char* pattern : {"lowpass", "columns-uniform", "greedy"})
      refused(baseline(pattern, option, "1"), 2, {option, "vds"});
  refused({"baseline", "--data", data_, "--out", file("new"), "--rate", "1e-9"}, 2, {"--rate 1e-09", "256"});
}

TEST_F(MriBadInput, Data) {
  refused(rate({}, {file("missing.npy")}), 3, {"missing.npy"});
  refused(rate({}, {file("missing.nii.gz")}), 3, {"missing.nii.gz"});
  fs::create_directories(file("empty"));
  refused(rate({}, {file("empty")}), 3, {"empty"});
  refused(rate({"--slices", "2:9"}), 2, {"--slices 2:9: ", "head.npy holds 4 slice"});
  refused(rate({"--test-slices", "2:9"}), 2, {"--test-slices 2:9: ", "head.npy holds 4 slice"});
  for (const char* option : {"--slices", "--test-slices"})
    refused(rate({option, "1:x"}), 2, {std::string(option) + ": ", "1:x"});
  refused(rate({"--image", "real"}, {complex_}), 2, {"--image real", "complex"});
  const auto write = [&](const std::string& name, int size, double value) {
    const std::vector<double> pixels(static_cast<std::size_t>(size) * size, value);
    const auto n = static_cast<std::size_t>(size);
    bilevel::write_npy(file(name), std::vector<std::size_t>{n, n}, std::span<const double>(pixels));
    return file(name);
  };
  refused(rate({}, {write("zero.npy", 16, 0)}), 3, {"zero"});
  refused(rate({}, {write("nan.npy", 16, std::nan(""))}), 3, {"nan.npy", "NaN"});
  refused(rate({}, {data_, write("larger.npy", 20, 1)}), 3, {"larger.npy", "--size"});
  refused(rate({"--test-data", file("larger.npy")}), 3, {"held-out", "--size"});
  write_nifti(file("flat.nii"), 8, 8, 2, std::vector<double>(128, 0.0));
  refused(rate({}, {file("flat.nii")}), 3, {"flat.nii"});
  write_nifti(file("none.nii"), 8, 8, 0, {});
  refused(rate({}, {file("none.nii")}), 3, {"none.nii"});
  put_file(file("cut.nii"), get_file(file("flat.nii")).substr(0, 500));
  refused(rate({}, {file("cut.nii")}), 3, {"cut.nii"});
}

TEST_F(MriBadInput, Kspace) {
  std::vector<std::complex<float>> values(256, {1, 0});
  write_hdf5(file("other.h5"), "signal", {1, 16, 16}, values);
  refused(rate({}, {file("other.h5")}), 3, {"other.h5", "kspace", "signal"});
  refused(reconstruct({"--kspace", file("other.h5")}), 3, {"signal"});
  values[7] = {0, std::numeric_limits<float>::infinity()};
  write_hdf5(file("infinite.h5"), "kspace", {1, 16, 16}, values);
  refused(rate({}, {file("infinite.h5")}), 3, {"infinite.h5"});
  refused(reconstruct({"--kspace", file("infinite.h5")}), 3, {"infinite.h5"});
  refused(rate({}, {file("scan.h5"), data_}), 2, {"k-space and images"});
  refused(rate({"--size", "20"}, {file("scan.h5")}), 3, {"--size 20"});
  refused(rate({"--crop-to", "12", "--size", "13"}, {file("scan.h5")}), 3, {"12 x 12", "--size 13"});
  refused(rate({"--crop-to", "20x12"}, {file("scan.h5")}), 3, {"16 x 16", "12 x 20"});
  refused(rate({"--crop-to", "recon"}, {file("scan.h5")}), 3, {"scan.h5", "--crop-to ROWSxCOLUMNS"});
  refused(rate({"--slices", "1:2"}, {file("scan.h5")}), 2, {"--slices 1:2", "slice 0"});
  refused(rate({"--image", "real"}, {file("scan.h5")}), 2, {"--image real"});
}

TEST_F(MriBadInput, SensitivityMaps) {
  const auto maps = [&](const std::string& name, std::size_t coils, std::size_t size,
                        std::complex<double> value) {
    const Complexes values(coils * size * size, value);
    bilevel::write_npy(file(name), std::vector<std::size_t>{coils, size, size},
                       std::span<const std::complex<double>>(values));
    return file(name);
  };
  refused(rate({"--sensitivities", maps("two.npy", 2, 16, 1)}, {file("scan.h5")}), 3,
          {"2 sensitivity maps", "1 coil"});
  refused(rate({"--sensitivities", maps("small.npy", 1, 12, 1)}, {file("scan.h5")}), 3,
          {"small.npy", "12 x 12"});
  refused(rate({"--sensitivities", maps("small2.npy", 2, 12, 1)}), 3, {"small2.npy", "12 x 12"});
  refused(rate({"--sensitivities", maps("nothing.npy", 1, 16, 0)}, {file("scan.h5")}), 3, {"zero"});
  for (const double value : {1e-200, 1e200})
    refused(rate({"--sensitivities", maps("far.npy", 1, 16, value)}, {file("scan.h5")}), 3,
            {"far.npy", "about 1"});
  refused(rate({"--sensitivities", maps("nan.npy", 1, 16, std::nan(""))}, {file("scan.h5")}), 3, {"NaN"});
  refused(rate({"--sensitivities", file("missing.npy")}, {file("scan.h5")}), 3, {"missing.npy"});
  put_file(file("sets.hdr"), "# Dimensions\n16 16 1 1 2\n");
  put_file(file("sets.cfl"), std::string(2 * 256 * 8, '?'));
  for (const std::string& data : {data_, file("scan.h5")})
    refused(rate({"--sensitivities", file("sets.cfl")}, {data}), 3, {"2 sets of 1", "bart slice 4 0"});
}

TEST_F(MriBadInput, Reconstruct) {
  const std::vector<std::string> scan{"--kspace", file("scan.h5")};
  const auto mask = [&](const std::string& name, std::size_t size, double value) {
    const std::vector<double> values(size * size, value);
    bilevel::write_npy(file(name), std::vector<std::size_t>{size, size}, std::span<const double>(values));
    return file(name);
  };
  refused(reconstruct(with(scan, {"--mask", mask("mask20.npy", 20, 1)})), 3,
          {"mask20.npy", "[20,20]", "16 x 16"});
  refused(reconstruct(with(scan, {"--mask", mask("none.npy", 16, 0)})), 3, {"none.npy", "no frequency"});
  refused(reconstruct(with(scan, {"--mask", mask("nan.npy", 16, std::nan(""))})), 3, {"nan.npy", "NaN"});
  refused(reconstruct(with(scan, {"--mask", file("mask20.npy"), "--run", file("run")})), 2, {"--mask"});
  refused(reconstruct(with(scan, {"--weight", "0.1", "--run", file("run")})), 2, {"--weight"});
  refused(reconstruct(with(scan, {"--weight", "-1"})), 2, {"--weight"});
  refused(reconstruct(with(scan, {"--slice", "1"})), 2, {"--slice 1", "slice 0"});
  refused(with({"reconstruct", "--output", file("out.tif")}, scan), 2, {"out.tif", ".npy"});
  refused(with({"reconstruct", "--output", file("nowhere/out.png")}, scan), 3, {"nowhere"});
  refused(reconstruct(with(scan, {"--run", file("missing")})), 3, {"missing/model.json"});
  const auto image = head(1, 12);
  auto small = centred_kspace(Complexes(image.begin(), image.end()), 1, 12);
  write_hdf5(file("small.h5"), "kspace", {1, 12, 12}, small);
  refused(reconstruct({"--kspace", file("small.h5"), "--run", file("run")}), 3, {"12 x 12", "16 x 16"});
  small.insert(small.end(), small.begin(), small.end());
  write_hdf5(file("coils.h5"), "kspace", {1, 2, 12, 12}, small);
  refused(reconstruct({"--kspace", file("coils.h5")}), 2, {"2 coils", "--sensitivities"});
}

TEST_F(MriBadInput, Models) {
  const std::string good = get_file(file("run/model.json"));
  const auto broken = [&](const std::string& from, const std::string& to,
                          const std::vector<std::string>& parts) {
    fs::create_directories(file("broken"));
    std::string text = good;
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    put_file(file("broken/model.json"), text.replace(at, from.size(), to));
    refused({"evaluate", "--run", file("broken"), "--data", data_}, 3, parts);
  };
  broken("{", "", {"no complete model"});
  broken("\"alpha\":", "\"alpha\":-", {"alpha"});
  broken("\"height\":16", "\"height\":15", {"240 groups"});
  broken("\"height\":16", "\"height\":99999", {"height"});
  broken("\"kind\":\"free\"", "\"kind\":\"odd\"", {"odd"});
  broken("\"s\":[", "\"s\":[2,", {"'s'"});
  broken("\"s\":[", "\"s\":[1,", {"257"});
  broken("mri-tv", "tv", {"'tv'"});
  broken("\"xi\":", "\"old\":", {"no complete model"});
  refused({"evaluate", "--run", file("run"), "--data", data_, "--size", "12"}, 3, {"16 x 16", "12 x 12"});
}

TEST_F(MriBadInput, FoldersThatCannotBeUsed) {
  refused({"learn", "--data", data_, "--rate", "0.3", "--out", file("run")}, 2, {"already holds a run"});
  refused({"learn", "--data", data_, "--rate", "0.3", "--out", data_}, 3, {"is a file"});
}

}  // namespace
}  // namespace bilevel_test
