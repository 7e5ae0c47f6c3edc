#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/options.hpp"
#include "apps/mri/problem.hpp"
#include "apps/mri/resample.hpp"
#include "apps/mri/run_files.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/kspace_file.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

std::string output_kind(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (extension != ".npy" && extension != ".png")
    throw ConfigError("--output " + path + ": use .npy (complex) or .png (magnitude).");
  return extension;
}

/// One slice with its coils and maps, not scaled.
MriData load_slice(const ReconstructOptions& o, const Kspace& k) {
  if (o.slice >= k.slices)
    throw ConfigError(
        format("--slice %d: %s has %d slice(s), counted from 0.", o.slice, o.kspace.c_str(), k.slices));
  if (k.coils > 1 && o.sensitivities.empty())
    throw ConfigError(
        format("%s has %d coils; name their maps with --sensitivities FILE.", o.kspace.c_str(), k.coils));
  MriData data;
  data.images = 1;
  data.height = k.rows;
  data.width = k.columns;
  data.coils = k.coils;
  const std::size_t each = data.pixels() * static_cast<std::size_t>(k.coils);
  const auto begin = k.values.begin() + static_cast<std::ptrdiff_t>(o.slice * each);
  data.kspace.assign(begin, begin + static_cast<std::ptrdiff_t>(each));
  if (!o.sensitivities.empty())
    data.maps = load_maps(o.sensitivities, k.coils, k.rows, k.columns, k.rows, k.columns);
  return data;
}

/// The model of the options: the mask of --mask, or what the file has measured.
MriModel model_of(const ReconstructOptions& o, const Kspace& k) {
  MriModel m;
  m.height = k.rows;
  m.width = k.columns;
  m.potential = potential_from(o.model.potential);
  m.alpha = o.model.weight;
  m.nu = o.model.nu;
  m.xi = o.model.xi;
  if (!o.mask.empty()) {
    m.s = read_mask(o.mask, k.rows, k.columns);
    return m;
  }
  const std::size_t pixels = static_cast<std::size_t>(k.rows) * k.columns;
  const auto begin = k.sampled.begin() + static_cast<std::ptrdiff_t>(o.slice * pixels);
  m.s.assign(begin, begin + static_cast<std::ptrdiff_t>(pixels));
  return m;
}

/// Largest magnitude of the zero-filled reconstruction, in the units of the file.
double largest_magnitude(const MriData& data, const MriModel& model) {
  const std::vector<double> weights = model.pattern().weights(model.s);
  Complexes masked = data.kspace;
  for (std::size_t i = 0; i < masked.size(); ++i) masked[i] *= weights[i % weights.size()];
  const Complexes coils = inverse_fourier(masked, data.coils, data.height, data.width);
  double largest = 0;
  for (std::size_t p = 0; p < data.pixels(); ++p) {
    std::complex<double> sum = 0;
    for (int c = 0; c < data.coils; ++c)
      sum += (data.maps.empty() ? 1.0 : std::conj(data.maps[c * data.pixels() + p])) *
             coils[c * data.pixels() + p];
    largest = std::max(largest, std::abs(sum));
  }
  return largest;
}

void write_result(const ReconstructOptions& o, const MriData& data, const std::vector<double>& x,
                  double scale) {
  if (output_kind(o.output) == ".npy") {
    Complexes values(data.pixels());
    for (std::size_t p = 0; p < values.size(); ++p)
      values[p] = scale * std::complex<double>(x[p], data.complex ? x[data.pixels() + p] : 0.0);
    const std::vector<std::size_t> shape{static_cast<std::size_t>(data.height),
                                         static_cast<std::size_t>(data.width)};
    write_npy(o.output, shape, std::span<const std::complex<double>>(values));
    return;
  }
  std::vector<double> pixels = magnitude(x, data.components());
  const double largest = *std::max_element(pixels.begin(), pixels.end());
  if (largest > 0)
    for (double& v : pixels) v /= largest;
  write_image(o.output, {1, data.height, data.width, std::move(pixels)});
}

}  // namespace

int reconstruct(const ReconstructOptions& o, std::ostream& out, std::ostream& err) {
  static_cast<void>(output_kind(o.output));
  const Device device = open_device(o.common, "bilevel-mri", err);
  MriModel model;
  if (!o.run.empty()) model = read_mri_model(std::filesystem::path(o.run) / "model.json");
  const Kspace k = read_kspace(o.kspace);
  if (!o.common.quiet)
    for (const std::string& note : k.notes)
      err << "bilevel-mri: " << sentence(o.kspace + ": " + note) << '\n';
  MriData data = load_slice(o, k);
  if (o.run.empty())
    model = model_of(o, k);
  else if (model.height != k.rows || model.width != k.columns)
    throw IoError(o.kspace, format("k-space has %d x %d frequencies, but the mask of %s %d x %d.", k.columns,
                                   k.rows, o.run.c_str(), model.width, model.height));
  data.complex = model.complex;
  const double scale = o.scale.value_or(largest_magnitude(data, model));
  if (!(scale > 0)) throw IoError(o.kspace, "k-space is zero at all frequencies of the mask.");
  for (std::complex<double>& v : data.kspace) v /= scale;
  const Reconstruction r = reconstruct(device, data, model, {o.common.precision, o.solver, o.tolerance});
  if (r.status == SolveStatus::decided) {
    err << "bilevel-mri: interrupted; " << o.output << " was not written.\n";
    return exit_interrupted;
  }
  if (r.status != SolveStatus::failed) write_result(o, data, r.x, scale);
  if (o.common.json)
    out << Json{{"kspace", o.kspace},
                {"output", o.output},
                {"height", data.height},
                {"width", data.width},
                {"coils", data.coils},
                {"rate", model.rate()},
                {"scale", scale},
                {"status", status_name(r.status)},
                {"certified_rms", r.distance.at(0)},
                {"operators", r.work.total()}}
               .dump(2, ' ', false, Json::error_handler_t::replace)
        << '\n';
  else if (!o.common.quiet)
    out << o.output << ": " << status_name(r.status)
        << format(
               ", %.2f %% of k-space, certified RMS distance to the minimiser %.2e (asked for %.2e, the "
               "scale being %.6g), %llu operator applications\n",
               100 * model.rate(), r.distance.at(0), o.tolerance, scale,
               static_cast<unsigned long long>(r.work.total()));
  if (r.status == SolveStatus::converged) return exit_ok;
  err << "bilevel-mri: " << sentence(o.kspace + ": " + r.message) << '\n';
  return exit_numerical;
}

}  // namespace bilevel_app::mri
