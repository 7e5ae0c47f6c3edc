#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "bilevel/core/export.hpp"
#include "bilevel/model/sampling_pattern.hpp"

namespace bilevel {
inline namespace v0 {

// Sampling patterns that learned ones are compared with. All choose `count` of the
// groups of a pattern and return 1 for those, 0 for the others.

/// Groups that a sampling rate leaves: floor(rate groups). Throws ConfigError unless 0 < rate <= 1 and at
/// least one group is left.
BILEVEL_API std::size_t groups_at_rate(const SamplingPattern& pattern, double rate);

/// Distance of each group's nearest frequency to zero frequency: sqrt((k/H)^2 + (l/W)^2) for frequencies k, l
/// around zero, divided by the largest one.
BILEVEL_API std::vector<double> group_distances(const SamplingPattern& pattern);

/// Equally probable, without replacement; the same seed gives the same groups.
BILEVEL_API std::vector<double> uniform_groups(std::size_t groups, std::size_t count, std::uint64_t seed);
/// The nearest to zero frequency, ties by index: a disc, or the central lines.
BILEVEL_API std::vector<double> low_pass_groups(std::span<const double> distance, std::size_t count);
/// The largest energies, ties by index. Source: Knoll, Clason, Diwoky, Stollberger 2011.
BILEVEL_API std::vector<double> largest_groups(std::span<const double> energy, std::size_t count);

struct VariableDensityOptions {
  /// p; 0: the smallest integer, above 64 power of two, whose density needs no more than `count`.
  double power = 0;
  double radius = -1;  ///< r_0; negative: 0.1, or less when that alone would be more than half of `count`
  int draws = 100;
  std::uint64_t seed = 0;
};
struct VariableDensity {
  std::vector<double> s;
  double power = 0, radius = 0;
  double offset = 0;     ///< added to the density by bisection
  double side_lobe = 0;  ///< of the draw that was kept
};
/// Inclusion probabilities min(1, (1 - r)^p + offset), 1 within r_0, the offset found by bisection so that
/// they add up to `count`; `draws` random patterns of exactly `count` groups with these probabilities, of
/// which the one with the smallest side lobe is kept. `side_lobe(values)`: the largest magnitude apart from
/// the first of the Fourier transform of values per group, 1/probability where the pattern samples. Throws
/// ConfigError when the disc or the density is more than `count`. Sources: Lustig, Donoho, Pauly 2007;
/// drawing in the order of u/probability: Ohlsson 1998.
BILEVEL_API VariableDensity
variable_density_groups(std::span<const double> distance, std::size_t count, const VariableDensityOptions&,
                        const std::function<double(std::span<const double>)>& side_lobe);

/// The loss of each of several patterns, `chosen` with one more group.
using CandidateLosses =
    std::function<std::vector<double>(std::span<const int> chosen, std::span<const int> candidates)>;
/// Adds, one at a time, the group whose addition gives the smallest loss (ties by index) to `order`, the
/// groups chosen before, until there are `count`. `added` sees every step; false, or losses of another number
/// than that of the candidates, end the selection. Cost: sum over t < count of (groups - t) losses. Source:
/// Goezcue et al. 2018.
BILEVEL_API std::vector<int> greedy_groups(std::size_t groups, std::size_t count, std::vector<int> order,
                                           const CandidateLosses& losses,
                                           const std::function<bool(std::span<const int>)>& added = {});

/// 1 for the groups listed.
BILEVEL_API std::vector<double> groups_listed(std::size_t groups, std::span<const int> listed);

}  // namespace v0
}  // namespace bilevel
