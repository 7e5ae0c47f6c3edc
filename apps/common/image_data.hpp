#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/common/image_source.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app {

/// Which images, and how they become noisy ones.
struct DataOptions {
  std::vector<std::string> data;            ///< folders and files
  std::vector<std::string> noisy;           ///< given noisy images instead of noise, in the same order
  std::string mask;                         ///< 0/1 sampling image; empty: every pixel is measured
  std::string reference;                    ///< image for directional total variation; empty: none
  std::string blur_option;                  ///< as given; empty: no blur
  std::optional<bilevel::BlurKernel> blur;  ///< of the clean images before the noise
  std::vector<std::string> notes;           ///< on the options
  double sigma = 0.1;                       ///< standard deviation of the noise, intensities being 0 to 1
  int images = 25;                          ///< 0: one per file
  int crop = 96;                            ///< pixels; 0: whole images
  int channels = 1;                         ///< 1: images are used as luma; 3: RGB images as they are
  std::uint64_t seed = 0;
};

/// Throws ConfigError naming the option that is outside its range.
void validate(const DataOptions& options);

/// Clean and noisy crops, all square of the same size: [images, channels, size, size].
struct ImageBatch {
  int images = 0, size = 0, channels = 1;
  std::vector<double> clean, noisy, mask;  ///< mask: [size, size], or empty
  std::vector<double> reference;           ///< the same crops of it, or empty
  std::vector<std::string>
      names;  ///< per image: file, with the crop's corner when there are several of a file
  std::vector<std::string> notes;  ///< sentences the user should read
  bilevel::DataFingerprint fingerprint;

  bilevel::Shape shape() const { return {images, channels, size, size}; }
  std::span<const double> clean_image(int k) const { return image_of(clean, k); }
  std::span<const double> noisy_image(int k) const { return image_of(noisy, k); }
  /// Image k of an array of them.
  std::span<const double> image_of(const std::vector<double>& values, int k) const {
    return std::span(values).subspan(static_cast<std::size_t>(k) * shape().image(), shape().image());
  }
};

/// The files of several folders and files, in the order given, folders sorted. Throws IoError.
std::vector<std::filesystem::path> list_all(const std::vector<std::string>& paths);

/// Crops of luma or RGB images: the centre crop of each of the first `images` files; with fewer files,
/// further crops of the grid through the centre crop, in an order drawn from the seed; when those are too
/// few, crops of the grid that has most. An image of a stack counts as a file. Throws IoError for files that
/// cannot be read or are smaller than the crop, or grey where RGB is asked for, ConfigError when the files
/// hold too few crops or --noisy does not fit.
ImageBatch load_crops(const DataOptions& options);

/// One whole image, luma or RGB, and its noisy version; noise of stream `index`.
struct ImagePair {
  std::string name;
  bilevel::HostImage clean, noisy;
};
/// An image of --data with its partner in --noisy; without --noisy no path is there.
struct SourcePair {
  ImageSource clean, noisy;
};
/// The images of --data, at most `most`, with their partners. Throws ConfigError when the counts differ.
std::vector<SourcePair> paired_sources(const DataOptions& options,
                                       std::size_t most = static_cast<std::size_t>(-1));

/// Reads pairs of images, and remembers what the user should know of them.
class PairReader {
 public:
  explicit PairReader(int channels = 1)
      : clean_(0.25, channels), noisy_(1.0, channels) {}  // noise goes beyond [0,1]
  bilevel::HostImage clean(const SourcePair& pair) { return clean_.read(pair.clean); }
  /// The given noisy image. Throws IoError unless it has the size of the clean one, and their scale.
  bilevel::HostImage noisy(const SourcePair& pair, const bilevel::HostImage& clean);
  std::vector<std::string> notes() const;

 private:
  ImageReader clean_, noisy_;
};

ImagePair load_pair(const SourcePair& pair, const DataOptions& options, std::uint32_t index,
                    PairReader& reader);

/// Crop [channels, height, width] of an image, behind what is there.
void append_crop(const bilevel::HostImage& image, int row, int column, int height, int width,
                 std::vector<double>& out);
/// Convolves every channel.
void blur_channels(const bilevel::BlurKernel& kernel, int height, int width, std::span<double> image);

/// What to say of a noise level that is larger than all intensities; empty when it is not.
std::string noise_note(double sigma);

/// A mask that holds 0 and 1 as integers of a type whose largest value counts as 1 (an 8-bit PNG of 0 and 1):
/// its values become 0 and 1, and a note says so.
void take_zero_and_one(bilevel::HostImage& mask, const std::string& path, std::vector<std::string>& notes);

/// A 0/1 image of the given size: one where the file's value exceeds 0.5. Integers become 0 to 1 by their
/// type, but 0 and 1 stored as they are count as that, in .npy of any type. Appends to `notes` what the user
/// should read. Throws IoError for another size, values outside [0,1], and a mask that measures nothing.
std::vector<double> load_mask(const std::string& path, int height, int width,
                              std::vector<std::string>& notes);

/// What to say of a reference that is the one of several files; empty when it is not.
std::string reference_note(const std::string& path, std::size_t files);
/// The image of --reference as luma, on any scale; an empty one without a path. Throws IoError unless it is
/// one image that can be read.
bilevel::HostImage read_reference(const std::string& path);
/// Throws IoError naming `path` unless the reference, where there is one, has the size of the image `name`.
void require_reference_fits(const std::string& path, const bilevel::HostImage& reference, int height,
                            int width, const std::string& name);

/// Bits per sample that keep what the file at `path` distinguishes: 8, 16 or 32 (float).
int source_bits(const std::filesystem::path& path);

}  // namespace bilevel_app
