#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/output_check.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/coils.hpp"
#include "apps/mri/mask_file.hpp"
#include "apps/mri/options.hpp"
#include "apps/mri/problem.hpp"
#include "apps/mri/resample.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/kspace_file.hpp"

namespace bilevel_app::mri {

namespace fs = std::filesystem;
using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr double seen = 0.05;             // of the largest power of the coils
constexpr double most_magnitude = 1e100;  // of an image, and of its reciprocal: their squares are numbers

std::string output_kind(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (extension != ".npy" && extension != ".png")
    throw ConfigError("--output " + path + ": use .npy (complex) or .png (magnitude).");
  return extension;
}

/// Place of the slice that --slice names.
std::size_t place_of(const ReconstructOptions& o, const Kspace& k) {
  if (!o.slice) return 0;
  const auto at = std::find(k.slice_numbers.begin(), k.slice_numbers.end(), *o.slice);
  if (at == k.slice_numbers.end())
    throw ConfigError(format("--slice %d: %s has the %s.", *o.slice, o.kspace.c_str(),
                             slices_text(k.slice_numbers).c_str()));
  return static_cast<std::size_t>(at - k.slice_numbers.begin());
}

/// One slice with its coils and maps, not scaled.
MriData load_slice(const ReconstructOptions& o, const Kspace& k) {
  if (k.coils > 1 && o.sensitivities.empty())
    throw ConfigError(
        format("%s has %d coils; name their maps with --sensitivities FILE.", o.kspace.c_str(), k.coils));
  MriData data;
  data.images = 1;
  data.height = k.rows;
  data.width = k.columns;
  data.coils = k.coils;
  const std::size_t each = data.pixels() * static_cast<std::size_t>(k.coils);
  const auto begin = k.values.begin() + static_cast<std::ptrdiff_t>(place_of(o, k) * each);
  data.kspace.assign(begin, begin + static_cast<std::ptrdiff_t>(each));
  const Extent size{k.rows, k.columns};
  if (!o.sensitivities.empty())
    data.maps = load_maps(o.sensitivities, k.coils, {size, size, size}, data.notes);
  for (const std::string& note : k.notes) data.notes.push_back(o.kspace + ": " + note);
  return data;
}

/// What the file has measured of the slice, one per frequency.
std::span<const unsigned char> measured(const ReconstructOptions& o, const Kspace& k) {
  const std::size_t pixels = static_cast<std::size_t>(k.rows) * k.columns;
  return std::span(k.sampled).subspan(place_of(o, k) * pixels, pixels);
}

/// The mask of --mask. Throws IoError when it keeps what was not measured while it leaves out what was.
std::vector<double> given_mask(const ReconstructOptions& o, const Kspace& k,
                               std::vector<std::string>& notes) {
  const MaskCentre centre = mask_centre_from(o.mask_centre);
  Mask mask = read_mask(o.mask, k.rows, k.columns, centre);
  const MaskFit fit = fit_of(mask.values, measured(o, k));
  if (fit.unmeasured > 0 && fit.unused > 0)
    throw IoError(
        o.mask, format("the mask keeps %zu frequencies at which all coils of %s are zero and leaves out %zu "
                       "that were measured; if zero frequency lies elsewhere in the mask say so with "
                       "--mask-centre, else take what was not measured out of it.",
                       fit.unmeasured, o.kspace.c_str(), fit.unused));
  notes.insert(notes.end(), mask.notes.begin(), mask.notes.end());
  const std::string missing = centre_fault(mask.values, k.rows, k.columns);
  if (!missing.empty()) notes.push_back(o.mask + ": " + missing);
  return std::move(mask.values);
}

/// The model of the options: the mask of --mask, or what the file has measured.
MriModel model_of(const ReconstructOptions& o, const Kspace& k, std::vector<std::string>& notes) {
  MriModel m;
  m.height = k.rows;
  m.width = k.columns;
  m.take(o.model);
  if (m.experts) require_large_enough(*m.experts, m.height, m.width, o.model.experts);
  fit_levels(o.model, m.regulariser, k.rows, k.columns, "size of k-space", notes);
  if (!o.mask.empty()) {
    m.s = given_mask(o, k, notes);
  } else {
    const auto sampled = measured(o, k);
    m.s.assign(sampled.begin(), sampled.end());
  }
  return m;
}

/// The model of --run.
MriModel model_of_run(const ReconstructOptions& o, const Kspace& k) {
  MriModel model = read_mri_model(std::filesystem::path(o.run) / "model.json");
  if (model.height != k.rows || model.width != k.columns)
    throw IoError(o.kspace,
                  format("k-space has %d x %d frequencies, but the mask of --run %s %d x %d; take a run that "
                         "was learned at its size (--size or --crop-to there), or another mask with --mask.",
                         k.columns, k.rows, o.run.c_str(), model.width, model.height));
  require_reference(model.regulariser, o.reference);
  return model;
}

/// Makes what is not used zero.
void apply_mask(const MriModel& model, MriData& data) {
  const std::vector<double> weights = model.pattern().weights(model.s);
  for (std::size_t i = 0; i < data.kspace.size(); ++i)
    if (weights[i % weights.size()] == 0) data.kspace[i] = 0;
}

/// The largest magnitude of the zero-filled image, which the weight of the regulariser is relative to: where
/// the coils see enough that it is not mostly noise.
double largest_zero_filled(const MriData& data) {
  const Complexes coils = inverse_fourier(data.kspace, data.coils, data.height, data.width);
  const Complexes image = combine(coils, data.maps, 1, data.coils, data.pixels());
  const std::vector<double> power = coil_power(data.maps, data.pixels());
  const double least = seen * *std::max_element(power.begin(), power.end());
  double largest = 0;
  for (std::size_t p = 0; p < image.size(); ++p)
    if (power[p] >= least) largest = std::max(largest, std::abs(image[p]));
  return largest;
}

/// Divides k-space by the scale, which it returns: --scale, or what makes the zero-filled image at most 1.
double scale_to_one(const ReconstructOptions& o, MriData& data) {
  const double power = take_power_of_two(data.kspace), largest = largest_zero_filled(data);
  if (!(largest > 0)) throw IoError(o.kspace, "k-space is zero at all frequencies of the mask.");
  const double scale = o.scale ? *o.scale / power : largest;
  if (!(largest / scale > 1 / most_magnitude && largest / scale < most_magnitude))
    throw ConfigError(
        format("--scale %g: the zero-filled image is up to %g, which is too far from it; leave the "
               "option out, or use a scale near that.",
               o.scale.value_or(scale), largest * power));
  if (!std::isfinite(scale * power))
    throw IoError(o.kspace, "its values are too large; divide them by their largest.");
  for (std::complex<double>& v : data.kspace) v /= scale;
  return scale * power;
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
  require_output_is_no_input({"--output", o.output},
                             {{"--kspace", o.kspace},
                              {"--mask", o.mask},
                              {"--sensitivities", o.sensitivities},
                              {"--reference", o.reference},
                              {"--run", o.run},
                              {"--run", o.run.empty() ? fs::path() : fs::path(o.run) / "images"},
                              {"--config", o.common.config}});
  const Device device = open_device(o.common, "bilevel-mri", err);
  const Kspace k = read_kspace(o.kspace);
  MriData data = load_slice(o, k);
  MriModel model = o.run.empty() ? model_of(o, k, data.notes) : model_of_run(o, k);
  const HostImage reference = load_reference(o.reference, data);
  model.regulariser = with_reference(model.regulariser, reference.pixels);
  if (const std::size_t n = fit_of(model.pattern().weights(model.s), measured(o, k)).unmeasured; n > 0)
    data.notes.push_back(format(
        "%s: %zu of the frequencies that are used were not measured and count as zero", o.kspace.c_str(), n));
  data.complex = model.complex;
  apply_mask(model, data);
  const double scale = scale_to_one(o, data);
  if (!o.common.quiet)
    for (const std::string& text : data.notes) err << "bilevel-mri: " << sentence(text) << '\n';
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
