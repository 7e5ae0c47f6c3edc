#include "apps/mri/problem.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/common/image_data.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/common/upper_options.hpp"
#include "apps/mri/coils.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/quality.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::mri {

using namespace bilevel;

template <class T>
std::unique_ptr<ComposedEnergy<T>> make_energy(Context& context, const MriData& data,
                                               const SamplingPattern& pattern, const Parameters& parameters,
                                               const RegulariserSum& regulariser, bool mixed) {
  const std::vector<std::complex<T>> kspace(data.kspace.begin(), data.kspace.end());
  auto energy = std::make_unique<ComposedEnergy<T>>(context, data.shape(), kspace, pattern, parameters,
                                                    regulariser, data.coil_maps());
  if constexpr (std::is_same_v<T, double>)
    if (mixed) energy->keep_single_precision(context);
  return energy;
}
template std::unique_ptr<ComposedEnergy<float>> make_energy(Context&, const MriData&, const SamplingPattern&,
                                                            const Parameters&, const RegulariserSum&, bool);
template std::unique_ptr<ComposedEnergy<double>> make_energy(Context&, const MriData&, const SamplingPattern&,
                                                             const Parameters&, const RegulariserSum&, bool);

template <class T>
Tensor<T> zero_filled(Context& context, const ComposedEnergy<T>& energy, const MriData& data) {
  Tensor<T> images(context, data.shape());
  Frame frame(context);
  const ActiveSet all(context, frame, data.images);
  energy.fourier()->zero_filled(context, all.active(), images.view());
  return images;
}
template Tensor<float> zero_filled(Context&, const ComposedEnergy<float>&, const MriData&);
template Tensor<double> zero_filled(Context&, const ComposedEnergy<double>&, const MriData&);

namespace {

template <class T>
Reconstruction solve(const Device& device, const MriData& data, const SamplingPattern& pattern,
                     const Parameters& parameters, std::span<const double> theta,
                     const RegulariserSum& regulariser, const Solver& solver) {
  Context context(device);
  const auto energy =
      make_energy<T>(context, data, pattern, parameters, regulariser, solver.precision == "mixed");
  energy->bind(theta);
  const Tensor<T> start = zero_filled<T>(context, *energy, data);
  Tensor<T> x = start_from<T>(context, start.view(), energy->shape());
  Reconstruction out;
  const auto host = [&context](const Tensor<T>& images) {
    const std::vector<T> values = download<T>(context, images);
    return std::vector<double>(values.begin(), values.end());
  };
  out.zero_filled = host(start);
  const std::vector<double> power = coil_power(data.maps, data.pixels());
  for (std::size_t i = 0; i < out.zero_filled.size(); ++i) {
    const double p = power[i % data.pixels()];
    out.zero_filled[i] = p > 0 ? out.zero_filled[i] / p : 0.0;
  }
  const double root = std::sqrt(static_cast<double>(data.pixels()));
  SolveRequest<T> request;
  request.tolerance = solver.tolerance * root;
  request.decided = [](Context&, View<const T>, std::span<const double>) { return interrupted(); };
  const SolveReport report = make_minimiser<T>(in_precision(solver.minimiser, solver.precision))
                                 ->minimise(context, *energy, request, x.view());
  out.x = host(first_channels<T>(context, x.view(), data.shape().c));
  out.distance = report.certificate;
  for (double& d : out.distance) d /= root;
  out.status = report.status;
  out.work = report.work;
  out.message = report.message;
  return out;
}

}  // namespace

Reconstruction reconstruct(const Device& device, const MriData& data, const SamplingPattern& pattern,
                           const Parameters& parameters, std::span<const double> theta,
                           const RegulariserSum& regulariser, const Solver& solver) {
  if (solver.precision == "float")
    return solve<float>(device, data, pattern, parameters, theta, regulariser, solver);
  return solve<double>(device, data, pattern, parameters, theta, regulariser, solver);
}

Reconstruction reconstruct(const Device& device, const MriData& data, const MriModel& model,
                           const Solver& solver) {
  if (data.height != model.height || data.width != model.width)
    throw ShapeError("the mask has " + std::to_string(model.width) + " x " + std::to_string(model.height) +
                     " frequencies, but the data have " + std::to_string(data.width) + " x " +
                     std::to_string(data.height) + ".");
  return reconstruct(device, data, model.pattern(), model.parameters(), {}, model.regulariser, solver);
}

HostImage load_reference(const std::string& path, MriData& data) {
  HostImage reference = read_reference(path);
  require_reference_fits(path, reference, data.height, data.width,
                         data.names.empty() ? "k-space" : data.names.front());
  if (!path.empty() && data.images > 1)
    data.notes.push_back(
        format("%s: its edges are those that all %d images are expected to have", path.c_str(), data.images));
  return reference;
}

Quality quality_of(const MriData& data, int image, std::span<const double> x) {
  const std::size_t each = data.pixels() * data.components();
  const auto truth = std::span(data.truth).subspan(image * each, each);
  const std::vector<double> a = magnitude(x, data.components()), b = magnitude(truth, data.components());
  const double range = *std::max_element(b.begin(), b.end());
  Quality q;
  q.psnr = psnr(x, truth) - 10 * std::log10(static_cast<double>(data.components()));
  q.ssim = range > 0 ? ssim(a.data(), b.data(), data.height, data.width, range) : a == b ? 1.0 : 0.0;
  q.exact = std::isinf(q.psnr) ? 1 : 0;
  return q;
}

Quality mean_quality(const MriData& data, const std::vector<double>& x) {
  const std::size_t each = data.pixels() * data.components();
  Quality mean;
  std::vector<double> psnr;
  for (int k = 0; k < data.images; ++k) {
    const Quality q = quality_of(data, k, std::span(x).subspan(k * each, each));
    psnr.push_back(q.psnr);
    mean.ssim += q.ssim / data.images;
  }
  const MeanPsnr over = mean_psnr(psnr);
  mean.psnr = over.value;
  mean.exact = over.exact;
  return mean;
}

nlohmann::ordered_json quality_json(const Quality& q) {
  nlohmann::ordered_json json{{"psnr", q.psnr}, {"ssim", q.ssim}};
  if (q.exact > 0) json["exact_images"] = q.exact;
  return json;
}

}  // namespace bilevel_app::mri
