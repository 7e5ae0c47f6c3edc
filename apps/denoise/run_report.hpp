#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/denoise/filters_image.hpp"
#include "apps/denoise/options.hpp"

namespace bilevel_app::denoise {

/// Mean PSNR (dB, of the images that differ from the truth, see mean_psnr) and SSIM over images.
struct Quality {
  double psnr_noisy = 0, psnr = 0, ssim_noisy = 0, ssim = 0;
};

/// `reconstructions`: [images, size, size]; empty gives the noisy side only.
Quality measure_quality(const ImageBatch& batch, const std::vector<double>& reconstructions);

/// Options that decide the result of a run: kept in the model, compared when a run is resumed.
std::vector<bilevel::NamedOption> deciding_options(const TrainOptions& options);

/// images/: clean_K, noisy_K, reconstructed_K and strip_K (side by side) of up to four training crops, as
/// PNG.
void write_samples(const RunFolder& folder, const ImageBatch& batch,
                   const std::vector<double>& reconstructions);

/// images/filters.png.
void write_filters(const RunFolder& folder, const RankedFilters& filters);

/// What a run came to. Reconstructions may be missing after a failure, tests always.
struct Results {
  const bilevel::UpperReport& report;
  Quality training;
  bool reconstructed = false;
  std::optional<Quality> test;
  int test_images = 0;
  int resumed_from = -1;  ///< iteration, -1: a run from the start
};

/// Writes summary.json and returns its content.
nlohmann::ordered_json write_summary(const RunFolder& folder, const TrainOptions& options,
                                     const bilevel::Device& device, const ImageBatch& batch,
                                     const bilevel::Parameters& parameters, const Results& results);

/// A few lines for people.
std::string summary_text(const TrainOptions& options, const bilevel::Parameters& parameters,
                         const Results& results, const RunFolder& folder);

}  // namespace bilevel_app::denoise
