#include "tests/support/random.hpp"

#include <cmath>
#include <numbers>
#include <stdexcept>

namespace bilevel::testing_support {
namespace {

std::size_t pixels_of(int height, int width) {
  return static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
}

}  // namespace

std::uint64_t Random::bits() {
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

double Random::uniform(double low, double high) {
  return low + (high - low) * (static_cast<double>(bits() >> 11) * 0x1p-53);
}

double Random::log_uniform(double low, double high) {
  return std::exp(uniform(std::log(low), std::log(high)));
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

int Random::integer(int low, int high) {
  return low + static_cast<int>(bits() % (static_cast<std::uint64_t>(high - low) + 1));
}

std::vector<double> Random::normal_vector(std::size_t size) {
  std::vector<double> values(size);
  for (double& value : values) value = normal();
  return values;
}

std::vector<double> piecewise_constant(int height, int width, double sigma, Random& random) {
  std::vector<double> image(pixels_of(height, width), random.uniform());
  for (int rectangle = 0; rectangle < 6; ++rectangle) {
    const int top = random.integer(0, height - 1), bottom = random.integer(top, height - 1);
    const int left = random.integer(0, width - 1), right = random.integer(left, width - 1);
    const double value = random.uniform();
    for (int r = top; r <= bottom; ++r) {
      for (int c = left; c <= right; ++c) image[r * width + c] = value;
    }
  }
  for (double& pixel : image) pixel += sigma * random.normal();
  return image;
}

std::vector<double> noise(int height, int width, double sigma, Random& random) {
  std::vector<double> image = random.normal_vector(pixels_of(height, width));
  for (double& pixel : image) pixel *= sigma;
  return image;
}

std::vector<double> constant(int height, int width, double value) {
  return std::vector<double>(pixels_of(height, width), value);
}

std::vector<double> spike(int height, int width, int row, int column, double value) {
  std::vector<double> image = constant(height, width, 0.0);
  image.at(row * width + column) = value;
  return image;
}

std::vector<double> checkerboard(int height, int width, double amplitude) {
  std::vector<double> image = constant(height, width, amplitude);
  for (int r = 0; r < height; ++r) {
    for (int c = 0; c < width; ++c) {
      if ((r + c) % 2 == 1) image[r * width + c] = -amplitude;
    }
  }
  return image;
}

std::vector<double> random_mask(int height, int width, double kept, Random& random) {
  std::vector<double> mask = constant(height, width, 0.0);
  for (double& pixel : mask) pixel = random.uniform() < kept ? 1.0 : 0.0;
  mask[random.integer(0, height * width - 1)] = 1.0;
  return mask;
}

std::vector<NamedImage> image_collection(int height, int width, Random& random) {
  std::vector<NamedImage> images;
  const auto add = [&](const std::string& name, int h, int w, std::vector<double> pixels) {
    images.push_back({name, h, w, std::move(pixels)});
  };
  add("piecewise constant with noise", height, width, piecewise_constant(height, width, 0.1, random));
  add("piecewise constant", height, width, piecewise_constant(height, width, 0.0, random));
  add("noise", height, width, noise(height, width, 1.0, random));
  add("constant", height, width, constant(height, width, 0.5));
  add("zero", height, width, constant(height, width, 0.0));
  add("spike", height, width, spike(height, width, height / 2, width / 2, 1.0));
  add("corner spike", height, width, spike(height, width, height - 1, width - 1, -1.0));
  add("checkerboard", height, width, checkerboard(height, width, 0.5));
  const int small[6][2] = {{1, 1}, {1, width}, {height, 1}, {2, 2}, {1, 2}, {2, 1}};
  for (const auto& [h, w] : small) {
    add("noise " + std::to_string(h) + "x" + std::to_string(w), h, w, noise(h, w, 1.0, random));
  }
  return images;
}

std::vector<double> scaled_to(std::vector<double> direction, double norm) {
  long double square = 0;
  for (const double entry : direction) square += static_cast<long double>(entry) * entry;
  if (square == 0) throw std::invalid_argument("scaled_to: the direction is zero");
  const long double factor = norm / std::sqrt(square);
  for (double& entry : direction) entry = static_cast<double>(factor * entry);
  return direction;
}

std::vector<NamedImage> perturbations(int height, int width, double norm, Random& random,
                                      const std::vector<double>& towards) {
  std::vector<NamedImage> found;
  const auto add = [&](const std::string& name, const std::vector<double>& direction) {
    found.push_back({name, height, width, scaled_to(direction, norm)});
    found.push_back({"minus " + name, height, width, scaled_to(direction, -norm)});
  };
  add("noise", noise(height, width, 1.0, random));
  add("spike", spike(height, width, height / 2, width / 2, 1.0));
  add("corner spike", spike(height, width, 0, 0, 1.0));
  add("constant", constant(height, width, 1.0));
  add("checkerboard", checkerboard(height, width, 1.0));
  std::vector<double> edge = constant(height, width, 1.0);
  for (std::size_t p = 0; p < edge.size() / 2; ++p) edge[p] = -1.0;
  add("step edge", edge);
  if (!towards.empty()) add("given direction", towards);
  return found;
}

}  // namespace bilevel::testing_support
