#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bilevel_app::learn {

/// The options that name files of samples, for messages: --train-data and its value.
struct NamedFile {
  std::string option, path;

  std::string text() const { return option + " " + path; }
};

/// Features of samples, row after row.
struct Features {
  int count = 0, width = 0;
  int height_of_image = 0, width_of_image = 0;  ///< of features that are an image (and perhaps a constant)
  std::vector<double> values;                   ///< [count][width]
  std::vector<std::uint8_t> pixels;             ///< in their place: 255 times them

  bool are_images() const { return height_of_image > 0; }
  /// Rows [first, first + count).
  Features rows(int first, int count) const;
  /// Rows from `first` on to all of `out`.
  template <class T>
  void copy_to(std::span<T> out, int first) const;
};

/// Reads an idx3-ubyte file (pixels divided by 255) or a `.npy` array [N][...] of real numbers, taken as they
/// are; [N][H][W] are images. `bias` appends the feature 1, `keep_pixels` leaves those of idx files bytes.
/// Throws IoError whose sentence begins with the option: what the readers refuse, no sample or feature,
/// numbers that are not finite.
Features read_features(const NamedFile& file, bool bias, bool keep_pixels = false);

/// Reads an idx1-ubyte file or a `.npy` array [N] or [N][1]. Throws IoError as above, for labels that are not
/// whole, and unless there are as many as `samples` of `of`.
std::vector<int> read_labels(const NamedFile& file, int samples, const NamedFile& of);

/// What labels mean. Two classes labelled 0 and 1, or -1 and 1, have one score, of the second against the
/// first; more classes, or labels of which one is 2 or more, a score each.
struct Classes {
  std::vector<int> labels;  ///< of class 0, 1, ...

  int count() const { return static_cast<int>(labels.size()); }
  int scores() const { return count() == 2 ? 1 : count(); }
  /// The numbers of the classes. Throws IoError for a label that no class has.
  std::vector<int> numbers(const NamedFile& file, const std::vector<int>& of) const;
};

/// The classes of training labels; `count` > 0: that many. Throws IoError unless they are -1 and 1, or 0 ...
/// C-1 with a sample of each. `which` tells which samples were looked at ("the first 100 samples of ").
Classes classes_of(const NamedFile& file, const std::vector<int>& labels, int count,
                   const std::string& which);

/// Gives round(rate labels.size()) labels another class, all others being equally likely, and tells which.
/// Two calls with the same seed do the same.
std::vector<bool> corrupt_labels(std::vector<int>& labels, int classes, double rate, std::uint64_t seed);

/// Probability that a value of the first group is above one of the second, equal ones counting half: the area
/// under the ROC curve. NaN when a group is empty. Source: Hanley and McNeil 1982, the Wilcoxon statistic.
double area_under_curve(const std::vector<double>& values, const std::vector<bool>& second);

}  // namespace bilevel_app::learn
