#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/common/image_data.hpp"
#include "apps/experiments/experiment.hpp"
#include "apps/experiments/measured_run.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::experiments {

/// A denoising problem of crops: 1/2 |x - y|^2 + R(x), squared error to the clean ones.
struct Denoising {
  Denoising(const bilevel::Device& device, const ImageBatch& batch, const bilevel::RegulariserSum& sum,
            const bilevel::Parameters& parameters);
  bilevel::View<const double> first() const { return start.view(); }

  bilevel::Context context;
  bilevel::RegulariserSum regularisers;
  bilevel::Parameters layout;
  bilevel::Tensor<double> truth, data, start;
  std::unique_ptr<bilevel::BilevelProblem<double>> problem;
};

/// Numbers that were learned on crops, with the reconstructions of these.
struct Learned {
  bilevel::DenoiseModel model;
  MeasuredRun run;
  std::vector<double> x;  ///< [images, 1, size, size]
};

/// The methods of bilevel-denoise train for a regulariser: solvers and steps, tolerance 1e-3.
bilevel::UpperOptions usual_options(const bilevel::RegulariserSum& sum);

/// A run on the problem. Throws Error when it fails, Interrupted after a signal.
Learned learned(const std::string& name, Denoising& problem, bilevel::UpperOptimiser<double>& optimiser);
/// The same by MAID with the usual options.
Learned learned_by_maid(const std::string& name, Denoising& problem);

/// The crops reconstructed by a model, to a certified root-mean-square distance of 1e-4. Throws Error when
/// that fails.
std::vector<double> denoised(const bilevel::Device& device, const bilevel::DenoiseModel& model,
                             const ImageBatch& batch);

/// Means over crops.
struct Quality {
  double psnr = 0, ssim = 0;
};
Quality quality_of(const ImageBatch& batch, std::span<const double> x);

/// Crops to learn from and crops of other files, which are at the end of --data; both with noise of standard
/// deviation `sigma`.
struct Photographs {
  ImageBatch train, test;
};
struct PhotographOptions {
  int train = 8, train_crop = 64;  ///< at most half of the files
  int test = 24, test_crop = 128;  ///< at most; one crop of a file
  double sigma = 0.1;
};
/// Throws IoError for what cannot be read, ConfigError for fewer than two files.
Photographs load_photographs(const Settings& settings, const PhotographOptions& options);

/// "Data: ..." of crops, for notes.
std::string data_note(const std::string& what, const ImageBatch& batch);

/// The model's numbers, arrays left out: "alpha 0.05, nu 0.01 (fixed)".
std::string numbers_text(const bilevel::DenoiseModel& model);

}  // namespace bilevel_app::experiments
