#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/learn/dfo.hpp"
#include "bilevel/learn/hoag.hpp"
#include "bilevel/learn/inexact_gradient.hpp"
#include "bilevel/learn/stochastic.hpp"
#include "bilevel/learn/unrolled_training.hpp"
#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app {

/// The method that chooses theta, and what it takes beside UpperOptions. Empty: not given.
struct MethodOptions {
  /// maid, fixed (maid with fixed accuracies), lbfgsb, hoag, inexact-gradient, dfo or unrolled; with
  /// `minibatches` also isgd and stochastic-maid.
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
  std::optional<double> unrolled_step = {};                                                  // the same
  std::optional<int> batch = {}, epochs = {}, check_every = {};                              // of minibatches
  std::optional<double> step_decay = {}, accuracy_decay = {};                                // the same; isgd
  std::optional<std::string> step_rule = {};                                                 // isgd
  bool check_gradient = false;                                                               // of minibatches
  bool minibatches = false;  ///< the command has methods that see the images in minibatches

  bool stochastic() const { return name == "isgd" || name == "stochastic-maid"; }
  bool fixed_accuracy() const { return name == "fixed" || accuracies == "fixed" || name == "unrolled"; }
};

/// Adds --algorithm and the options of single methods. `subject`, as "for the pattern: ", begins the help.
void add_method_options(CLI::App& app, MethodOptions& method, const std::string& subject);

/// Throws ConfigError for an unknown name, numbers outside their range and options of other methods.
void validate(const MethodOptions& method, const bilevel::UpperOptions& upper);

/// Steps of all epochs of a method of minibatches. Throws ConfigError unless the minibatches divide `images`.
int minibatch_steps(const MethodOptions& method, int images);

/// The options that help where rounding ended a run: those of the method, and the usual ones.
std::string limit_options(const MethodOptions& method, const std::string& usual);

/// Appends the method and its options under their names.
void append_deciding(std::vector<bilevel::NamedOption>& list, const MethodOptions& method);

/// Of methods that see all images at once.
template <class T>
std::unique_ptr<bilevel::UpperOptimiser<T>> make_optimiser(const MethodOptions& method,
                                                           const bilevel::UpperOptions& upper);
/// Of methods of minibatches, whose order is drawn from the seed.
template <class T>
std::unique_ptr<bilevel::StochasticOptimiser<T>> make_stochastic_optimiser(const MethodOptions& method,
                                                                           const bilevel::UpperOptions& upper,
                                                                           std::uint64_t seed);

}  // namespace bilevel_app
