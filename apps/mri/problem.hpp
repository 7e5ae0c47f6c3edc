#pragma once

#include <complex>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/mri/mri_data.hpp"
#include "apps/mri/mri_model.hpp"
#include "bilevel/core/device.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/solve/report.hpp"

namespace bilevel_app::mri {

/// The energy of the data under a pattern; `mixed`: T is double, and the energy keeps itself in single
/// precision.
template <class T>
std::unique_ptr<bilevel::ComposedEnergy<T>> make_energy(bilevel::Context& context, const MriData& data,
                                                        const bilevel::SamplingPattern& pattern,
                                                        const bilevel::Parameters& parameters,
                                                        const bilevel::RegulariserSum& regulariser,
                                                        bool mixed);

/// sigma^* F^* W y at the bound theta for all images.
template <class T>
bilevel::Tensor<T> zero_filled(bilevel::Context& context, const bilevel::ComposedEnergy<T>& energy,
                               const MriData& data);

/// How reconstructions are made.
struct Solver {
  std::string precision = "double", minimiser = "newton";
  double tolerance = 1e-3;  ///< certified root-mean-square distance per pixel to the minimiser
};

struct Reconstruction {
  std::vector<double> zero_filled, x;  ///< [images][components][height][width]; the first: combine(F^* W y)
  std::vector<double> distance;        ///< certified, root mean square per pixel, per image
  bilevel::SolveStatus status = bilevel::SolveStatus::converged;
  bilevel::Work work;
  std::string message;
};

/// All images of the data at theta, from the zero-filled ones. Ends early with status `decided` after a
/// signal.
Reconstruction reconstruct(const bilevel::Device& device, const MriData& data,
                           const bilevel::SamplingPattern& pattern, const bilevel::Parameters& parameters,
                           std::span<const double> theta, const bilevel::RegulariserSum& regulariser,
                           const Solver& solver);
/// By a model, which must fit the data. Throws ShapeError otherwise.
Reconstruction reconstruct(const bilevel::Device& device, const MriData& data, const MriModel& model,
                           const Solver& solver);

/// The image of --reference, an empty one without a path. Throws IoError unless it can be read and has the
/// size of the data; several images share it, which a note of theirs says.
bilevel::HostImage load_reference(const std::string& path, MriData& data);

/// PSNR (dB; peak 1, |error|^2 per pixel) and SSIM of the magnitudes (range: the largest of the truth).
struct Quality {
  double psnr = 0, ssim = 0;
  int exact = 0;  ///< images without error, of infinite PSNR
};
Quality quality_of(const MriData& data, int image, std::span<const double> x);
/// Means over the images; that of the PSNR over those with an error, infinite when there are none.
Quality mean_quality(const MriData& data, const std::vector<double>& x);

/// psnr (null when infinite), ssim and, of a mean that leaves them out of the PSNR, exact_images.
nlohmann::ordered_json quality_json(const Quality& quality);

}  // namespace bilevel_app::mri
