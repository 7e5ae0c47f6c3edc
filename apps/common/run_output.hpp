#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "bilevel/core/device.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel_app {

/// Most bytes that this process has had in memory so far.
std::uint64_t peak_memory();

/// images/ of a run, made when missing. Throws IoError.
std::filesystem::path images_folder(const RunFolder& folder);

/// Images [channels, height, width] side by side with white gaps.
bilevel::HostImage strip(const std::vector<std::span<const double>>& parts, int height, int width,
                         int channels = 1);

/// convergence.svg: loss enclosure and accuracies against operator applications, from log.jsonl.
void write_convergence_plot(const RunFolder& folder);

/// Parameters by name: numbers as they are, arrays (all of them are in model.json) by their spread. With
/// log10 only what is positive by its nature.
nlohmann::ordered_json values_json(const bilevel::Parameters& parameters, const std::vector<double>& theta,
                                   bool log10);
/// A parameter for people: filters by their norms, other arrays by their spread.
std::string parameter_text(const bilevel::Segment& segment, const std::vector<double>& values, bool log10);

/// A sentence with the options that follow its advice in brackets.
std::string with_options(const std::string& sentence, const std::string& options);

/// A sentence on each number that learning left at one of its bounds; arrays and s of sampling patterns have
/// entries there by their nature. `keep(name)` is what keeps a number fixed, for people; empty: nothing does.
std::vector<std::string> bound_notes(const bilevel::Parameters& parameters, std::span<const double> theta,
                                     const std::function<std::string(const std::string&)>& keep);

/// Operator applications by kind.
nlohmann::ordered_json work_json(const bilevel::Work& work);
/// device, instruction_set, threads, precision, peak_memory_bytes, library_version.
nlohmann::ordered_json machine_json(const bilevel::Device& device, const std::string& precision);

/// The exit code of a run that ended so; with fixed accuracies their limit is no failure.
int exit_code(bilevel::UpperStatus status, bool fixed_accuracy);
/// The exit code of a reconstruction that ended so; `decided` is the end after a signal.
int exit_code(bilevel::SolveStatus status);

/// Mean SSIM of the channels of two images [height, width], one after the other.
double mean_ssim(std::span<const double> a, std::span<const double> b, int height, int width);
/// Mean of the PSNR of several images. An image that equals its truth has an infinite one, which no mean can
/// show: it is left out and counted in `exact`. Infinite when all are exact, NaN for no image.
struct MeanPsnr {
  double value = 0;
  int exact = 0;
};
MeanPsnr mean_psnr(std::span<const double> values);
/// "27.12", or "exact" for an image that equals its truth; "27.12 dB", or "exact".
std::string psnr_text(double psnr);
std::string decibel_text(double psnr);
/// "+3.10", or "-" where both images are exact and there is no difference.
std::string gain_text(double before, double after);

}  // namespace bilevel_app
