#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace bilevel::testing_support {

/// Seed of the running test: environment BILEVEL_TEST_SEED if set, else `usual`.
/// Written to stdout and recorded as the property "seed" of the test.
inline std::uint64_t seed(std::uint64_t usual = 1) {
  const char* variable = std::getenv("BILEVEL_TEST_SEED");
  const std::uint64_t value = variable != nullptr ? std::strtoull(variable, nullptr, 10) : usual;
  ::testing::Test::RecordProperty("seed", std::to_string(value));
  std::cout << "seed " << value << " (BILEVEL_TEST_SEED sets another)" << std::endl;
  return value;
}

/// The same numbers for a seed on every platform (splitmix64, Box-Muller).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits();
  double uniform(double low = 0.0, double high = 1.0);  ///< in [low, high)
  double log_uniform(double low, double high);          ///< log-uniform in [low, high)
  double normal();                                      ///< mean 0, variance 1
  int integer(int low, int high);                       ///< low <= value <= high
  std::vector<double> normal_vector(std::size_t size);

 private:
  std::uint64_t state_;
};

struct NamedImage {
  std::string name;
  int height = 1, width = 1;
  std::vector<double> pixels;  ///< row-major
};

/// Random rectangles with values in [0,1] plus white noise of standard deviation sigma.
std::vector<double> piecewise_constant(int height, int width, double sigma, Random& random);
std::vector<double> noise(int height, int width, double sigma, Random& random);
std::vector<double> constant(int height, int width, double value);
std::vector<double> spike(int height, int width, int row, int column, double value);
/// Values +-amplitude, alternating along rows and columns.
std::vector<double> checkerboard(int height, int width, double amplitude);
/// 0/1 mask with each pixel kept with probability `kept`; at least one pixel is kept.
std::vector<double> random_mask(int height, int width, double kept, Random& random);

/// The image kinds above at height x width, then small shapes: 1x1, 1xwidth, heightx1, 2x2, 1x2, 2x1.
std::vector<NamedImage> image_collection(int height, int width, Random& random);

/// direction scaled to Euclidean length `norm`; throws std::invalid_argument for a zero direction.
std::vector<double> scaled_to(std::vector<double> direction, double norm);

/// Perturbations of length exactly `norm` (to rounding) that stress an error bound: noise, spike in the
/// middle and in a corner, constant, checkerboard, step edge, each of both signs, and +- `towards` if given.
std::vector<NamedImage> perturbations(int height, int width, double norm, Random& random,
                                      const std::vector<double>& towards = {});

}  // namespace bilevel::testing_support
