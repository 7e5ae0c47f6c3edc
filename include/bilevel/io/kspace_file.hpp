#pragma once

#include <complex>
#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Measured spatial frequencies of two-dimensional slices; 16 bytes a value.
struct Kspace {
  int slices = 0, coils = 0, rows = 0, columns = 0;
  /// [slice][coil][row][column], zero frequency at [0,0]: the unitary inverse discrete Fourier transform
  ///   x[p,q] = 1/sqrt(HW) sum_{k,l} values[k,l] exp(+2 pi i (k p/H + l q/W))
  /// is the image of the coil with its centre at [floor(H/2), floor(W/2)].
  std::vector<std::complex<double>> values;
  /// [slice][row][column]: 1 where measured, 0 at frequencies left out, which are zero. ISMRMRD tells what
  /// its echoes measured, zeros included; in other formats it is where a coil has a value that is not zero.
  std::vector<unsigned char> sampled;
  std::vector<int> slice_numbers;  ///< [slice], what the file calls them; 0, 1, ... but for ISMRMRD
  /// Pixels of the reconstructed image, the middle of this one; 0 when unknown. fastMRI: reconSpace of
  /// `ismrmrd_header`, which can be larger than the extents; ISMRMRD: of the reconstructed field of view.
  int recon_rows = 0, recon_columns = 0;
  std::vector<std::string> notes;  ///< sentences for the user about what was read
};

enum class KspaceFormat { automatic, fastmri, ismrmrd, bart, npy };

/// Reads k-space; `automatic` goes by the first bytes, and by the name for BART.
///   fastMRI HDF5  dataset `kspace`, [slice][row][column] or [slice][coil][row][column], complex numbers as a
///                 compound of the floating-point members r and i
///   ISMRMRD HDF5  /dataset/xml and /dataset/data; one Cartesian encoding of slices. The readout becomes the
///                 rows, as in fastMRI, and the first encoding step the columns. Where the encoded field of
///                 view is wider than the reconstructed one (oversampling), the image is cropped to the
///                 latter: the rows always, the columns if all lines were measured; else they keep the
///                 encoded field of view and `notes` says so. Matrix sizes decide nothing. What a partial
///                 echo or discarded samples leave out of an oversampled readout is extrapolated for the
///                 cropping alone (Papoulis-Gerchberg); a frequency of the cropped readout counts as measured
///                 when the encoded ones on both sides of it were. Noise, calibration and other scans beside
///                 the image are left out; echoes that are not in the file are zero, and a slice without an
///                 echo is none.
///   BART          .cfl and .hdr, either or the name without extension given: two of the three spatial
///                 dimensions, coils in dimension 3, slices in dimension 13
///   .npy          complex, [row][column], [coil][row][column] or [slice][coil][row][column]
/// All of them have zero frequency at the centre, index floor(n/2), and the image's origin at its centre:
/// image = fftshift(ifft(ifftshift(k))). Reading moves both to [0,0]: values[k] = exp(-2 pi i c k/n)
/// file[(k+c) mod n] with c = floor(n/2), in both directions.
/// HDF5 (like NIfTI, see read_volume) is read in a child process of limited memory and time, for libraries
/// that crash on damaged files; the caller's SIGCHLD handler may see it end. Another thread of the caller
/// that is inside the HDF5 library at this moment can make it fail. Reading holds the values once, and beside
/// them a slice (fastMRI), the echoes as stored (ISMRMRD) or the file (BART, .npy). Throws IoError when the
/// file is missing, no regular file, empty, cut off or inconsistent, larger than a file of its size can hold,
/// lacks a dataset (the ones found are named), holds what the above does not cover (three-dimensional
/// encodings, several contrasts, repetitions, averages, ...), a compression or version that the HDF5 library
/// lacks, links to other files, is held by a writer, or has a NaN or infinite value. Formats: fastMRI
/// arXiv:1811.08839; ISMRMRD doi:10.1002/mrm.26089; BART doi:10.5281/zenodo.592960.
BILEVEL_API Kspace read_kspace(const std::filesystem::path& path,
                               KspaceFormat format = KspaceFormat::automatic);

/// Whether the file is k-space by its kind: HDF5 (by its first bytes, whatever its name) or BART's pair. An
/// `.npy` file can be k-space or images: false. Throws nothing about files that are missing.
BILEVEL_API bool is_kspace(const std::filesystem::path& path);

/// Complex images, or maps of coil sensitivities, in host memory.
struct ComplexImages {
  int count = 0, rows = 0, columns = 0;
  std::vector<std::complex<double>> values;  ///< [image or coil][row][column], as stored in the file
};

/// Reads complex images: BART .cfl and .hdr (spatial dimensions as above, all others enumerate images), or
/// `.npy` of complex or floating-point numbers, [H,W] or [N,H,W]. Throws IoError as read_kspace does.
BILEVEL_API ComplexImages read_complex_images(const std::filesystem::path& path);

/// Reads one set of coil sensitivities: BART (coils in dimension 3), or `.npy` as above or [set][coil][H][W].
/// A second set, as ESPIRiT estimates it (BART's dimension 4), is left out when it is zero everywhere. Throws
/// IoError for one that is not, for maps of several slices, and as read_complex_images does.
BILEVEL_API ComplexImages read_coil_maps(const std::filesystem::path& path);

}  // namespace v0
}  // namespace bilevel
