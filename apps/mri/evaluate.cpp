#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "apps/common/exit_codes.hpp"
#include "apps/common/output_check.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/options.hpp"
#include "apps/mri/problem.hpp"
#include "apps/mri/run_files.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::mri {

namespace fs = std::filesystem;
using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

struct Run {
  std::string name;
  MriModel model;
  std::vector<Quality> slices;
  Quality mean;
};

/// The name of a run in names of files.
std::string file_name_of(std::string name) {
  std::replace(name.begin(), name.end(), '/', '-');
  return name;
}

/// Names of the folders, with the folder above where several have the same, and numbers where even those
/// are equal: pictures of one run must not replace those of another.
std::vector<std::string> names_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> folders;
  for (const std::string& path : paths) {
    folders.push_back(fs::absolute(path).lexically_normal());
    if (!folders.back().has_filename()) folders.back() = folders.back().parent_path();
  }
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const fs::path& folder : folders) {
    const std::string last = folder.filename().string();
    const bool alone = std::count_if(folders.begin(), folders.end(), [&](const fs::path& other) {
                         return other.filename() == folder.filename();
                       }) == 1;
    const std::string name = alone ? last : folder.parent_path().filename().string() + "/" + last;
    names.push_back(name);
    for (int number = 2; !taken.insert(file_name_of(names.back())).second; ++number)
      names.back() = name + "-" + std::to_string(number);
  }
  return names;
}

std::vector<Run> load_runs(const EvaluateOptions& o) {
  std::vector<Run> runs;
  const std::vector<std::string> names = names_of(o.runs);
  for (const std::string& path : o.runs) {
    Run run{names[runs.size()], read_mri_model(fs::path(path) / "model.json"), {}, {}};
    const MriModel &a = run.model, &b = runs.empty() ? a : runs.front().model;
    if (a.height != b.height || a.width != b.width || a.complex != b.complex)
      throw ConfigError(
          format("--run %s is for %s images of %d x %d pixels, but %s for %s images of %d x "
                 "%d; evaluate them one by one.",
                 path.c_str(), a.complex ? "complex" : "real", a.width, a.height, o.runs.front().c_str(),
                 b.complex ? "complex" : "real", b.width, b.height));
    runs.push_back(std::move(run));
  }
  return runs;
}

/// What a run was trained with; null when its model does not say.
const OptionValue* trained(const MriModel& model, const char* option) {
  for (const auto& [name, value] : model.training)
    if (name == option) return &value;
  return nullptr;
}

double number_of(const OptionValue& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  const auto* number = std::get_if<double>(&value);
  return number ? *number : std::nan("");
}

/// The noise level that a run was trained with.
double trained_sigma(const MriModel& model) {
  const OptionValue* const sigma = trained(model, "sigma");
  if (sigma == nullptr || std::isnan(number_of(*sigma)))
    throw ConfigError("--sigma is missing: the run names no noise level.");
  return number_of(*sigma);
}

/// --crop-to of the run where the data can be cropped so, else empty.
std::string trained_crop(const MriModel& model, const DataOptions& data) {
  const OptionValue* const crop = trained(model, "crop-to");
  return crop != nullptr && (option_text(*crop) != "recon" || holds_kspace(data)) ? option_text(*crop) : "";
}

/// --size of the run. Runs that do not tell are taken to have used that of their mask, but for images that
/// have it already.
void take_trained_size(const std::string& run, const MriModel& model, DataOptions& data) {
  if (const OptionValue* const size = trained(model, "size")) {
    const double n = number_of(*size);
    if (!(n >= 0 && n <= 1 << 13)) throw IoError(run, "its model.json holds an impossible --size.");
    data.size = static_cast<int>(n);
  } else if (model.height == model.width) {
    data.size = model.height;
    data.size_is_guess = true;
  }
}

/// Says where runs were trained on data made in different ways: all are evaluated as the first one.
void note_differences(const EvaluateOptions& o, const std::vector<Run>& runs, MriData& data) {
  const auto differ = [&](const char* option) {
    const OptionValue* const first = trained(runs.front().model, option);
    return std::any_of(runs.begin(), runs.end(), [&](const Run& run) {
      const OptionValue* const other = trained(run.model, option);
      return (first == nullptr) != (other == nullptr) ||
             (first && option_text(*first) != option_text(*other));
    });
  };
  const std::pair<const char*, bool> taken[] = {
      {"crop-to", o.data.crop_to.empty()}, {"size", o.data.size == 0}, {"sigma", !o.data.sigma}};
  for (const auto& [option, from_run] : taken)
    if (from_run && differ(option))
      data.notes.push_back(
          format("the runs were trained with different --%s: the data are made as for %s; "
                 "give --%s to choose",
                 option, runs.front().name.c_str(), option));
}

MriData load(const EvaluateOptions& o, const std::vector<Run>& runs) {
  const MriModel& model = runs.front().model;
  DataOptions data = o.data;
  data.image = model.complex ? "complex" : "real";
  if (data.crop_to.empty()) data.crop_to = trained_crop(model, data);
  if (data.size == 0) take_trained_size(o.runs.front(), model, data);
  if (!data.sigma) data.sigma = trained_sigma(model);
  MriData loaded = load_data(data);
  if (loaded.height != model.height || loaded.width != model.width)
    throw IoError(
        o.data.data.front(),
        format("the images have %d x %d pixels, but the mask of --run %s %d x %d; bring them to its "
               "size with --size or --crop-to.",
               loaded.width, loaded.height, o.runs.front().c_str(), model.width, model.height));
  note_differences(o, runs, loaded);
  return loaded;
}

fs::path picture(const EvaluateOptions& o, const Run& run, int image) {
  return fs::path(o.save) / (std::to_string(image) + "-" + file_name_of(run.name) + ".png");
}

/// Throws ConfigError for a picture that would replace what is evaluated.
void require_pictures_replace_nothing(const EvaluateOptions& o, const std::vector<Run>& runs, int images) {
  if (o.save.empty()) return;
  std::vector<NamedPath> inputs{
      {"--sensitivities", o.data.sensitivities}, {"--reference", o.reference}, {"--config", o.common.config}};
  for (const std::string& path : o.data.data) inputs.push_back({"--data", path});
  for (const Run& run : runs)
    for (int k = 0; k < images; ++k) require_output_is_no_input({"--save", picture(o, run, k)}, inputs);
}

void save(const EvaluateOptions& o, const Run& run, const MriData& data, const Reconstruction& r) {
  if (o.save.empty()) return;
  std::error_code error;
  fs::create_directories(o.save, error);
  if (error) throw IoError(o.save, "the folder cannot be made: " + error.message() + ".");
  for (int k = 0; k < data.images; ++k) write_image(picture(o, run, k), strip_of(data, k, r));
}

Json to_json(const std::vector<Run>& runs, const MriData& data) {
  Json json{{"images", data.names}, {"height", data.height}, {"width", data.width}, {"sigma", data.sigma}};
  json["runs"] = Json::array();
  for (const Run& run : runs) {
    Json one{{"run", run.name}, {"rate", run.model.rate()}, {"mean_radius", run.model.mean_radius()}};
    put_weights(one, run.model, "alpha");
    one["slices"] = Json::array();
    for (const Quality& q : run.slices) one["slices"].push_back(quality_json(q));
    one["mean"] = quality_json(run.mean);
    json["runs"].push_back(one);
  }
  return json;
}

std::string to_text(const std::vector<Run>& runs, const MriData& data) {
  std::vector<std::vector<std::string>> psnr_rows{{"PSNR, dB"}}, ssim_rows{{"SSIM"}};
  for (const Run& run : runs) psnr_rows[0].push_back(run.name), ssim_rows[0].push_back(run.name);
  for (int k = 0; k <= data.images; ++k) {
    psnr_rows.push_back({k < data.images ? data.names[static_cast<std::size_t>(k)] : "mean"});
    ssim_rows.push_back(psnr_rows.back());
    for (const Run& run : runs) {
      const Quality& q = k < data.images ? run.slices[static_cast<std::size_t>(k)] : run.mean;
      psnr_rows.back().push_back(psnr_text(q.psnr));
      ssim_rows.back().push_back(format("%.4f", q.ssim));
    }
  }
  std::vector<std::string> rates{"samples, %"}, radii{"|k| / k_max"};
  for (const Run& run : runs) {
    rates.push_back(format("%.2f", 100 * run.model.rate()));
    radii.push_back(format("%.3f", run.model.mean_radius()));
  }
  psnr_rows.insert(psnr_rows.begin() + 1, {rates, radii});
  std::string exact;
  for (const Run& run : runs)
    if (run.mean.exact > 0)
      exact += format("%s: %d of %d images are exact, and not in the mean of the PSNR.\n", run.name.c_str(),
                      run.mean.exact, data.images);
  return table(psnr_rows) + "\n" + table(ssim_rows) + exact +
         format(
             "PSNR of the image against the truth, peak 1; SSIM of magnitudes; %d x %d pixels, noise of "
             "standard deviation %g; |k| the mean over the samples of the distance from zero frequency.\n",
             data.width, data.height, data.sigma);
}

}  // namespace

int evaluate(const EvaluateOptions& o, std::ostream& out, std::ostream& err) {
  std::vector<Run> runs = load_runs(o);
  const auto needs = std::find_if(runs.begin(), runs.end(),
                                  [](const Run& run) { return is_directional(run.model.regulariser); });
  require_reference((needs == runs.end() ? runs.front() : *needs).model.regulariser, o.reference);
  const Device device = open_device(o.common, "bilevel-mri", err);
  MriData data = load(o, runs);
  const HostImage reference = load_reference(o.reference, data);
  for (Run& run : runs) run.model.regulariser = with_reference(run.model.regulariser, reference.pixels);
  require_pictures_replace_nothing(o, runs, data.images);
  if (!o.common.quiet)
    for (const std::string& text : data.notes) err << "bilevel-mri: " << sentence(text) << '\n';
  int code = exit_ok;
  for (Run& run : runs) {
    const Reconstruction r =
        reconstruct(device, data, run.model, {o.common.precision, o.solver, o.tolerance});
    if (r.status == SolveStatus::decided) {
      err << "bilevel-mri: interrupted; nothing was written.\n";
      return exit_code(r.status);
    }
    if (r.status != SolveStatus::converged) {
      err << "bilevel-mri: " << sentence(run.name + ": " + r.message) << '\n';
      code = exit_code(r.status);
      if (r.status == SolveStatus::failed) return code;
    }
    const std::size_t each = data.pixels() * data.components();
    for (int k = 0; k < data.images; ++k)
      run.slices.push_back(quality_of(data, k, std::span(r.x).subspan(k * each, each)));
    run.mean = mean_quality(data, r.x);
    save(o, run, data, r);
    if (o.common.verbose) err << "bilevel-mri: " << run.name << " is done\n" << std::flush;
  }
  if (o.common.json)
    out << to_json(runs, data).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  else
    out << to_text(runs, data);
  return code;
}

}  // namespace bilevel_app::mri
