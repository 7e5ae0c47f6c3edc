#pragma once

#include <complex>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::mri {

/// Which images or measurements, and how they become a problem.
struct DataOptions {
  std::vector<std::string> data;           ///< volumes, images, k-space; files and folders of them
  std::string slices;                      ///< A:B:STEP; empty: all
  std::string slices_option = "--slices";  ///< what messages call it
  std::string axis = "axial";
  std::optional<int> frame;  ///< volume of files that hold several; empty: 0
  std::string crop_to;       ///< N, RxC or recon: the middle of the images, before `size`; empty: all of them
  int size = 0;              ///< N x N; 0: as the data
  bool size_is_guess = false;   ///< images that all have `size` already stay as they are, and a note says so
  std::string sensitivities;    ///< maps of the coils; empty: one coil of sensitivity 1
  std::optional<double> sigma;  ///< of a complex sample; empty: 0.02 for images, 0 for k-space
  std::string image = "complex";
  std::uint64_t seed = 0;
};

/// Throws ConfigError naming the option that is outside its range.
void validate(const DataOptions& options);

/// Throws ConfigError naming the option unless the text is empty or a range of slices.
void validate_slices(const std::string& slices, const char* option);

/// Images with their fully sampled, noisy k-space. Images have one component (real) or two planes.
struct MriData {
  int images = 0, height = 0, width = 0, coils = 1;
  bool complex = true;
  std::vector<double> truth;                 ///< [images][components][height][width]
  std::vector<std::complex<double>> kspace;  ///< [images][coils][height][width], zero frequency at [0,0]
  std::vector<std::complex<double>> maps;    ///< [coils][height][width]; empty: one coil
  double sigma = 0;
  std::vector<std::string> names;  ///< per image
  std::vector<std::string> notes;  ///< sentences the user should read
  bilevel::DataFingerprint fingerprint;

  int components() const { return complex ? 2 : 1; }
  std::size_t pixels() const { return static_cast<std::size_t>(height) * width; }
  bilevel::Shape shape() const { return {images, components(), height, width}; }
  bilevel::CoilMaps coil_maps() const { return {coils, maps}; }
};

/// Reads slices of a volume, images, or k-space, crops them and brings them to N x N, scales the set so that
/// its largest magnitude is 1, and measures them with noise. Throws IoError for files that cannot be read or
/// do not fit together, ConfigError for options that do not.
MriData load_data(const DataOptions& options);

/// Whether --data names k-space rather than images. Throws as load_data() does for paths.
bool holds_kspace(const DataOptions& options);

struct Extent {
  int rows = 0, columns = 0;
  bool operator==(const Extent&) const = default;
};
/// What images pass through: as measured, the part in the middle that is kept, and that resampled.
struct Sizes {
  Extent measured, cropped, resampled;
};

/// Maps of `coils` sensitivities (0: of as many as there are) from a file, brought to the last of the sizes.
/// Throws IoError for another number, or for maps that have none of the sizes. Adds to the notes that several
/// maps are real.
std::vector<std::complex<double>> load_maps(const std::string& path, int coils, const Sizes& sizes,
                                            std::vector<std::string>& notes);

/// "slice 5" or "slices 0 to 7".
std::string slices_text(const std::vector<int>& numbers);

/// |x| of an image with one or two component planes.
std::vector<double> magnitude(std::span<const double> image, int components);

}  // namespace bilevel_app::mri
