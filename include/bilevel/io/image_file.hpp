#pragma once

#include <filesystem>
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
  /// Set by read_image when the file held an alpha (or other extra) channel, which is not in `pixels`.
  bool alpha_dropped = false;
};

/// Reads one image; the format is found from the first bytes, never from the name.
///   PNG   1, 2, 4, 8, 16 bits; grey, palette (read as RGB), RGB; alpha is dropped (`alpha_dropped`)
///   PGM, PPM (P2, P3, P5, P6)  maximum value 1..65535
///   TIFF  one page; strips or tiles; 8 or 16-bit unsigned, 32 or 64-bit float; grey or RGB; what else
///         libtiff turns into RGB (palette, YCbCr, 1..4 bits) is read through its 8-bit interface
///   .npy  [H,W], [H,W,3] or [C,H,W] with C of 1 or 3 (a shape that fits both is refused)
/// Unsigned integers are divided by their largest value (255, 65535, the maximum value of a PNM);
/// floating-point values are taken as they are. Gamma and colour profiles are not applied.
/// Throws IoError when the file is missing, no regular file, empty, truncated, inconsistent, larger than
/// 2^31 pixels, or holds a NaN or infinite pixel. Memory is bounded by what a file of its size can hold.
BILEVEL_API HostImage read_image(const std::filesystem::path& path);

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

/// A file is returned as the only element. Of a folder, the entries with a known image extension (png, pgm,
/// ppm, pnm, tif, tiff, npy, any case), without subfolders and names that begin with a dot, sorted by name:
/// runs of digits compare as numbers (img2 before img10), everything else as bytes.
/// Throws IoError when the path does not exist or the folder cannot be read or holds no image.
BILEVEL_API std::vector<std::filesystem::path> list_images(const std::filesystem::path& file_or_folder);

}  // namespace v0
}  // namespace bilevel
