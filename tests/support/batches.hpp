#pragma once

#include <cstddef>
#include <limits>
#include <vector>

namespace bilevel::testing_support {

/// Unit roundoff of T.
template <class T>
inline constexpr double unit_roundoff = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

/// Nearest values of T, as doubles.
template <class T>
std::vector<double> representable(std::vector<double> values) {
  for (double& v : values) v = static_cast<double>(static_cast<T>(v));
  return values;
}

template <class T>
std::vector<T> narrow(const std::vector<double>& values) {
  return std::vector<T>(values.begin(), values.end());
}

/// Image i of a batch of images with `size` elements.
inline std::vector<double> image_of(const std::vector<double>& batch, std::size_t size, int i) {
  const auto first = batch.begin() + static_cast<std::ptrdiff_t>(size) * i;
  return {first, first + static_cast<std::ptrdiff_t>(size)};
}
inline void append(std::vector<double>& batch, const std::vector<double>& image) {
  batch.insert(batch.end(), image.begin(), image.end());
}

}  // namespace bilevel::testing_support
