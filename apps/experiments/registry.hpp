#pragma once

#include <string>
#include <vector>

#include "apps/experiments/experiment.hpp"

namespace bilevel_app::experiments {

// One file each.
Experiment error_sequences();        // e01_error_sequences.cpp
Experiment quadratic_problem();      // e02_quadratic.cpp
Experiment least_squares_bounds();   // e03_least_squares.cpp
Experiment hypercleaning();          // e04_hypercleaning.cpp
Experiment two_parameters();         // e05_two_parameters.cpp
Experiment field_of_experts();       // e06_field_of_experts.cpp
Experiment one_parameter();          // e07_one_parameter.cpp
Experiment three_parameters();       // e08_three_parameters.cpp
Experiment three_parameters_2d();    // e09_three_parameters.cpp
Experiment sampling_weights();       // e10_sampling.cpp
Experiment sampling_patterns();      // e11_sampling_patterns.cpp
Experiment generalised_variation();  // e12_generalised_variation.cpp
Experiment regularisers();           // e13_regularisers.cpp
Experiment logistic_regression();    // e14_logistic.cpp

/// All that this program runs, by number.
const std::vector<Experiment>& experiments();

/// The experiments of these names ("E7", also "e7", or "all") in the order given, each once. Throws
/// ConfigError for others, naming those there are.
std::vector<Experiment> chosen(const std::vector<std::string>& names);

}  // namespace bilevel_app::experiments
