#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/learn/dfo.hpp"
#include "bilevel/learn/hoag.hpp"
#include "bilevel/learn/inexact_gradient.hpp"
#include "bilevel/learn/unrolled_training.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app {

/// The method that chooses theta, and what it takes beside UpperOptions. Empty: not given.
struct MethodOptions {
  /// maid, fixed (maid with fixed accuracies), lbfgsb, hoag, inexact-gradient, dfo or unrolled
  std::string name;
  std::optional<std::string> schedule = {}, compat = {};  // hoag
  std::optional<std::string> errors = {}, bound = {};     // inexact-gradient
  std::optional<double> epsilon_down = {}, epsilon_up = {}, delta_down = {}, delta_up = {};  // the same
  std::optional<std::string> accuracies = {};                                                // dfo
  std::optional<double> radius0 = {}, radius_end = {};                                       // the same
  std::optional<int> max_evaluations = {};                                                   // the same
  std::optional<std::string> hypergradient = {}, update = {};                                // unrolled
  std::optional<std::string> unrolled_method = {}, unrolled_memory = {};                     // the same
  std::optional<int> unrolled_steps = {};                                                    // the same

  bool fixed_accuracy() const { return name == "fixed" || accuracies == "fixed" || name == "unrolled"; }
};

/// Adds --algorithm and the options of single methods. `subject`, as "for the pattern: ", begins the help.
void add_method_options(CLI::App& app, MethodOptions& method, const std::string& subject);

/// Throws ConfigError for an unknown name, numbers outside their range and options of other methods.
void validate(const MethodOptions& method, const bilevel::UpperOptions& upper);

/// The options that help where rounding ended a run: those of the method, and the usual ones.
std::string limit_options(const MethodOptions& method, const std::string& usual);

/// Appends the method and its options under their names.
void append_deciding(std::vector<bilevel::NamedOption>& list, const MethodOptions& method);

template <class T>
std::unique_ptr<bilevel::UpperOptimiser<T>> make_optimiser(const MethodOptions& method,
                                                           const bilevel::UpperOptions& upper);

}  // namespace bilevel_app
