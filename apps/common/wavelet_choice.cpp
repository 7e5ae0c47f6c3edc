#include "apps/common/wavelet_choice.hpp"

#include <algorithm>

#include "apps/common/add_option.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app {

using namespace bilevel;

namespace {

const WaveletSparsity* wavelets_of(const RegulariserSum& sum) {
  for (const RegulariserOptions& part : sum.parts)
    if (const auto* sparse = std::get_if<WaveletSparsity>(&part)) return sparse;
  return nullptr;
}

/// Does `change` to the wavelets of all parts.
template <class F>
void for_wavelets(RegulariserSum& sum, F change) {
  for (RegulariserOptions& part : sum.parts)
    if (auto* sparse = std::get_if<WaveletSparsity>(&part)) change(sparse->wavelet);
}

std::string size_text(int height, int width) {
  return "images of " + std::to_string(width) + " x " + std::to_string(height) + " pixels";
}

}  // namespace

void WaveletChoice::choose(RegulariserSum& sum, const std::string& type) const {
  const std::pair<const char*, bool> given[] = {{"--wavelet", wavelet.has_value()},
                                                {"--levels", levels.has_value()}};
  for (const auto& [option, is_given] : given)
    if (is_given && !wavelets_of(sum))
      throw ConfigError(std::string(option) + " is an option of the model " +
                        regulariser_name(WaveletSparsity{}) + ", not of " + type + "; leave it out.");
  if (levels && *levels < 1)
    throw ConfigError("--levels " + std::to_string(*levels) + ": a transform has 1 level or more.");
  for_wavelets(sum, [this](WaveletOptions& o) {
    if (wavelet) o.filter = wavelet_filter(*wavelet);
    if (levels) o.levels = *levels;
  });
}

void add_wavelet_options(CLI::App& app, WaveletChoice& choice, const char* group) {
  add_value(app, "--wavelet", choice.wavelet, "wavelet: haar, db2 or db4, by PyWavelets' names [db2]", "NAME")
      ->group(group);
  add_value(app, "--levels", choice.levels,
            "wavelet: levels of the transform; sides must be divisible by 2^N [3, or what the images allow]",
            "N")
      ->group(group);
}

int wavelet_levels(const RegulariserSum& sum) {
  int most = 0;
  for (const RegulariserOptions& part : sum.parts)
    if (const auto* sparse = std::get_if<WaveletSparsity>(&part))
      most = std::max(most, sparse->wavelet.levels);
  return most;
}

int possible_levels(int height, int width) { return Wavelet<double>::possible_levels({1, 1, height, width}); }

void fit_levels(const WaveletChoice& choice, RegulariserSum& sum, int height, int width,
                const std::string& remedy, std::vector<std::string>& notes) {
  const int levels = wavelet_levels(sum), possible = possible_levels(height, width);
  if (possible >= levels) return;
  if (possible == 0)
    throw ConfigError("wavelets halve the sides of images, but " + size_text(height, width) +
                      " have an odd one; use an even " + remedy + ".");
  if (choice.levels)
    throw ConfigError("--levels " + std::to_string(levels) + ": " + size_text(height, width) +
                      " allow only " + std::to_string(possible) + "; use that, or multiples of " +
                      std::to_string(1LL << std::min(levels, 60)) + " pixels for " + remedy + ".");
  for_wavelets(sum, [possible](WaveletOptions& o) { o.levels = possible; });
  notes.push_back(size_text(height, width) + " allow " + std::to_string(possible) +
                  " levels of wavelets instead of " + std::to_string(levels) + ", which are taken");
}

void append_deciding(std::vector<NamedOption>& list, const RegulariserSum& sum) {
  if (const WaveletSparsity* sparse = wavelets_of(sum))
    list.insert(list.end(), {{"wavelet", name_of(sparse->wavelet.filter)},
                             {"levels", static_cast<std::int64_t>(sparse->wavelet.levels)}});
}

}  // namespace bilevel_app
