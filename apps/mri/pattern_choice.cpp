#include "apps/mri/pattern_choice.hpp"

#include <algorithm>

#include "apps/mri/resample.hpp"

namespace bilevel_app::mri {

using namespace bilevel;

std::vector<double> group_energies(const MriData& data, const SamplingPattern& pattern) {
  std::vector<double> energy(pattern.frequencies(), 0.0), groups;
  for (std::size_t i = 0; i < data.kspace.size(); ++i)
    energy[i % energy.size()] += std::norm(data.kspace[i]) / data.images;
  for (std::size_t k = 0; k < pattern.groups(); ++k) {
    groups.push_back(0);
    for (const int j : pattern.group(k)) groups.back() += energy[static_cast<std::size_t>(j)];
  }
  return groups;
}

double side_lobe(const SamplingPattern& pattern, std::span<const double> values) {
  Complexes frequencies(pattern.frequencies());
  for (std::size_t k = 0; k < pattern.groups(); ++k)
    for (const int j : pattern.group(k)) frequencies[static_cast<std::size_t>(j)] = values[k];
  const Complexes spread = inverse_fourier(frequencies, 1, pattern.height(), pattern.width());
  double largest = 0;
  for (std::size_t i = 1; i < spread.size(); ++i) largest = std::max(largest, std::abs(spread[i]));
  return largest / std::abs(spread[0]);
}

double first_penalty(const MriData& data, const SamplingPattern& pattern, double rate) {
  std::vector<double> energy(pattern.frequencies(), 0.0);
  for (std::size_t i = 0; i < data.kspace.size(); ++i)
    energy[i % energy.size()] += std::norm(data.kspace[i]) / (2.0 * data.images);
  std::vector<int> owners(pattern.frequencies(), 0);  // groups that share a frequency share its energy
  for (std::size_t k = 0; k < pattern.groups(); ++k)
    for (const int j : pattern.group(k)) ++owners[static_cast<std::size_t>(j)];
  std::vector<double> groups;
  for (std::size_t k = 0; k < pattern.groups(); ++k) {
    groups.push_back(0);
    for (const int j : pattern.group(k))
      groups.back() += energy[static_cast<std::size_t>(j)] / owners[static_cast<std::size_t>(j)];
  }
  std::sort(groups.rbegin(), groups.rend());
  const auto kept = static_cast<std::size_t>(rate * static_cast<double>(groups.size()));
  return std::max(0.25 * groups[std::min(kept, groups.size() - 1)], 1e-12);
}

Parameters relaxed_parameters(const SamplingPattern& pattern, const MriModel& model, bool learn_weights) {
  const std::vector<std::string> weights = weight_names(model.regulariser);
  std::vector<Segment> segments = model.parameters(pattern, {}, true, learn_weights).segments();
  for (Segment& s : segments)
    if (std::find(weights.begin(), weights.end(), s.name) != weights.end())
      s.lower = std::max(s.lower, s.initial);
  return Parameters(std::move(segments));
}

}  // namespace bilevel_app::mri
