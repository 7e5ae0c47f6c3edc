#pragma once

#include "apps/experiments/experiment.hpp"

namespace bilevel_app::experiments {

/// Parts .2, .3, .5, .6, .7 and .9 of E11, on slices of the volume of --data.
void add_slices(const Settings& settings, Result& result);

}  // namespace bilevel_app::experiments
