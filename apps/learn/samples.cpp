#include "apps/learn/samples.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>
#include <type_traits>
#include <utility>

#include "apps/common/noise.hpp"
#include "apps/common/option_support.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/idx_file.hpp"
#include "bilevel/model/named_option.hpp"

namespace bilevel_app::learn {

using bilevel::IoError;

namespace {

/// An array of either format: `bytes` of an idx file, `values` of the other.
struct Numbers {
  std::vector<std::size_t> shape;
  std::vector<double> values;
  std::vector<std::uint8_t> bytes;

  std::size_t count() const { return values.size() + bytes.size(); }
};

/// The format is told by how the file begins.
Numbers read_numbers(const NamedFile& file) {
  return read_for(file.option, [&file]() -> Numbers {
    char start[2] = {'\x93', 'N'};
    std::ifstream(file.path, std::ios::binary).read(start, 2);
    const bool gzip = start[0] == '\x1f' && start[1] == '\x8b', idx = bilevel::is_idx(file.path) || gzip;
    if (!idx && start[0] != '\x93')
      throw IoError(file.path, "is neither an idx file of unsigned bytes nor a .npy array.");
    if (!idx) {
      bilevel::Array array = bilevel::read_npy(file.path);
      return {std::move(array.shape), std::move(array.values), {}};
    }
    bilevel::ByteArray array = bilevel::read_idx(file.path);
    return {std::move(array.shape), {}, std::move(array.values)};
  });
}

int as_int(const NamedFile& file, std::size_t value, const char* what) {
  if (value > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw IoError(file.text(), std::string("it has too many ") + what + ".");
  return static_cast<int>(value);
}

std::string text_of(double value) { return bilevel::option_text(value); }

/// Behind each row a constant.
template <class Number>
void append_constant(std::vector<Number>& rows, int width, Number constant) {
  std::vector<Number> wider;
  wider.reserve(rows.size() + rows.size() / static_cast<std::size_t>(width));
  for (auto row = rows.begin(); row != rows.end(); row += width) {
    wider.insert(wider.end(), row, row + width);
    wider.push_back(constant);
  }
  rows = std::move(wider);
}

constexpr std::uint8_t white = 255;  // the pixel that is 1

/// "0, 1 and 2", or of many "0 to 9".
std::string list_text(const std::vector<int>& labels) {
  if (labels.size() == 2) return std::to_string(labels[0]) + " and " + std::to_string(labels[1]);
  return std::to_string(labels.front()) + " to " + std::to_string(labels.back());
}

}  // namespace

Features Features::rows(int first, int number) const {
  const auto cut = [&](const auto& all) -> std::remove_cvref_t<decltype(all)> {
    if (all.empty()) return {};
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first) * width;
    return {begin, begin + static_cast<std::ptrdiff_t>(number) * width};
  };
  return {number, width, height_of_image, width_of_image, cut(values), cut(pixels)};
}

template <class T>
void Features::copy_to(std::span<T> out, int first) const {
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(first) * width, end = at + std::ssize(out);
  const auto as = [](double v) { return static_cast<T>(v); };
  if (pixels.empty()) {
    std::transform(values.begin() + at, values.begin() + end, out.begin(), as);
    return;
  }
  T shades[white + 1];
  for (int v = 0; v <= white; ++v) shades[v] = as(v / 255.0);
  std::transform(pixels.begin() + at, pixels.begin() + end, out.begin(),
                 [&shades](std::uint8_t v) { return shades[v]; });
}
template void Features::copy_to(std::span<float>, int) const;
template void Features::copy_to(std::span<double>, int) const;

Features read_features(const NamedFile& file, bool bias, bool keep_pixels) {
  Numbers array = read_numbers(file);
  if (array.shape.size() < 2)
    throw IoError(file.text(),
                  "features are an array [samples][features] or [samples][height][width], but "
                  "this one has " +
                      std::to_string(array.shape.size()) +
                      (array.shape.size() == 1 ? " dimension." : " dimensions."));
  Features f;
  f.count = as_int(file, array.shape[0], "samples");
  if (f.count == 0) throw IoError(file.text(), "it holds no sample.");
  f.width = as_int(file, array.count() / array.shape[0], "features");
  if (f.width == 0) throw IoError(file.text(), "its samples have no feature.");
  if (array.shape.size() == 3) {
    f.height_of_image = static_cast<int>(array.shape[1]);
    f.width_of_image = static_cast<int>(array.shape[2]);
  }
  const auto bad =
      std::find_if(array.values.begin(), array.values.end(), [](double v) { return !std::isfinite(v); });
  if (bad != array.values.end())
    throw IoError(file.text(), "sample " + std::to_string((bad - array.values.begin()) / f.width) +
                                   " (counted from 0) holds " + text_of(*bad) + ", which is not finite.");
  f.values = std::move(array.values);
  f.pixels = std::move(array.bytes);
  if (bias) {
    append_constant(f.values, f.width, 1.0);
    append_constant(f.pixels, f.width, white);
    f.width += 1;
  }
  if (!keep_pixels && !f.pixels.empty()) {
    f.values.resize(f.pixels.size());
    f.copy_to(std::span(f.values), 0);
    f.pixels = std::vector<std::uint8_t>();
  }
  return f;
}

std::vector<int> read_labels(const NamedFile& file, int samples, const NamedFile& of) {
  Numbers array = read_numbers(file);
  if (array.values.empty()) array.values.assign(array.bytes.begin(), array.bytes.end());
  if (array.shape.empty() || array.shape.size() > 2 || (array.shape.size() == 2 && array.shape[1] != 1))
    throw IoError(file.text(), "labels are an array [samples], a number for each.");
  if (array.values.size() != static_cast<std::size_t>(samples))
    throw IoError(file.text(), "it holds " + std::to_string(array.values.size()) + " labels for the " +
                                   std::to_string(samples) + " samples of " + of.text() + ".");
  constexpr double most = 1e9;
  std::vector<int> labels;
  for (const double v : array.values) {
    if (!(std::abs(v) <= most) || v != std::floor(v))
      throw IoError(file.text(), "label " + std::to_string(labels.size()) + " (counted from 0) is " +
                                     text_of(v) + ", not a whole number that names a class.");
    labels.push_back(static_cast<int>(v));
  }
  return labels;
}

std::vector<int> Classes::numbers(const NamedFile& file, const std::vector<int>& of) const {
  std::vector<int> numbers;
  for (const int label : of) {
    const auto found = std::find(labels.begin(), labels.end(), label);
    if (found == labels.end())
      throw IoError(file.text(), "label " + std::to_string(numbers.size()) + " (counted from 0) is " +
                                     std::to_string(label) + ", which is no class of the training labels, " +
                                     list_text(labels) + ".");
    numbers.push_back(static_cast<int>(found - labels.begin()));
  }
  return numbers;
}

Classes classes_of(const NamedFile& file, const std::vector<int>& labels, int count,
                   const std::string& which) {
  const std::set<int> present(labels.begin(), labels.end());
  const int largest = *present.rbegin();
  if (count > 0 && largest >= count)
    throw IoError(file.text(), "it has the label " + std::to_string(largest) + ", but --classes " +
                                   std::to_string(count) + " means the labels 0 to " +
                                   std::to_string(count - 1) + ".");
  if (present.size() == 1 && count == 0)
    throw IoError(file.text(), "all labels" + which + " are " + std::to_string(largest) +
                                   "; a classifier needs two classes.");
  if (present == std::set<int>{-1, 1} && (count == 0 || count == 2)) return {{-1, 1}};
  if (*present.begin() < 0)
    throw IoError(file.text(), "it has the label " + std::to_string(*present.begin()) +
                                   "; use 0, 1, ..., or -1 and 1 for two classes.");
  Classes classes;
  for (int label = 0; label < std::max(count, largest + 1); ++label) {
    if (!present.contains(label))
      throw IoError(file.text(), "no sample" + which + " has the label " + std::to_string(label) +
                                     ", though " +
                                     (count > 0 ? "--classes asks for it" : "others are larger") +
                                     "; number the classes from 0 without gaps.");
    classes.labels.push_back(label);
  }
  return classes;
}

std::vector<bool> corrupt_labels(std::vector<int>& labels, int classes, double rate, std::uint64_t seed) {
  const CounterRandom random(seed, Purpose::labels, 0);
  std::uint64_t index = 0;
  const auto below = [&](std::size_t n) {
    return static_cast<std::size_t>(random.bits(index++) % n);  // n is far below 2^64
  };
  std::vector<std::size_t> order(labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<bool> corrupted(labels.size(), false);
  const auto number = static_cast<std::size_t>(std::lround(rate * static_cast<double>(labels.size())));
  for (std::size_t k = 0; k < number; ++k) {  // the first of a shuffle (Fisher, Yates)
    std::swap(order[k], order[k + below(order.size() - k)]);
    const std::size_t j = order[k];
    corrupted[j] = true;
    labels[j] = (labels[j] + 1 + static_cast<int>(below(static_cast<std::size_t>(classes - 1)))) % classes;
  }
  return corrupted;
}

double area_under_curve(const std::vector<double>& values, const std::vector<bool>& second) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  double ranks = 0, first = 0;  // of the first group, from 1
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);  // mean of the equal ones
    for (std::size_t k = begin; k < end; ++k)
      if (!second[order[k]]) ranks += rank, first += 1;
  }
  return (ranks - first * (first + 1) / 2) / (first * (static_cast<double>(values.size()) - first));
}

}  // namespace bilevel_app::learn
