#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <set>

#include "apps/common/exit_codes.hpp"
#include "apps/common/output_check.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/denoise/deblurring.hpp"
#include "apps/denoise/options.hpp"
#include "apps/denoise/reconstruct.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::denoise {

namespace fs = std::filesystem;
using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

struct Job {
  fs::path input, output;
};

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

bool image_extension(const fs::path& path) {
  static const std::set<std::string> known{".png", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".npy"};
  return known.count(lower_extension(path)) > 0;
}

/// The name of the result of an input: its own, but .png where nothing is written in its format.
fs::path result_name(const fs::path& input) {
  const fs::path name = input.filename();
  return image_extension(name) ? name : fs::path(name).replace_extension(".png");
}

using FileId = std::pair<dev_t, ino_t>;

/// The file behind a path and the links to it; none where nothing is there.
std::optional<FileId> file_id(const fs::path& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return {};
  return FileId{found.st_dev, found.st_ino};
}

/// Throws ConfigError when what is to be written is one of the files that are read.
void require_nothing_replaced(const ApplyOptions& o, const std::vector<Job>& jobs) {
  std::map<FileId, fs::path> inputs;
  for (const Job& job : jobs)
    if (const auto id = file_id(job.input)) inputs.emplace(*id, job.input);
  for (const Job& job : jobs) {
    require_output_is_no_input({"--output", job.output}, {{"--model", o.model},
                                                          {"--mask", o.mask},
                                                          {"--reference", o.reference},
                                                          {"--config", o.common.config}});
    const auto id = file_id(job.output);
    if (const auto at = id ? inputs.find(*id) : inputs.end(); at != inputs.end())
      throw ConfigError("--output " + job.output.string() + " would replace the input " +
                        at->second.string() + "; choose another file or folder.");
  }
}

/// Pairs inputs with outputs and makes the output folder. Throws ConfigError for outputs that would collide
/// or replace a file that is read.
std::vector<Job> plan(const ApplyOptions& o) {
  const auto inputs = list_all(o.input);
  const fs::path output(o.output);
  std::error_code error;
  const bool folder = fs::is_directory(output, error) || !output.has_filename() || !image_extension(output);
  if (folder && fs::exists(output, error) && !fs::is_directory(output, error))
    throw IoError(
        o.output,
        "it is no folder, and its extension is none of .png, .pgm, .ppm, .pnm, .tif, .tiff and .npy; "
        "name an image file or a folder.");
  if (!folder && inputs.size() > 1)
    throw ConfigError("--output " + o.output + " is one file, but there are " +
                      std::to_string(inputs.size()) + " inputs; name a folder.");
  if (folder && inputs.size() == 1 && output.has_extension() && !fs::is_directory(output, error) &&
      output.has_filename())
    throw IoError(o.output, "the extension is none of .png, .pgm, .ppm, .pnm, .tif, .tiff and .npy.");
  std::vector<Job> jobs;
  std::set<fs::path> seen;
  for (const fs::path& input : inputs) {
    const fs::path target = folder ? output / result_name(input) : output;
    if (!seen.insert(target).second)
      throw ConfigError("the results of two inputs are called " + target.filename().string() +
                        "; denoise them into different folders.");
    jobs.push_back({input, target});
  }
  require_nothing_replaced(o, jobs);
  if (folder) {
    fs::create_directories(output, error);
    if (error) throw IoError(o.output, "the folder of --output cannot be made (" + error.message() + ").");
  }
  remove_temporaries(folder ? output : output.has_parent_path() ? output.parent_path() : fs::path("."), true);
  return jobs;
}

int output_bits(const ApplyOptions& o, const Job& job) {
  const std::string extension = lower_extension(job.output);
  const bool tiff = extension == ".tif" || extension == ".tiff";
  if (extension == ".npy") return 8;  // always float64
  if (o.bits == 32 && !tiff) throw ConfigError("--bits 32 is for TIFF, not for " + job.output.string() + ".");
  if (o.bits != 0) return o.bits;
  const int bits = source_bits(job.input);
  return bits == 32 && !tiff ? 16 : bits;
}

/// Reads an input, as luma when that is asked for, and tells of what is not as it is meant to be.
HostImage read_input(const ApplyOptions& o, const DenoiseModel& model, const Job& job,
                     const std::function<void(const std::string&)>& note) {
  HostImage image = read_image(job.input);
  if (model.channels == 3) require_colour(job.input.string(), image);
  ImageCensus census(1.0);  // noise goes beyond [0,1]
  census.see(job.input.string(), image.pixels, image.from_integers, image.notes);
  for (const std::string& text : census.notes()) note(text);
  return o.luma ? to_luma(image) : image;
}

/// What is lost when intensities are stored as integers of 0 to 1; empty when nothing is.
std::string clipping_note(const Job& job, const HostImage& image, int bits) {
  constexpr double unseen = 0.05;  // what a reconstruction may overshoot without a word
  const auto [low, high] = std::minmax_element(image.pixels.begin(), image.pixels.end());
  if (bits == 32 || lower_extension(job.output) == ".npy" || (*low >= -unseen && *high <= 1 + unseen))
    return {};
  return job.output.string() + ": the result, " + range_text(*low, *high) +
         ", is cut off at 0 and 1; write .npy, or TIFF with --bits 32, to keep it";
}

/// Channels are reconstructed together where the model couples them, else one after the other, each in place
/// of its data.
std::vector<Reconstruction> denoise(Context& context, const ApplyOptions& o, const DenoiseModel& model,
                                    const std::vector<double>& mask, HostImage& image) {
  const std::size_t pixels = static_cast<std::size_t>(image.height) * image.width;
  std::vector<Reconstruction> results;
  for (int c = 0; c < image.channels; c += model.channels) {
    std::vector<double> channel;
    const auto begin = image.pixels.begin() + static_cast<std::ptrdiff_t>(c * pixels);
    const bool whole = image.channels == model.channels;
    if (whole) {
      channel = std::move(image.pixels);
    } else {
      channel.assign(begin, begin + static_cast<std::ptrdiff_t>(pixels));
    }
    results.push_back(reconstruct(context, model, o.common.precision, o.solver, o.tolerance, image.height,
                                  image.width, mask, channel));
    if (whole) {
      image.pixels = std::move(channel);
    } else {
      std::copy(channel.begin(), channel.end(), begin);
    }
    if (results.back().status == SolveStatus::decided || results.back().status == SolveStatus::failed) break;
  }
  return results;
}

struct Total {
  double distance = 0;
  SolveStatus status = SolveStatus::converged;
  Work work;
  std::string message;
};

/// The worst certificate and status of the channels.
Total total(const std::vector<Reconstruction>& channels) {
  Total t;
  for (const Reconstruction& r : channels) {
    t.distance = std::max(t.distance, r.distance);
    t.work += r.work;
    if (r.status < t.status) continue;
    t.status = r.status;
    t.message = r.message;
  }
  return t;
}

Json to_json(const Job& job, const HostImage& image, const Total& t, int bits) {
  return {{"input", job.input.string()}, {"output", job.output.string()},
          {"width", image.width},        {"height", image.height},
          {"channels", image.channels},  {"bits", job.output.extension() == ".npy" ? 64 : bits},
          {"certified_rms", t.distance}, {"status", status_name(t.status)},
          {"operators", t.work.total()}};
}

}  // namespace

int apply(const ApplyOptions& o, std::ostream& out, std::ostream& err) {
  DenoiseModel model = read_model(o.model);
  require_no_mask(model.options, o.mask);
  require_reference(model.options, o.reference);
  require_deblurs(model, o.mask, o.common.precision, o.solver);
  if (o.luma && model.channels == 3)
    throw ConfigError("--luma is for models of grey images, and " + o.model +
                      " couples the channels of colour; leave it out.");
  const Device device = open_device(o.common, "bilevel-denoise", err);
  const HostImage reference = read_reference(o.reference);
  model.options = with_reference(model.options, reference.pixels);
  const std::vector<Job> jobs = plan(o);
  Json results = Json::array();
  int code = exit_ok;
  std::vector<std::string> mask_notes;
  const auto note = [&](const std::string& text) {
    if (!o.common.quiet) err << "bilevel-denoise: " << sentence(text) << '\n';
  };
  if (const std::string text = reference_note(o.reference, jobs.size()); !text.empty()) note(text);
  for (const Job& job : jobs) {
    const bool first = mask_notes.empty();
    const int bits = output_bits(o, job);
    HostImage image = read_input(o, model, job, note);
    require_large_enough(model, image.height, image.width, job.input.string());
    require_reference_fits(o.reference, reference, image.height, image.width, job.input.string());
    const auto mask =
        o.mask.empty() ? std::vector<double>() : load_mask(o.mask, image.height, image.width, mask_notes);
    for (std::size_t k = 0; first && k < mask_notes.size(); ++k) note(mask_notes[k]);
    std::vector<Reconstruction> channels;
    {
      Context context(device);
      channels = denoise(context, o, model, mask, image);
    }
    const Total t = total(channels);
    if (t.status == SolveStatus::decided) {
      err << "bilevel-denoise: interrupted; " << job.output.string() << " was not written.\n";
      return exit_code(t.status);
    }
    if (t.status != SolveStatus::converged) {
      err << "bilevel-denoise: " << sentence(job.input.string() + ": " + t.message) << '\n';
      code = exit_code(t.status);
    }
    if (t.status == SolveStatus::failed) continue;
    if (const std::string text = clipping_note(job, image, bits); !text.empty()) note(text);
    write_image(job.output, image, {bits});
    if (o.common.json) results.push_back(to_json(job, image, t, bits));
    if (!o.common.json && !o.common.quiet)
      out << job.output.string() << ": " << status_name(t.status)
          << format(
                 ", certified RMS distance to the minimiser %.2e (asked for %.2e), %llu operator "
                 "applications\n",
                 t.distance, o.tolerance, static_cast<unsigned long long>(t.work.total()))
          << std::flush;
  }
  if (o.common.json)
    out << Json{{"model", o.model}, {"tolerance", o.tolerance}, {"images", results}}.dump(
               2, ' ', false, Json::error_handler_t::replace)
        << '\n';
  return code;
}

}  // namespace bilevel_app::denoise
