#include "apps/common/blur_option.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "apps/common/option_support.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app {

using namespace bilevel;

namespace {

constexpr const char* kGaussian = "gaussian:";

double sigma_of(const std::string& text) {
  double sigma = 0;
  const char *begin = text.data() + std::string(kGaussian).size(), *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, sigma);
  if (error != std::errc() || stop != end || !(sigma > 0 && sigma <= 1000))
    throw ConfigError("--blur " + text + ": give the standard deviation in pixels, for example " + kGaussian +
                      "1.5.");
  return sigma;
}

/// Index of what is mirrored about the edges of [0, size); at most `size` outside of it.
int mirrored(int at, int size) { return at < 0 ? -1 - at : at >= size ? 2 * size - 1 - at : at; }

}  // namespace

BlurKernel read_blur(const std::string& text, std::vector<std::string>& notes) {
  if (text.starts_with(kGaussian)) return gaussian_kernel(sigma_of(text));
  if (std::filesystem::path(text).extension() != ".npy")
    throw ConfigError("--blur " + text + ": name a kernel KERNEL.npy of two dimensions, or " + kGaussian +
                      "SIGMA.");
  const Array array = read_for("--blur", [&] { return read_npy(text); });
  const auto refuse = [&](const std::string& what) {
    throw IoError(text, "the kernel of --blur " + what + ".");
  };
  if (array.shape.size() != 2)
    refuse("has " + std::to_string(array.shape.size()) + " dimensions; store an array of two, or use " +
           kGaussian + "SIGMA");
  const std::size_t height = array.shape[0], width = array.shape[1];
  const std::string size = std::to_string(height) + " x " + std::to_string(width);
  if (height % 2 == 0 || width % 2 == 0)
    refuse("has " + size + " taps and so no centre; give it odd sides, by a row or column of zeros, or use " +
           kGaussian + "SIGMA");
  if (height > 1 << 15 || width > 1 << 15) refuse("has " + size + " taps, which is more than any image");
  if (!std::all_of(array.values.begin(), array.values.end(), [](double v) { return std::isfinite(v); }))
    refuse("holds values that are not finite; correct them, or use " + std::string(kGaussian) + "SIGMA");
  if (std::all_of(array.values.begin(), array.values.end(), [](double v) { return v == 0; }))
    refuse("holds zeros alone; store a blur, or use " + std::string(kGaussian) + "SIGMA");
  double sum = 0;
  for (const double v : array.values) sum += v;
  notes.push_back("--blur " + text + ": " + size + " taps with the sum " + format("%.6g", sum));
  return {static_cast<int>(height), static_cast<int>(width), array.values};
}

std::string blur_name(const std::string& text) {
  return text.starts_with(kGaussian) ? text : std::filesystem::path(text).filename().string();
}

void require_blur_fits(const BlurKernel& kernel, const std::string& text, int crop) {
  if (kernel.height <= crop && kernel.width <= crop) return;
  throw ConfigError("--blur " + text + ": its " + std::to_string(kernel.height) + " x " +
                    std::to_string(kernel.width) + " taps are more than --crop " + std::to_string(crop) +
                    " has pixels; use larger crops, a smaller kernel, or a smaller SIGMA of " + kGaussian +
                    "SIGMA.");
}

void blur(const BlurKernel& kernel, int height, int width, std::span<double> image) {
  const std::vector<double> from(image.begin(), image.end());
  std::fill(image.begin(), image.end(), 0.0);
  for (int i = 0; i < kernel.height; ++i)
    for (int j = 0; j < kernel.width; ++j) {
      const double tap = kernel.values[static_cast<std::size_t>(i) * kernel.width + j];
      if (tap == 0) continue;
      for (int r = 0; r < height; ++r) {
        const double* row =
            from.data() + static_cast<std::size_t>(mirrored(r - i + kernel.height / 2, height)) * width;
        double* to = image.data() + static_cast<std::size_t>(r) * width;
        for (int c = 0; c < width; ++c) to[c] += tap * row[mirrored(c - j + kernel.width / 2, width)];
      }
    }
}

}  // namespace bilevel_app
