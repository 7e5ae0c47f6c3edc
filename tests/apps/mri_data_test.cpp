// Parts of bilevel-mri by themselves: data, resampling, the search for a rate.

#include "apps/mri/mri_data.hpp"

#include "apps/mri/problem.hpp"
#include "apps/mri/rate_search.hpp"
#include "apps/mri/resample.hpp"
#include "apps/mri/run_files.hpp"
#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel_app::mri;

TEST(MriResample, AreaAveragesKeepTheMean) {
  std::vector<double> image(10 * 14);
  for (std::size_t p = 0; p < image.size(); ++p) image[p] = static_cast<double>(p * p % 17);
  const auto out = average_to(image, 10, 14, {0, 2, 10}, 4);
  double all = 0, small = 0;
  for (int i = 0; i < 10; ++i)
    for (int j = 2; j < 12; ++j) all += image[static_cast<std::size_t>(i * 14 + j)] / 100;
  for (const double v : out) small += v / 16;
  EXPECT_NEAR(small, all, 1e-12);
  EXPECT_EQ(average_to(image, 10, 14, {-1, -1, 3}, 3)[0], 0) << "outside of the image";
  EXPECT_EQ(average_to(image, 10, 14, {-1, -1, 3}, 3)[4], image[0]);
}

TEST(MriResample, TheSquareIsThatOfTheHead) {
  std::vector<double> image(20 * 20, 0.0);
  for (int i = 4; i < 14; ++i)
    for (int j = 6; j < 12; ++j) image[static_cast<std::size_t>(i * 20 + j)] = 1;
  const Square tight = bounding_square(image, 20, 20, 0.5, 0, 2);
  EXPECT_EQ(tight.side, 10);
  EXPECT_EQ(tight.row, 4);
  EXPECT_EQ(tight.column, 4);
  EXPECT_EQ(bounding_square(image, 20, 20, 0.5, 0.2, 2).side, 12);
  EXPECT_EQ(bounding_square(image, 20, 20, 0.5, 0, 16).side, 16);
  EXPECT_EQ(bounding_square(std::vector<double>(400, 0.0), 20, 20, 0.5, 0, 2).side, 20)
      << "nothing: all of it";
}

TEST(MriResample, BandLimitedImagesKeepTheirValues) {
  const int n = 12, m = 6;
  Complexes image, expected;
  const auto value = [](double y, double x) {
    return std::complex<double>(1 + std::cos(2 * std::numbers::pi * (x - 2 * y)),
                                std::sin(4 * std::numbers::pi * x));
  };
  for (int p = 0; p < n * n; ++p) image.push_back(value(1.0 * (p / n) / n, 1.0 * (p % n) / n));
  for (int p = 0; p < m * m; ++p) expected.push_back(value(1.0 * (p / m) / m, 1.0 * (p % m) / m));
  const auto out = resample(image, n, n, m, m);
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t p = 0; p < out.size(); ++p)
    EXPECT_LT(std::abs(out[p] - 2.0 * expected[p]), 1e-12) << "unitary transforms scale by n/m";
  const auto padded = resample(expected, m, m, n, n);
  EXPECT_EQ(padded[static_cast<std::size_t>(3 * n + 3)], expected[0]);
  EXPECT_EQ(padded[0], 0.0);
}

TEST(MriData, NoiseHasTheDeviationAskedFor) {
  const TemporaryFolder folder;
  DataOptions o;
  o.data = {head_file(folder, "head.npy", 4, 32)};
  o.sigma = 0.0;
  const MriData clean = load_data(o);
  o.sigma = 0.1;
  o.seed = 3;
  const MriData noisy = load_data(o);
  EXPECT_EQ(clean.truth, noisy.truth);
  double real = 0, imaginary = 0;
  for (std::size_t i = 0; i < clean.kspace.size(); ++i) {
    const auto d = noisy.kspace[i] - clean.kspace[i];
    real += d.real() * d.real(), imaginary += d.imag() * d.imag();
  }
  const auto n = static_cast<double>(clean.kspace.size());
  EXPECT_NEAR(real / n, 0.005, 0.005 * 5 * std::sqrt(2 / n));
  EXPECT_NEAR(imaginary / n, 0.005, 0.005 * 5 * std::sqrt(2 / n));
  EXPECT_EQ(load_data(o).kspace, noisy.kspace) << "the same seed";
  o.slices = "0:1";
  const MriData first = load_data(o);
  for (std::size_t i = 0; i < first.kspace.size(); ++i) ASSERT_EQ(first.kspace[i], noisy.kspace[i]);
  double largest = 0;
  for (const double v : magnitude(std::span(clean.truth).first(2 * 32 * 32), 2))
    largest = std::max(largest, v);
  EXPECT_EQ(largest, 1);
  EXPECT_NE(noisy.fingerprint.pixels, clean.fingerprint.pixels);
}

TEST(MriData, QualityIsPerPixelAndOfMagnitudes) {
  MriData data;
  data.images = 1, data.height = 12, data.width = 13;
  data.truth.assign(2 * 12 * 13, 0.0);
  for (std::size_t p = 0; p < 156; ++p) data.truth[p] = 0.5 + 0.3 * std::sin(0.4 * static_cast<double>(p));
  std::vector<double> x = data.truth;
  for (std::size_t p = 0; p < 156; ++p) x[p] += 0.06, x[156 + p] += 0.08;
  EXPECT_NEAR(quality_of(data, 0, x).psnr, 20, 1e-9) << "|error| = 0.1";
  std::vector<double> turned(data.truth.size(), 0.0);  // the same magnitudes in the imaginary plane
  for (std::size_t p = 0; p < 156; ++p) turned[156 + p] = data.truth[p];
  EXPECT_NEAR(quality_of(data, 0, turned).ssim, 1, 1e-12);
  EXPECT_LT(quality_of(data, 0, turned).psnr, 10);
}

TEST(MriRunFiles, CentringIsUndone) {
  for (const auto& [h, w] : {std::pair(4, 6), std::pair(5, 7), std::pair(1, 3)}) {
    std::vector<double> values(static_cast<std::size_t>(h) * w);
    for (std::size_t p = 0; p < values.size(); ++p) values[p] = static_cast<double>(p + 1);
    const auto image = centred(values, h, w);
    EXPECT_EQ(image.pixels[static_cast<std::size_t>(h / 2 * w + w / 2)], 1) << "zero frequency";
    EXPECT_EQ(uncentred(image), values);
  }
}

/// Runs the search on a model of the rate.
int search(RateSearch& s, const std::function<double(double)>& rate) {
  while (!s.done()) s.add(rate(s.next_penalty()));
  return s.best();
}

TEST(MriRateSearch, BracketsAndBisects) {
  const auto rate = [](double penalty) { return 1 / (1 + std::pow(penalty, 0.7)); };
  for (const double first : {1e-4, 1.0, 1e4})
    for (const double target : {0.05, 0.35, 0.9}) {
      RateSearch s(target, 0.01, first, 40);
      const auto best = static_cast<std::size_t>(search(s, rate));
      EXPECT_LT(s.trials().size(), 40u);
      EXPECT_NEAR(s.trials()[best].rate, target, 0.01 * target);
    }
}

TEST(MriRateSearch, StartsFromThePatternThatKeepsTooMuch) {
  RateSearch s(0.25, 0.01, 1, 4);
  EXPECT_EQ(s.next_start(), -1);
  s.add(0.6);
  EXPECT_EQ(s.next_start(), 0);
  EXPECT_EQ(s.next_penalty(), 4);
  s.add(0.125);
  EXPECT_EQ(s.next_start(), 0) << "not the one that has lost samples for good";
  EXPECT_EQ(s.next_penalty(), 2);
  s.add(0.375);
  EXPECT_EQ(s.next_start(), 2);
  s.add(0.125);
  EXPECT_TRUE(s.done()) << "all runs are spent";
  EXPECT_EQ(s.best(), 2) << "0.375 and 0.125 are equally far; the one that keeps more";
}

TEST(MriRateSearch, AStartThatIsTooSparseGoesBack) {
  RateSearch s(0.3, 0.01, 8, 10);
  s.add(0.05);
  EXPECT_EQ(s.next_start(), -1);
  EXPECT_EQ(s.next_penalty(), 2);
}

}  // namespace
}  // namespace bilevel_test
