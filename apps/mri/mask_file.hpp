#pragma once

#include <span>
#include <string>
#include <vector>

namespace bilevel_app::mri {

/// Where zero frequency lies in a mask: at index floor(n/2), as BART, fastMRI, SigPy and deepinv write masks
/// and k-space, or at [0,0]. By itself: in the middle, but for mask.npy of runs from the time when that had
/// it first.
enum class MaskCentre { by_itself, middle, first };

/// by_itself (empty), middle or first; throws ConfigError for another name.
MaskCentre mask_centre_from(const std::string& name);

/// Which frequencies are kept.
struct Mask {
  std::vector<double> values;      ///< 0 or 1, [height][width], zero frequency at [0,0]
  std::vector<std::string> notes;  ///< sentences the user should read
};

/// The mask of height x width frequencies in a file:
///   .npy   real, or complex with imaginary part 0: [H,W] (SigPy) or, for columns that are kept or left out
///   as a
///          whole, [W] and [1,W]; either of them in copies that are equal, as [1,2,H,W] (deepinv), and with 1
///          or 2 parts behind, as [1,1,1,W,1] (fastMRI). An array of one dimension always is one of columns.
///   BART   [1,Y,Z] or [X,Y] (poisson, upat)
///   image  the values 0 and 255, or 0 and 1
/// Values above 0.5 are kept. Throws IoError for another shape, copies that differ, a value that is not
/// finite, an empty mask, or a mask.npy of an old run that has been changed, when `centre` does not say how
/// to read it.
Mask read_mask(const std::string& path, int height, int width, MaskCentre centre = MaskCentre::by_itself);

/// A sentence when the mask leaves out zero frequency, or has its fully sampled part around the frequency
/// farthest from it, as a mask with zero frequency at [0,0] that is read as if it were in the middle; else
/// empty.
std::string centre_fault(std::span<const double> mask, int height, int width);

/// Whether what a mask keeps was measured, `sampled` being 1 for those frequencies: how many were not, and
/// how many were that the mask leaves out.
struct MaskFit {
  std::size_t unmeasured = 0, unused = 0;
};
MaskFit fit_of(std::span<const double> mask, std::span<const unsigned char> sampled);

}  // namespace bilevel_app::mri
