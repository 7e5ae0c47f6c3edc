#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// An image in host memory: `pixels` is planar [channels, height, width], row-major, intensities in [0,1].
struct HostImage {
  int channels = 1;
  int height = 0;
  int width = 0;
  std::vector<double> pixels;
  /// Set when the file held an alpha channel, which is not in `pixels`.
  bool alpha_dropped = false;
  /// Set when the file stored integers, which were divided by their largest value.
  bool from_integers = false;
  /// What the reader left out or took in one of two ways; parts of sentences about the file.
  std::vector<std::string> notes = {};
};

/// Reads one image; the format is found from the first bytes, never from the name.
///   PNG   1, 2, 4, 8, 16 bits; grey, palette (read as RGB), RGB; alpha is dropped (`alpha_dropped`);
///         turned as EXIF says
///   JPEG  8 bits, grey or colour (YCbCr or RGB), baseline or progressive, turned as EXIF says; no CMYK
///   PGM, PPM (P2, P3, P5, P6)  maximum value 1..65535
///   TIFF  strips or tiles; 8 or 16-bit unsigned, 32 or 64-bit float; grey or RGB; what else libtiff turns
///         into RGB (palette, YCbCr, CMYK, 1..4 bits) is read through its 8-bit interface. Reduced images and
///         masks beside the first page are passed over
///   .npy  arrays as image_layout() takes them
/// Unsigned integers are divided by their largest value (255, 65535, the maximum value of a PNM);
/// floating-point values are taken as they are. Gamma and colour profiles are not applied.
/// Throws IoError when the file is missing, no regular file, empty, truncated, inconsistent, larger than
/// 2^31 pixels, holds several images, or a NaN or infinite pixel. Memory is bounded by what a file of its
/// size can hold.
BILEVEL_API HostImage read_image(const std::filesystem::path& path);

/// Every image of a file: the pages of a TIFF, stacks of ImageJ and tifffile that have one directory for all
/// slices, stacks in `.npy`; one image of the other formats. Throws IoError as read_image does; a value that
/// is not finite is named with the number of its image, from 0.
BILEVEL_API std::vector<HostImage> read_images(const std::filesystem::path& path);

/// How many images read_images would return, 1 for files of which it knows without reading them. Pixels are
/// not decoded. Throws IoError.
BILEVEL_API std::size_t count_images(const std::filesystem::path& path);

/// How an array holds images of one size.
struct ImageLayout {
  std::size_t images = 1, channels = 1, height = 0, width = 0;
  bool channels_last = false;
  /// Where the array has channel c of pixel (y, x) of image n.
  std::size_t at(std::size_t n, std::size_t c, std::size_t y, std::size_t x) const {
    return channels_last ? ((n * height + y) * width + x) * channels + c
                         : ((n * channels + c) * height + y) * width + x;
  }
};

/// What an array of shape [3,H,W] is: a colour image, or three images where images have no colours.
enum class LeadingThree { colours, images };

/// The images of an array of the given shape:
///   [H,W], [H,W,1], [1,H,W]      one image
///   [H,W,3], [3,H,W]             one colour image (but see LeadingThree); of complex numbers [3,H,W] is a
///   stack [N,H,W]                      a stack, where W is more than 4 [N,H,W,C], [N,C,H,W]         a stack,
///   C being 1 or 3
/// Throws IoError with `name` for other shapes, and for those that can be read in two ways: [3,H,3], and
/// [H,W,2] or [H,W,4] (real and imaginary part, channels with alpha).
BILEVEL_API ImageLayout image_layout(const std::string& name, const std::vector<std::size_t>& shape,
                                     bool complex = false, LeadingThree three = LeadingThree::colours);

/// How write_image stores intensities.
struct ImageWriteOptions {
  /// Bits per sample. PNG, PGM, PPM: 8 or 16. TIFF: 8, 16 or 32 (float). `.npy` is always float64.
  int bits = 8;
  bool forced = true;  ///< to the disk, see write_file_atomically; always so for `.npy`
};

/// Writes one image; the extension chooses the format: .png .pgm .ppm .pnm .tif .tiff .npy (any case).
/// Integer formats clamp to [0,1] and round to nearest; float formats store the values as they are.
/// A one-channel `.npy` has shape [H,W], a three-channel one [3,H,W].
/// The file appears complete or not at all (see write_file_atomically).
/// Throws ShapeError when pixels and extents disagree, ConfigError for `bits` the format does not have,
/// IoError for an unknown extension, a NaN or infinite pixel, or a failed write.
BILEVEL_API void write_image(const std::filesystem::path& path, const HostImage& image,
                             ImageWriteOptions options = {});

/// Luma .299 R + .587 G + .114 B (ITU-R BT.601); one-channel images are returned unchanged.
/// Throws ShapeError for other channel counts or inconsistent extents.
BILEVEL_API HostImage to_luma(const HostImage& image);

/// A file is returned as the only element. Of a folder, the entries whose names end with one of `endings` (in
/// lower case: ".png", ".nii.gz"; any case in the folder), without subfolders and names that begin with a
/// dot, sorted by name: runs of digits compare as numbers (img2 before img10), everything else as bytes; none
/// when there is none. Throws IoError when the path does not exist or the folder cannot be read.
BILEVEL_API std::vector<std::filesystem::path> list_files(const std::filesystem::path& file_or_folder,
                                                          const std::vector<std::string>& endings);

/// The endings of image files: .png .jpg .jpeg .pgm .ppm .pnm .tif .tiff .npy.
BILEVEL_API const std::vector<std::string>& image_endings();

/// list_files with image_endings(). Throws IoError also for a folder that holds no image.
BILEVEL_API std::vector<std::filesystem::path> list_images(const std::filesystem::path& file_or_folder);

}  // namespace v0
}  // namespace bilevel
