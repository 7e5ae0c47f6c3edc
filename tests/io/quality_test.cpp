#include "bilevel/io/quality.hpp"

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "io_test_support.hpp"

namespace {

using bilevel_test::random_image;

/// Wang et al. 2004, equations (13) to (16), window by window with central moments.
double direct_ssim(const std::vector<double>& a, const std::vector<double>& b, int height, int width,
                   double range) {
  int size = std::min({11, height, width});
  if (size % 2 == 0) --size;
  const double c1 = std::pow(0.01 * range, 2), c2 = std::pow(0.03 * range, 2);
  double total = 0.0, windows = 0.0, weight_sum = 0.0;
  const auto weight = [&](int i, int j) {
    const double u = i - size / 2, v = j - size / 2;
    return std::exp(-(u * u + v * v) / (2 * 1.5 * 1.5));
  };
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j < size; ++j) weight_sum += weight(i, j);
  }
  for (int y = 0; y + size <= height; ++y) {
    for (int x = 0; x + size <= width; ++x) {
      double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
      for (int pass = 0; pass < 2; ++pass) {
        for (int i = 0; i < size; ++i) {
          for (int j = 0; j < size; ++j) {
            const double w = weight(i, j) / weight_sum;
            const double p = a[static_cast<std::size_t>((y + i) * width + x + j)];
            const double q = b[static_cast<std::size_t>((y + i) * width + x + j)];
            if (pass == 0) {
              mean_a += w * p;
              mean_b += w * q;
            } else {
              aa += w * (p - mean_a) * (p - mean_a);
              bb += w * (q - mean_b) * (q - mean_b);
              ab += w * (p - mean_a) * (q - mean_b);
            }
          }
        }
      }
      total += (2 * mean_a * mean_b + c1) * (2 * ab + c2) /
               ((mean_a * mean_a + mean_b * mean_b + c1) * (aa + bb + c2));
      ++windows;
    }
  }
  return total / windows;
}

TEST(Quality, PsnrOfAConstantOffset) {
  const std::vector<double> a(12, 0.6), b(12, 0.5);
  EXPECT_NEAR(bilevel::psnr(a, b), 20.0, 1e-12);
  const std::vector<double> far(12, 2.5);
  EXPECT_NEAR(bilevel::psnr(far, b), -20.0 * std::log10(2.0), 1e-12) << "there is no clipping";
  EXPECT_EQ(bilevel::psnr(a, a), std::numeric_limits<double>::infinity());
}

TEST(Quality, PsnrIsMinusTenLogOfTheMeanSquare) {
  const auto a = random_image(1, 9, 7, 3), b = random_image(1, 9, 7, 4);
  double sum = 0.0;
  for (std::size_t k = 0; k < a.pixels.size(); ++k) sum += std::pow(a.pixels[k] - b.pixels[k], 2);
  EXPECT_NEAR(bilevel::psnr(a.pixels, b.pixels), -10 * std::log10(sum / 63.0), 1e-12);
}

TEST(Quality, SsimOfAnImageWithItselfIsOne) {
  const auto a = random_image(1, 20, 17, 5);
  EXPECT_EQ(bilevel::ssim(a.pixels.data(), a.pixels.data(), 20, 17), 1.0);
}

TEST(Quality, SsimOfConstantImagesIsTheLuminanceTerm) {
  const std::vector<double> a(144, 0.3), b(144, 0.6);
  const double c1 = 1e-4, expected = (2 * 0.3 * 0.6 + c1) / (0.09 + 0.36 + c1);
  EXPECT_NEAR(bilevel::ssim(a.data(), b.data(), 12, 12), expected, 1e-11);
}

TEST(Quality, SsimAgreesWithTheDirectSum) {
  const int sizes[][2] = {{11, 11}, {16, 23}, {12, 11}, {40, 13}, {10, 10},
                          {4, 30},  {30, 3},  {2, 2},   {1, 9},   {1, 1}};
  unsigned seed = 100;
  for (const auto& [height, width] : sizes) {
    for (const double range : {1.0, 255.0}) {
      const auto a = random_image(1, height, width, seed++, 0.0, range);
      auto b = random_image(1, height, width, seed++, 0.0, range);
      for (std::size_t k = 0; k < b.pixels.size(); ++k) b.pixels[k] = 0.8 * a.pixels[k] + 0.2 * b.pixels[k];
      EXPECT_NEAR(bilevel::ssim(a.pixels.data(), b.pixels.data(), height, width, range),
                  direct_ssim(a.pixels, b.pixels, height, width, range), 1e-11)
          << height << " x " << width << ", range " << range;
    }
  }
}

TEST(Quality, SsimScalesWithTheRange) {
  const auto a = random_image(1, 20, 20, 7), b = random_image(1, 20, 20, 8);
  auto a255 = a.pixels, b255 = b.pixels;
  for (double& v : a255) v *= 255;
  for (double& v : b255) v *= 255;
  EXPECT_NEAR(bilevel::ssim(a255.data(), b255.data(), 20, 20, 255.0),
              bilevel::ssim(a.pixels.data(), b.pixels.data(), 20, 20), 1e-12);
}

TEST(Quality, RefusesWrongShapes) {
  const std::vector<double> a(4, 0.0), b(5, 0.0);
  EXPECT_THROW(bilevel::psnr(a, b), bilevel::ShapeError);
  EXPECT_THROW(bilevel::psnr({}, {}), bilevel::ShapeError);
  EXPECT_THROW(bilevel::ssim(a.data(), a.data(), 0, 4), bilevel::ShapeError);
  EXPECT_THROW(bilevel::ssim(a.data(), a.data(), 2, 2, 0.0), bilevel::ConfigError);
  EXPECT_THROW(bilevel::ssim(a.data(), a.data(), 2, 2, std::nan("")), bilevel::ConfigError);
}

}  // namespace
