#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "apps/common/common_options.hpp"
#include "apps/common/image_data.hpp"
#include "apps/common/method_options.hpp"
#include "apps/common/upper_options.hpp"
#include "apps/denoise/model_options.hpp"

namespace bilevel_app::denoise {

struct TrainOptions {
  CommonOptions common;
  DataOptions data;
  ModelOptions model;
  RunOptions run;
  bool log10 = false;
  MethodOptions method = {.name = "maid", .minibatches = true};
  /// auto: gauss-newton, newton and pcg for tv; lbfgs, lbfgs and cg for foe. parse() puts the choice here.
  std::string scaling = "auto", solver = "auto", linear_solver = "auto";
  double condition_penalty = 0;
  std::vector<std::string> test_data;  ///< held-out clean images; empty: none
  int test_every = 10;
  bilevel::UpperOptions upper;
};

struct ApplyOptions {
  CommonOptions common;
  std::string model, output, mask, reference, solver = "auto";
  std::vector<std::string> input;
  double tolerance = 1e-3;  ///< certified root-mean-square distance to the minimiser, per pixel
  bool luma = false;
  int bits = 0;  ///< 0: as the input
};

struct EvaluateOptions {
  CommonOptions common;
  DataOptions data;
  std::optional<double> sigma;  ///< empty: that of the model
  std::string model, save, solver = "auto";
  double tolerance = 1e-3;
};

struct CheckOptions {
  CommonOptions common;
  DataOptions data;
  std::string model;  ///< file; empty: `untrained`
  ModelOptions untrained;
};

/// One command; a text is printed as it is (help, version).
struct Options {
  std::variant<std::string, TrainOptions, ApplyOptions, EvaluateOptions, CheckOptions> command;
};

/// Reads the command line and the file of --config. Throws ConfigError (or IoError for that file) with one
/// sentence.
Options parse(int argc, const char* const* argv);

/// Runs the command and returns its exit code; results go to `out`, notes and progress to `err`.
int run(const Options& options, std::ostream& out, std::ostream& err);

int train(const TrainOptions& options, std::ostream& out, std::ostream& err);
int apply(const ApplyOptions& options, std::ostream& out, std::ostream& err);
int evaluate(const EvaluateOptions& options, std::ostream& out, std::ostream& err);
int check(const CheckOptions& options, std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::denoise
