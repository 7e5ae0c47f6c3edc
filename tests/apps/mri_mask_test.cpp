// Masks as the tools of the field write them, and what is said when a mask does not belong to k-space.

#include <numeric>

#include "apps/mri/mask_file.hpp"
#include "apps/mri/mri_model.hpp"
#include "apps/mri/run_files.hpp"
#include "bilevel/io/kspace_file.hpp"
#include "tests/apps/mri_in_process.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using bilevel_app::mri::MaskCentre;
using bilevel_app::mri::read_mask;
using Values = std::vector<double>;

/// A mask of h x w with zero frequency in the middle that no shift and no mirror image leaves as it is.
Values pattern(int h, int w) {
  Values mask(static_cast<std::size_t>(h) * w);
  for (int i = 0; i < h; ++i)
    for (int j = 0; j < w; ++j)
      mask[static_cast<std::size_t>(i) * w + j] = (i == h / 2 && j == w / 2) || (3 * i + 5 * j * j) % 7 < 2;
  return mask;
}
/// values[i][j] of zero frequency in the middle at [(i - h/2) mod h][(j - w/2) mod w].
Values first(const Values& middle, int h, int w) {
  Values out(middle.size());
  for (int i = 0; i < h; ++i)
    for (int j = 0; j < w; ++j)
      out[static_cast<std::size_t>((i + h - h / 2) % h) * w + (j + w - w / 2) % w] =
          middle[static_cast<std::size_t>(i) * w + j];
  return out;
}
/// Column j of all rows, zero frequency in the middle.
Values columns(const Values& line, int h) {
  Values out;
  for (int i = 0; i < h; ++i) out.insert(out.end(), line.begin(), line.end());
  return out;
}
/// Every value `copies` times, one after the other (inner), or all of them `copies` times.
Values repeated(const Values& values, int copies, bool inner) {
  Values out;
  for (std::size_t i = 0; i < values.size() * copies; ++i)
    out.push_back(values[inner ? i / static_cast<std::size_t>(copies) : i % values.size()]);
  return out;
}

class MriMask : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_ / name; }
  std::string npy(const std::vector<std::size_t>& shape, const Values& values) {
    bilevel::write_npy(file("mask.npy"), shape, std::span<const double>(values));
    return file("mask.npy");
  }
  /// read_mask() throws IoError that contains every part.
  void refused(const std::string& path, int h, int w, const std::vector<std::string>& parts) {
    try {
      read_mask(path, h, w);
      ADD_FAILURE() << "was read";
    } catch (const bilevel::IoError& error) {
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in " << error.what();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(MriMask, ShapesOfTheFieldMeanOnePattern) {
  for (const auto& [h, w] : {std::pair(6, 5), std::pair(5, 8), std::pair(7, 7)}) {
    const auto H = static_cast<std::size_t>(h), W = static_cast<std::size_t>(w);
    const Values mask = pattern(h, w), expected = first(mask, h, w);
    Values parts = repeated(mask, 2, true);  // real and imaginary
    for (std::size_t i = 1; i < parts.size(); i += 2) parts[i] = 0;
    for (const auto& [shape, values] :
         std::vector<std::pair<std::vector<std::size_t>, Values>>{{{H, W}, mask},
                                                                  {{1, H, W}, mask},
                                                                  {{1, 2, H, W}, repeated(mask, 2, false)},
                                                                  {{3, H, W}, repeated(mask, 3, false)},
                                                                  {{1, 1, H, W, 1}, mask},
                                                                  {{H, W, 2}, repeated(mask, 2, true)},
                                                                  {{H, W, 2}, parts}}) {
      const auto read = read_mask(npy(shape, values), h, w);
      EXPECT_EQ(read.values, expected) << shape.size() << " dimensions, " << h << " x " << w;
      EXPECT_TRUE(read.notes.empty());
    }
    EXPECT_EQ(read_mask(npy({H, W}, expected), h, w, MaskCentre::first).values, expected);
    EXPECT_EQ(read_mask(npy({H, W}, mask), h, w, MaskCentre::middle).values, expected);

    Complexes complex(mask.begin(), mask.end());
    bilevel::write_npy(file("c.npy"), std::vector<std::size_t>{H, W},
                       std::span<const std::complex<double>>(complex));
    EXPECT_EQ(read_mask(file("c.npy"), h, w).values, expected) << "SigPy";
    complex[3] += std::complex<double>(0, 0.5);
    bilevel::write_npy(file("c.npy"), std::vector<std::size_t>{H, W},
                       std::span<const std::complex<double>>(complex));
    refused(file("c.npy"), h, w, {"imaginary part"});
  }
}

TEST_F(MriMask, OneDimensionIsThatOfColumns) {
  for (const auto& [h, w] : {std::pair(4, 6), std::pair(6, 6), std::pair(5, 7)}) {
    const auto H = static_cast<std::size_t>(h), W = static_cast<std::size_t>(w);
    Values line(W, 0.0);
    line[W / 2] = line[W / 2 + 1] = line[0] = 1;
    const Values expected = first(columns(line, h), h, w);
    for (const std::vector<std::size_t>& shape : std::vector<std::vector<std::size_t>>{
             {W}, {1, W}, {1, W, 1}, {1, 1, W, 1}, {1, 1, 1, W, 1}, {1, 1, 1, W}})
      EXPECT_EQ(read_mask(npy(shape, line), h, w).values, expected) << shape.size();
    EXPECT_EQ(read_mask(npy({1, 2, 1, W}, repeated(line, 2, false)), h, w).values, expected);
    Values rows(H, 0.0);
    rows[H / 2] = 1;
    refused(npy({H, 1}, rows), h, w,
            {"[" + std::to_string(h) + ",1]", "[" + std::to_string(w) + "] for whole columns"});
    if (h != w) refused(npy({H}, rows), h, w, {"shape [" + std::to_string(h) + "]"});
  }
}

TEST_F(MriMask, WhatIsNoMaskIsRefused) {
  const Values mask = pattern(6, 5);
  refused(npy({5, 6}, mask), 6, 5, {"[5,6]", "5 x 6 frequencies", "[6,5]"});
  Values two = repeated(mask, 2, false);
  two.back() = 1 - two.back();
  refused(npy({1, 2, 6, 5}, two), 6, 5, {"[1,2,6,5]", "differ"});
  refused(npy({6, 5, 3}, repeated(mask, 3, true)), 6, 5, {"[6,5,3]"});
  refused(npy({6, 5}, Values(30, std::nan(""))), 6, 5, {"NaN"});
  refused(npy({6, 5}, Values(30, 0.0)), 6, 5, {"no frequency"});
  refused(npy({}, Values(1, 1.0)), 6, 5, {"[]"});
}

TEST_F(MriMask, ValuesBesideZeroAndOneAreMentioned) {
  Values mask = pattern(4, 4);
  for (double& v : mask) v *= 255;
  EXPECT_TRUE(read_mask(npy({4, 4}, mask), 4, 4).notes.empty());
  mask[3] = 0.4;
  const auto grey = read_mask(npy({4, 4}, mask), 4, 4);
  ASSERT_EQ(grey.notes.size(), 1u);
  EXPECT_NE(grey.notes[0].find("above 0.5"), std::string::npos);
}

TEST_F(MriMask, Pictures) {
  const Values mask = pattern(6, 5), expected = first(mask, 6, 5);
  bilevel::write_image(file("mask.png"), {1, 6, 5, mask});
  EXPECT_EQ(read_mask(file("mask.png"), 6, 5).values, expected);
  EXPECT_TRUE(read_mask(file("mask.png"), 6, 5).notes.empty());
  for (const int bits : {8, 16}) {
    Values tiny = mask;
    for (double& v : tiny) v /= bits == 8 ? 255 : 65535;
    bilevel::write_image(file("ones.png"), {1, 6, 5, tiny}, {bits});
    const auto ones = read_mask(file("ones.png"), 6, 5);
    EXPECT_EQ(ones.values, expected) << bits;
    ASSERT_EQ(ones.notes.size(), 1u);
    EXPECT_NE(ones.notes[0].find("0 and 1 of"), std::string::npos);
  }
}

TEST_F(MriMask, Bart) {
  const int h = 6, w = 5;
  const Values mask = pattern(h, w);
  std::string bytes;
  for (int j = 0; j < w; ++j)
    for (int i = 0; i < h; ++i) {
      const float value[] = {static_cast<float>(mask[static_cast<std::size_t>(i * w + j)]), 0};
      bytes.append(reinterpret_cast<const char*>(value), sizeof value);
    }
  put_file(file("mask.cfl"), bytes);
  put_file(file("mask.hdr"), "# Dimensions\n1 6 5 1 1\n");
  for (const char* name : {"mask.cfl", "mask.hdr", "mask"})
    EXPECT_EQ(read_mask(file(name), h, w).values, first(mask, h, w)) << name;
  put_file(file("line.cfl"), std::string(5 * 8, '\0'));
  put_file(file("line.hdr"), "# Dimensions\n1 5 1\n");
  refused(file("line.cfl"), h, w, {"one line of 5", "repmat"});
}

/// mask.npy beside the model of a run: as that run wrote it.
TEST_F(MriMask, OfARunIsReadAsTheRunWroteIt) {
  bilevel_app::mri::MriModel model;
  model.height = 6, model.width = 5;
  const Values middle = pattern(6, 5), expected = first(middle, 6, 5);
  model.s = expected;
  model.alpha = model.nu = model.xi = 0.01;
  fs::create_directories(file("run/images"));
  const auto write = [&](const Values& values) {
    bilevel::write_npy(file("run/images/mask.npy"), std::vector<std::size_t>{6, 5},
                       std::span<const double>(values));
    return file("run/images/mask.npy");
  };
  bilevel_app::mri::write_mri_model(file("run/model.json"), model);
  Json json = Json::parse(get_file(file("run/model.json")));
  EXPECT_EQ(json["pattern"]["mask_npy_zero_frequency"], "[3,2]");
  EXPECT_EQ(read_mask(write(middle), 6, 5).values, expected);
  EXPECT_TRUE(read_mask(write(middle), 6, 5).notes.empty());
  Values changed = middle;
  changed[0] = 1 - changed[0];
  EXPECT_EQ(read_mask(write(changed), 6, 5).values, first(changed, 6, 5)) << "of a run of today";

  json["pattern"].erase("mask_npy_zero_frequency");
  put_file(file("run/model.json"), json.dump());
  const auto old = read_mask(write(expected), 6, 5);
  EXPECT_EQ(old.values, expected);
  ASSERT_EQ(old.notes.size(), 1u);
  EXPECT_NE(old.notes[0].find("[0,0]"), std::string::npos);
  EXPECT_EQ(read_mask(write(middle), 6, 5).values, expected) << "written anew by a resumed run";
  EXPECT_EQ(read_mask(write(expected), 6, 5, MaskCentre::middle).values, first(expected, 6, 5)) << "as told";
  refused(write(changed), 6, 5, {"--mask-centre"});
  fs::copy(file("run/images/mask.npy"), file("elsewhere.npy"));
  EXPECT_EQ(read_mask(file("elsewhere.npy"), 6, 5).values, first(changed, 6, 5));
}

/// k-space of a head, undersampled or whole, with a centred mask of a disc and its corner-first form.
class MriMaskOfKspace : public MriMask {
 protected:
  static constexpr int n = 16;
  void SetUp() override {
    const Values image = head(1, n);
    const auto full = centred_kspace(Complexes(image.begin(), image.end()), 1, n);
    middle_.assign(n * n, 0.0);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j)
        middle_[static_cast<std::size_t>(i * n + j)] = std::hypot(i - n / 2, j - n / 2) <= 5.5 ? 1 : 0;
    auto part = full;
    for (std::size_t i = 0; i < part.size(); ++i) part[i] *= static_cast<float>(middle_[i]);
    write_hdf5(file("full.h5"), "kspace", {1, n, n}, full);
    write_hdf5(file("part.h5"), "kspace", {1, n, n}, part);
    write("middle.npy", middle_);
    write("first.npy", first(middle_, n, n));
    write("all.npy", Values(n * n, 1.0));
  }
  void write(const std::string& name, const Values& mask) {
    bilevel::write_npy(file(name), std::vector<std::size_t>{n, n}, std::span<const double>(mask));
  }
  Outcome reconstruct(const std::string& kspace, const std::vector<std::string>& more) {
    std::vector<std::string> a{"reconstruct", "--kspace", file(kspace), "--output", file("out.npy")};
    a.insert(a.end(), more.begin(), more.end());
    return mri_here(a);
  }
  Values middle_;
};

TEST_F(MriMaskOfKspace, EveryWayToSayTheSameGivesTheSameImage) {
  ASSERT_EQ(reconstruct("part.h5", {}).code, 0);
  const std::string reference = get_file(file("out.npy"));
  for (const auto& [kspace, more] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"part.h5", {"--mask", file("middle.npy")}},
           {"full.h5", {"--mask", file("middle.npy")}},
           {"part.h5", {"--mask", file("first.npy"), "--mask-centre", "first"}},
           {"full.h5", {"--mask", file("middle.npy"), "--mask-centre", "middle"}}}) {
    const Outcome o = reconstruct(kspace, more);
    EXPECT_EQ(o.code, 0);
    EXPECT_EQ(o.err, "");
    EXPECT_EQ(get_file(file("out.npy")), reference) << kspace << " " << more.back();
  }
}

TEST_F(MriMaskOfKspace, AMaskThatDoesNotFitIsRefusedOrMentioned) {
  const Outcome shifted = reconstruct("part.h5", {"--mask", file("first.npy")});
  EXPECT_EQ(shifted.code, 3);
  expect_one_sentence(shifted, "bilevel-mri");
  EXPECT_NE(shifted.err.find("--mask-centre"), std::string::npos) << shifted.err;
  EXPECT_FALSE(fs::exists(file("out.npy")));

  const Outcome whole = reconstruct("full.h5", {"--mask", file("first.npy")});
  EXPECT_EQ(whole.code, 0);
  EXPECT_NE(whole.err.find("leaves out zero frequency and keeps"), std::string::npos) << whole.err;
  EXPECT_NE(whole.err.find("--mask-centre"), std::string::npos) << whole.err;

  const Outcome more = reconstruct("part.h5", {"--mask", file("all.npy")});
  EXPECT_EQ(more.code, 0);
  EXPECT_NE(more.err.find("were not measured and count as zero"), std::string::npos) << more.err;

  Values corner(n * n, 0.0);
  corner[n * n / 2 + n / 2 + 1] = 1;
  write("corner.npy", corner);
  const Outcome without = reconstruct("full.h5", {"--mask", file("corner.npy")});
  EXPECT_NE(without.err.find("leaves out zero frequency."), std::string::npos) << without.err;

  EXPECT_EQ(reconstruct("part.h5", {"--mask-centre", "first"}).code, 2);
  EXPECT_EQ(reconstruct("part.h5", {"--mask", file("all.npy"), "--mask-centre", "corner"}).code, 2);
}

/// Columns with a sampled part around zero frequency, and others at a distance; in the file's order they keep
/// the middle also where zero frequency is first.
TEST(MriMaskCentre, ALineWithItsSampledPartAtTheEdgesIsMentioned) {
  using bilevel_app::mri::centre_fault;
  const auto mask = [](int height, int width, bool rows, int centre, int half) {
    Values values;
    const int n = rows ? height : width;
    for (int i = 0; i < height; ++i)
      for (int j = 0; j < width; ++j) {
        const int from = std::abs((rows ? i : j) - centre), distance = std::min(from, n - from);
        values.push_back(distance <= half || distance % 4 == 0 || distance == n / 2 ? 1 : 0);
      }
    return values;
  };
  for (const auto& [height, width] : {std::pair(32, 24), {23, 31}, {16, 64}})
    for (const bool rows : {false, true}) {
      const int n = rows ? height : width;
      const Values right = mask(height, width, rows, 0, 3),
                   shifted = mask(height, width, rows, (n + 1) / 2, 3);
      ASSERT_EQ(shifted[0], 1) << "by chance";
      EXPECT_EQ(centre_fault(right, height, width), "") << height << " " << width;
      const std::string text = centre_fault(shifted, height, width);
      EXPECT_NE(text.find("farthest"), std::string::npos) << height << " " << width << text;
      EXPECT_NE(text.find("--mask-centre"), std::string::npos) << text;
    }
  EXPECT_EQ(centre_fault(Values(35, 1.0), 5, 7), "") << "all";
  EXPECT_EQ(centre_fault(Values{1.0}, 1, 1), "");
}

/// mask.npy of a run of today is what the tools of the field read: zero frequency at [n/2, n/2].
TEST_F(MriMaskOfKspace, TheMaskOfARunIsReadBack) {
  const Outcome o = mri_here({"baseline", "--data", file("full.h5"), "--pattern", "lowpass", "--rate", "0.3",
                              "--out", file("run"), "--quiet"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(summary_of(file("run"))["mask_npy_zero_frequency"], "[8,8]");
  const Json model = Json::parse(get_file(file("run/model.json")));
  const Values s = model["theta"]["s"];
  EXPECT_EQ(first(bilevel::read_npy(file("run/images/mask.npy")).values, n, n), s);
  for (const std::string name : {"mask.npy", "mask.png"})
    EXPECT_EQ(read_mask(file("run/images/" + name), n, n).values, s) << name;
}

/// Masks of other programs, all of them of one kind of file each.
TEST_F(MriMask, FilesOfOtherPrograms) {
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared || !fs::exists(*shared / "faults")) GTEST_SKIP() << "The folder of shared inputs is not there.";
  const fs::path faults = *shared / "faults" / "mask-npy-centred",
                 shapes = *shared / "faults/mask-shapes-of-the-field";
  const auto truth = bilevel::read_complex_npy(faults / "truth.npy").values;
  const auto reconstruct = [&](const fs::path& kspace, const std::vector<std::string>& more) {
    std::vector<std::string> a{"reconstruct", "--kspace", kspace.string(), "--output", file("x.npy")};
    a.insert(a.end(), more.begin(), more.end());
    return mri_here(a);
  };
  const auto error = [&] {
    const auto x = bilevel::read_complex_npy(file("x.npy")).values;
    double e = 0, t = 0;
    for (std::size_t p = 0; p < truth.size(); ++p) e += std::norm(x[p] - truth[p]), t += std::norm(truth[p]);
    return std::sqrt(e / t);
  };
  const std::string mask = faults / "mask.npy", shifted = faults / "mask_shifted.npy";
  for (const auto& [kspace, more] : std::vector<std::pair<const char*, std::vector<std::string>>>{
           {"k.npy", {}},
           {"k.npy", {"--mask", mask}},
           {"k.npy", {"--mask", shifted, "--mask-centre", "first"}},
           {"full.npy", {"--mask", mask}}}) {
    const Outcome o = reconstruct(faults / kspace, more);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.err, "");
    EXPECT_NEAR(error(), 0.048, 0.001) << kspace;
  }
  EXPECT_EQ(reconstruct(faults / "k.npy", {"--mask", shifted}).code, 3);
  EXPECT_NE(reconstruct(faults / "full.npy", {"--mask", shifted}).err.find("--mask-centre"),
            std::string::npos);

  for (const char* name : {"fastmri_1x1x1xWx1.npy", "fastmri_W.npy", "deepinv_1x2xHxW.npy",
                           "sigpy_complex128.npy", "bart.cfl", "zero_one.png"}) {
    const auto read = read_mask(shapes / name, 32, 32);
    EXPECT_EQ(read.values[0], 1) << name << ": zero frequency";
    const double kept = std::accumulate(read.values.begin(), read.values.end(), 0.0);
    EXPECT_GT(kept, 100) << name;
    EXPECT_LT(kept, 900) << name;
    EXPECT_EQ(read.notes.size(), std::string(name) == "zero_one.png" ? 1u : 0u) << name;
    const bool lines = std::string(name).starts_with("fastmri");
    for (std::size_t j = 32; lines && j < 1024; ++j) ASSERT_EQ(read.values[j], read.values[j % 32]) << name;
  }
}

}  // namespace
}  // namespace bilevel_test
