#pragma once

#include <span>
#include <vector>

#include "apps/mri/mri_data.hpp"
#include "apps/mri/mri_model.hpp"

namespace bilevel_app::mri {

/// Mean over the images of |y_j|^2 summed over the group and the coils.
std::vector<double> group_energies(const MriData& data, const bilevel::SamplingPattern& pattern);

/// The largest magnitude of the point spread function of values per group, apart from its peak.
double side_lobe(const bilevel::SamplingPattern& pattern, std::span<const double> values);

/// A penalty from which a search for the rate starts: a quarter of what the loss of the weakest group that
/// the largest coefficients would keep costs, half its mean energy.
double first_penalty(const MriData& data, const bilevel::SamplingPattern& pattern, double rate);

/// Of the relaxed pattern: weights stay at least what they start from. All s and the root of alpha can shrink
/// together without much change of the reconstructions, so that the penalty would drive alpha to zero, and
/// the pattern to one that samples everything a little.
bilevel::Parameters relaxed_parameters(const bilevel::SamplingPattern& pattern, const MriModel& model,
                                       bool learn_weights);

}  // namespace bilevel_app::mri
