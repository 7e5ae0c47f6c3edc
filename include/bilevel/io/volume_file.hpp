#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// A scan in host memory, on the voxel axes i, j, k of its file.
struct Volume {
  int columns = 0;             ///< along i, which runs fastest
  int rows = 0;                ///< along j
  int slices = 0;              ///< along k
  int parts = 1;               ///< 2: real and imaginary part
  int frames = 1;              ///< product of the further dimensions (time, direction, ...)
  int dimensions = 3;          ///< the last one of more than one voxel, at least 3
  std::vector<double> values;  ///< [frame][part][k][j][i]
  std::array<double, 3> spacing{1.0, 1.0,
                                1.0};  ///< of voxels along i, j, k, as the file states it (usually mm)
  /// To which side of the patient i, j and k grow: one of R/L (right, left), A/P (anterior, posterior), S/I
  /// (superior, inferior) each; for oblique scans the nearest.
  std::string orientation = "RAS";
};

/// Reads NIfTI-1 and NIfTI-2, one file (.nii) or a pair (.hdr and .img, either named), also compressed (.gz),
/// and the ANALYZE 7.5 pairs that they grew out of; in either byte order; of int8..int64, uint8..uint64,
/// float32, float64, complex64 (two float32) and complex128. Values are slope * stored + intercept where the
/// header's slope is not 0, and as stored otherwise. The orientation is that of sform, else qform, else LAS.
/// The file is read in a child process (see `read_kspace`).
/// Throws IoError when the file is missing, no regular file, empty, cut off or inconsistent, has a dimension
/// of zero, another type (RGB, binary, extended precision), voxels that begin inside the header of one file,
/// or a NaN or infinite voxel. Memory is bounded by what a file of its size can hold.
/// Formats: https://nifti.nimh.nih.gov/nifti-1 and nifti-2 (nifti1.h, nifti2.h); read by nifti2.
BILEVEL_API Volume read_volume(const std::filesystem::path& path);

/// Planes through the body: horizontal, frontal, and that of a profile.
enum class Plane { axial, coronal, sagittal };

/// "axial", "coronal" or "sagittal". Throws ConfigError.
BILEVEL_API Plane parse_plane(std::string_view name);

/// How many slices a volume has along an axis, and the size of each.
struct SliceExtents {
  int count = 0, height = 0, width = 0;
  double row_spacing = 1.0, column_spacing = 1.0;  ///< between the centres of rows and of columns
};
BILEVEL_API SliceExtents slice_extents(const Volume& volume, Plane axis);

/// The slice `index` as an upright image [part][height][width]: row 0 is anterior in axial slices and
/// superior in others; columns run from left to right of the patient, in sagittal slices from posterior to
/// anterior. `index` counts from 0 along the voxel axis nearest to the normal of the plane, in the order of
/// the file. Intensities are not rescaled, and pixels not resampled to be square. Throws ConfigError for an
/// index or frame outside, ShapeError for a volume that contradicts itself.
BILEVEL_API std::vector<double> slice(const Volume& volume, Plane axis, int index, int frame = 0);

/// first, first + step, ... below last.
struct SliceRange {
  int first = 0;
  int last = -1;  ///< exclusive; -1 for the number of slices
  int step = 1;
  /// The indices within 0..count-1. Throws ConfigError when the range is empty or reaches beyond `count`.
  BILEVEL_API std::vector<int> indices(int count) const;
};

/// "A:B:STEP" as in Python: A..B-1 in steps of STEP; A, B, STEP and the second colon may be left out (0, the
/// number of slices, 1). A single number is that slice. No negative numbers. Throws ConfigError.
BILEVEL_API SliceRange parse_slice_range(std::string_view text);

}  // namespace v0
}  // namespace bilevel
