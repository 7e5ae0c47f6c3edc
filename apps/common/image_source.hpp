#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/io/image_file.hpp"

namespace bilevel_app {

/// One image of a file; stacks hold several.
struct ImageSource {
  std::filesystem::path path;
  std::size_t index = 0, count = 1;

  std::string name() const;  ///< the file's name, with #K for image K of a stack
  std::string text() const;  ///< the same with the folder, for messages
};

/// The images of several folders and files, in the order given, folders sorted; at most `most`. Throws
/// IoError.
std::vector<ImageSource> list_sources(const std::vector<std::string>& paths,
                                      std::size_t most = static_cast<std::size_t>(-1));

/// What the user should know of the images of a set.
class ImageCensus {
 public:
  /// Intensities further than `margin` outside of [0,1] are reported; none: these images have no such scale.
  explicit ImageCensus(std::optional<double> margin) : margin_(margin) {}

  /// `values` as they count. `declared`: their scale is that of the integers which the file stores. Throws
  /// IoError when the set has files with a declared scale and a file that reaches far beyond it.
  void see(const std::string& name, std::span<const double> values, bool declared,
           const std::vector<std::string>& notes = {});

  /// Throws IoError when one set has files with a declared scale and the other a file far beyond it.
  void require_scale_of(const ImageCensus& other) const;

  /// Sentences, the same one of several images once.
  std::vector<std::string> notes() const;

 private:
  struct Range {
    double low, high;
    bool declared;
    double largest() const;
  };
  std::optional<double> margin_;
  std::vector<std::pair<std::string, Range>> ranges_;                           ///< in the order seen
  std::vector<std::pair<std::string, std::vector<std::string>>> reader_notes_;  ///< note, names
};

/// Throws IoError for a grey image.
void require_colour(const std::string& name, const bilevel::HostImage& image);

/// "0.5 to 255", for messages.
std::string range_text(double low, double high);

/// Reads images as luma, or with three channels; a file of several once for all of them. Tells the census of
/// each image.
class ImageReader {
 public:
  explicit ImageReader(std::optional<double> margin, int channels = 1)
      : channels_(channels), census_(margin) {}
  /// Throws IoError for a grey image where three channels are asked for.
  bilevel::HostImage read(const ImageSource& source);
  const ImageCensus& census() const { return census_; }
  std::vector<std::string> notes() const { return census_.notes(); }

 private:
  int channels_;
  std::filesystem::path path_;
  std::vector<bilevel::HostImage> images_;  ///< of the file at path_
  ImageCensus census_;
};

}  // namespace bilevel_app
