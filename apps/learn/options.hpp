#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "apps/common/common_options.hpp"
#include "apps/common/method_options.hpp"
#include "apps/common/upper_options.hpp"

namespace bilevel_app::learn {

/// What theta is: one ridge of a classifier, one for each of its weights, a weight for each training sample;
/// or what shifts the data of a least-squares problem.
enum class Learn { ridge, ridges, samples, shift };
const char* name_of(Learn learn);

/// Values that learned numbers keep to: e^theta of a ridge, sigma(theta) of samples, theta of a shift.
struct Bounds {
  double lower, upper;
};
Bounds bounds_of(Learn learn);

/// Those of shift: A1, b1, A2, A3 and b2 of 1/2 |A1 x - b1|^2 over 1/2 |A2 x + A3 theta - b2|^2.
struct ShiftFiles {
  std::string upper_matrix, upper_vector, lower_matrix, shift_matrix, lower_vector;
};

struct TrainOptions {
  CommonOptions common;
  std::string train_data, train_labels, validation_data, validation_labels;
  std::optional<int> train, validation;  ///< the first, and without files of their own the last samples
  std::optional<int> classes;            ///< empty: as the labels say
  std::optional<int> block_rows;         ///< samples on the device at a time; empty: all
  bool bias = false;
  double corrupt = 0;
  ShiftFiles shift;
  std::string learn_name;
  Learn learn = Learn::ridge;   ///< what parse() makes of it
  std::optional<double> ridge;  ///< a of a |W|^2 (samples) or a |x|^2 (shift)
  std::optional<double> init;   ///< first e^theta, sigma(theta), or theta
  RunOptions run;
  MethodOptions method{"lbfgsb", {}, {}};
  /// auto: the usual choice for what is learned, which parse() puts here.
  std::string scaling = "auto", solver = "newton", linear_solver = "pcg";
  bilevel::UpperOptions upper;

  double fixed_ridge() const { return ridge.value_or(learn == Learn::shift ? 0 : 1e-3); }
  double first_value() const;
};

struct EvaluateOptions {
  CommonOptions common;
  std::string model, data, labels;
};

struct ApplyOptions {
  CommonOptions common;
  std::string model, data, output;
};

/// One command; a text is printed as it is (help, version).
struct Options {
  std::variant<std::string, TrainOptions, EvaluateOptions, ApplyOptions> command;
};

/// Reads the command line and the file of --config. Throws ConfigError (or IoError for that file) with one
/// sentence.
Options parse(int argc, const char* const* argv);

/// Runs the command and returns its exit code; results go to `out`, notes and progress to `err`.
int run(const Options& options, std::ostream& out, std::ostream& err);

int train(const TrainOptions& options, std::ostream& out, std::ostream& err);
int evaluate(const EvaluateOptions& options, std::ostream& out, std::ostream& err);
int apply(const ApplyOptions& options, std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::learn
