#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "apps/common/blur_option.hpp"
#include "apps/common/exit_codes.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/denoise/deblurring.hpp"
#include "apps/denoise/options.hpp"
#include "apps/denoise/reconstruct.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/quality.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

struct Row {
  std::string name, size;
  double psnr_noisy = 0, psnr = 0, ssim_noisy = 0, ssim = 0, distance = 0;
};

/// The centre crop of size x size pixels.
HostImage centre(const HostImage& image, int size, const std::string& path) {
  if (image.height < size || image.width < size)
    throw IoError(path, format("the image of %d x %d pixels is smaller than --crop %d.", image.width,
                               image.height, size));
  HostImage crop{image.channels, size, size, {}};
  append_crop(image, (image.height - size) / 2, (image.width - size) / 2, size, size, crop.pixels);
  return crop;
}

/// Blurs below the noise.
void add_blur(const BlurKernel& kernel, ImagePair& pair) {
  std::vector<double> blurred = pair.clean.pixels;
  blur_channels(kernel, pair.clean.height, pair.clean.width, blurred);
  for (std::size_t p = 0; p < blurred.size(); ++p)
    pair.noisy.pixels[p] = blurred[p] + (pair.noisy.pixels[p] - pair.clean.pixels[p]);
}

/// The noise level of --sigma, or that of the training run. Throws ConfigError when neither is known.
double noise_level(const EvaluateOptions& o, const DenoiseModel& model) {
  if (o.sigma) return *o.sigma;
  for (const auto& [name, value] : model.training)
    if (name == "sigma") {
      if (const auto* number = std::get_if<double>(&value)) return *number;
      if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
    }
  throw ConfigError("--sigma is missing: " + o.model +
                    " was learned from given noisy images and names no noise level.");
}

/// DIR/K-NAME-what.png for --save, K the number of the image.
void save(const EvaluateOptions& o, std::size_t k, const std::string& name, const char* what,
          const HostImage& image) {
  if (o.save.empty()) return;
  const std::filesystem::path stem = std::filesystem::path(name).stem();
  std::error_code error;
  std::filesystem::create_directories(o.save, error);
  if (error) throw IoError(o.save, "the folder cannot be made: " + error.message() + ".");
  write_image(
      std::filesystem::path(o.save) / (std::to_string(k + 1) + "-" + stem.string() + "-" + what + ".png"),
      image);
}

std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// Means over the images; the numbers of them whose PSNR is infinite are left out of the PSNR.
struct Means {
  Row row{"mean", "", 0, 0, 0, 0, 0};
  int exact_noisy = 0, exact = 0;
};

Means means_of(const std::vector<Row>& rows) {
  const auto member = [&rows](double Row::*m) {
    std::vector<double> values;
    for (const Row& r : rows) values.push_back(r.*m);
    return values;
  };
  const auto average = [&](double Row::*m) {
    const std::vector<double> values = member(m);
    if (values.empty()) return std::nan("");
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  const MeanPsnr noisy = mean_psnr(member(&Row::psnr_noisy)), denoised = mean_psnr(member(&Row::psnr));
  Means means;
  means.row.psnr_noisy = noisy.value;
  means.row.psnr = denoised.value;
  means.row.ssim_noisy = average(&Row::ssim_noisy);
  means.row.ssim = average(&Row::ssim);
  means.exact_noisy = noisy.exact;
  means.exact = denoised.exact;
  return means;
}

std::string report(const EvaluateOptions& o, const DenoiseModel& model, const std::vector<Row>& rows,
                   const Means& means) {
  if (o.common.json) {
    Json images = Json::array();
    const auto numbers = [](const Row& r) {
      return Json{
          {"psnr_noisy", r.psnr_noisy}, {"psnr", r.psnr}, {"ssim_noisy", r.ssim_noisy}, {"ssim", r.ssim}};
    };
    for (const Row& r : rows) {
      Json image{{"name", r.name}, {"size", r.size}, {"certified_rms", r.distance}};
      image.update(numbers(r));
      images.push_back(image);
    }
    Json json{{"model", o.model}, {"type", model_type(model.options)}, {"tolerance", o.tolerance}};
    json["sigma"] = o.data.noisy.empty() ? Json(o.data.sigma) : Json(nullptr);
    if (model.channels != 1) json["channels"] = model.channels;
    json["images"] = images;
    json["mean"] = numbers(means.row);
    if (means.exact_noisy > 0) json["mean"]["exact_noisy_images"] = means.exact_noisy;
    if (means.exact > 0) json["mean"]["exact_images"] = means.exact;
    return json_text(json);
  }
  std::vector<std::vector<std::string>> cells{
      {"image", "size", "PSNR noisy", "denoised", "gain", "SSIM noisy", "denoised"}};
  const auto add = [&cells](const Row& r) {
    cells.push_back({r.name, r.size, psnr_text(r.psnr_noisy), psnr_text(r.psnr),
                     gain_text(r.psnr_noisy, r.psnr), format("%.4f", r.ssim_noisy), format("%.4f", r.ssim)});
  };
  for (const Row& r : rows) add(r);
  if (!rows.empty()) add(means.row);
  const std::string noise = o.data.noisy.empty()
                                ? format("noise of standard deviation %g, seed %llu", o.data.sigma,
                                         static_cast<unsigned long long>(o.data.seed))
                                : std::string("given noisy images");
  const int exact = std::max(means.exact_noisy, means.exact);
  return table(cells) + "PSNR in dB; " + noise +
         (model.channels == 3 ? "; of all channels of colour.\n" : "; luma.\n") +
         (exact > 0 ? "Means of the PSNR are over the images that differ from the truth.\n" : "");
}

}  // namespace

int evaluate(const EvaluateOptions& given, std::ostream& out, std::ostream& err) {
  EvaluateOptions o = given;
  DenoiseModel model = read_model(o.model);
  require_no_mask(model.options, o.data.mask);
  require_reference(model.options, o.data.reference);
  require_deblurs(model, o.data.mask, o.common.precision, o.solver);
  if (o.data.noisy.empty()) o.data.sigma = noise_level(o, model);
  o.data.channels = model.channels;
  const Device device = open_device(o.common, "bilevel-denoise", err);
  auto files = paired_sources(o.data);
  if (o.data.images > 0) {
    if (files.size() < static_cast<std::size_t>(o.data.images))
      throw ConfigError("--images " + std::to_string(o.data.images) + ": --data holds only " +
                        std::to_string(files.size()) + " images.");
    files.resize(static_cast<std::size_t>(o.data.images));
  }
  const HostImage whole = read_reference(o.data.reference);
  const bool cut = o.data.crop > 0 && !o.data.reference.empty();
  const HostImage reference = cut ? centre(whole, o.data.crop, o.data.reference) : whole;
  model.options = with_reference(model.options, reference.pixels);
  PairReader reader(model.channels);
  if (!o.save.empty()) remove_temporaries(o.save, true);
  std::vector<Row> rows;
  std::vector<std::string> mask_notes;
  int code = exit_ok;
  for (std::size_t k = 0; k < files.size(); ++k) {
    ImagePair pair = load_pair(files[k], o.data, static_cast<std::uint32_t>(k), reader);
    require_reference_fits(o.data.reference, whole, pair.clean.height, pair.clean.width,
                           files[k].clean.text());
    if (o.data.crop > 0) {
      pair.clean = centre(pair.clean, o.data.crop, files[k].clean.text());
      pair.noisy = centre(pair.noisy, o.data.crop, files[k].clean.text());
    }
    const int height = pair.clean.height, width = pair.clean.width;
    require_large_enough(model, height, width, files[k].clean.text());
    if (model.blur && o.data.noisy.empty()) add_blur(*model.blur, pair);
    const auto mask =
        o.data.mask.empty() ? std::vector<double>() : load_mask(o.data.mask, height, width, mask_notes);
    for (std::size_t p = 0; !mask.empty() && p < pair.noisy.pixels.size(); ++p)
      pair.noisy.pixels[p] *= mask[p % mask.size()];
    Row r{pair.name, format("%dx%d", width, height), 0, 0, 0, 0, 0};
    r.psnr_noisy = psnr(pair.noisy.pixels, pair.clean.pixels);
    r.ssim_noisy = mean_ssim(pair.noisy.pixels, pair.clean.pixels, height, width);
    save(o, k, pair.name, "noisy", pair.noisy);
    Context context(device);
    const Reconstruction result = reconstruct(context, model, o.common.precision, o.solver, o.tolerance,
                                              height, width, mask, pair.noisy.pixels);
    if (result.status == SolveStatus::decided) {
      err << "bilevel-denoise: interrupted; nothing was written.\n";
      return exit_code(result.status);
    }
    if (result.status != SolveStatus::converged) {
      err << "bilevel-denoise: " << sentence(files[k].clean.text() + ": " + result.message) << '\n';
      code = exit_code(result.status);
      if (result.status == SolveStatus::failed) continue;
    }
    r.psnr = psnr(pair.noisy.pixels, pair.clean.pixels);
    r.ssim = mean_ssim(pair.noisy.pixels, pair.clean.pixels, height, width);
    r.distance = result.distance;
    rows.push_back(r);
    save(o, k, pair.name, "denoised", pair.noisy);
    if (o.common.verbose)
      err << "bilevel-denoise: " << k + 1 << " of " << files.size() << " images\n" << std::flush;
  }
  std::vector<std::string> notes = reader.notes();
  if (!mask_notes.empty()) notes.push_back(mask_notes.front());
  if (const std::string text = reference_note(o.data.reference, files.size()); !text.empty())
    notes.push_back(text);
  if (const std::string text = noise_note(o.data.sigma); o.data.noisy.empty() && !text.empty())
    notes.push_back(text);
  if (!o.common.quiet)
    for (const std::string& text : notes) err << "bilevel-denoise: " << sentence(text) << '\n';
  out << report(o, model, rows, means_of(rows));
  return code;
}

}  // namespace bilevel_app::denoise
