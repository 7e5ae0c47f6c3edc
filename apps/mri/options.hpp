#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "apps/common/common_options.hpp"
#include "apps/common/method_options.hpp"
#include "apps/common/upper_options.hpp"
#include "apps/mri/mri_data.hpp"
#include "apps/mri/mri_model.hpp"

namespace bilevel_app::mri {

/// The algorithm of the upper level and the solvers of the lower one.
struct AlgorithmOptions {
  MethodOptions method = {.name = "lbfgsb"};
  std::string solver = "newton", linear_solver = "pcg";
  double accuracy = 1e-3;  ///< of the reconstructions that are reported, root mean square per pixel
  bilevel::UpperOptions upper;
};

/// What `learn` and `baseline` share: training and held-out data, the model, the run.
struct TrainingOptions {
  CommonOptions common;
  DataOptions data;
  std::vector<std::string> test_data;  ///< empty with test_slices: the training's
  std::string test_slices;             ///< empty: all
  ModelOptions model;
  std::string reference;  ///< image for directional total variation; empty: none
  AlgorithmOptions algorithm;
  RunOptions run;
};

struct LearnOptions : TrainingOptions {
  std::string pattern = "free", map = "direct";
  int spokes = 64;
  bool learn_weight = true;
  std::vector<double> penalty;  ///< beta1, beta2; empty: chosen for --rate
  std::optional<double> rate;
  int rate_runs = 3;     ///< penalties tried at most
  bool exchange = true;  ///< improve the binary pattern at its rate
  int starts = 0;        ///< of exchanges; 0: 4 for lines, columns and radial, else 1
};

struct BaselineOptions : TrainingOptions {
  std::string pattern = "vds", groups = "rows";
  std::string from;  ///< run folder whose pattern is taken, for "given"
  int spokes = 64;
  double rate = 0.3;
  int draws = 100;
  double power = 0, radius = -1;  ///< of vds; 0, negative: the usual ones
};

struct ReconstructOptions {
  CommonOptions common;
  std::string kspace, mask, mask_centre, run, sensitivities, reference, output;
  ModelOptions model;
  std::optional<double> scale;  ///< empty: the largest magnitude of the zero-filled image
  std::optional<int> slice;     ///< its number in the file; empty: the first
  std::string solver = "newton";
  double tolerance = 1e-4;
};

struct EvaluateOptions {
  CommonOptions common;
  DataOptions data;
  std::vector<std::string> runs;
  std::string save, reference, solver = "newton";
  double tolerance = 1e-3;
};

/// One command; a text is printed as it is (help, version).
struct Options {
  std::variant<std::string, LearnOptions, BaselineOptions, ReconstructOptions, EvaluateOptions> command;
};

/// Reads the command line and the file of --config. Throws ConfigError (or IoError for that file) with one
/// sentence.
Options parse(int argc, const char* const* argv);

/// Runs the command and returns its exit code; results go to `out`, notes and progress to `err`.
int run(const Options& options, std::ostream& out, std::ostream& err);

int learn(const LearnOptions& options, std::ostream& out, std::ostream& err);
int baseline(const BaselineOptions& options, std::ostream& out, std::ostream& err);
int reconstruct(const ReconstructOptions& options, std::ostream& out, std::ostream& err);
int evaluate(const EvaluateOptions& options, std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::mri
