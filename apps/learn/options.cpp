#include "apps/learn/options.hpp"

#include <cmath>
#include <utility>

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::learn {

using bilevel::ConfigError;
using bilevel::option_text;

namespace {

constexpr const char* data_files = "idx3-ubyte file of images (unpacked), or .npy [samples][...]";
constexpr const char* label_files = "idx1-ubyte file, or .npy [samples] of whole numbers";

void add_data_options(CLI::App& app, TrainOptions& o) {
  const char* group = "Data";
  add_value(app, "--train-data", o.train_data,
            "features: " + std::string(data_files) +
                "; pixels are divided by 255, numbers of .npy taken as they are",
            "FILE")
      ->group(group);
  add_value(app, "--train-labels", o.train_labels, std::string(label_files) + ": 0, 1, ..., or -1 and 1",
            "FILE")
      ->group(group);
  add_value(app, "--validation-data", o.validation_data, "features of the samples that judge theta", "FILE")
      ->group(group);
  add_value(app, "--validation-labels", o.validation_labels, "their labels", "FILE")->group(group);
  add_value(app, "--validation", o.validation,
            "without these files: the last N samples of the training files judge theta", "N")
      ->group(group);
  add_value(app, "--train", o.train, "train on the first N samples [all]", "N")->group(group);
  add_value(app, "--classes", o.classes, "number of classes [as the training labels say]", "N")->group(group);
  app.add_flag("--bias", o.bias, "append the feature 1, with a weight of its own under the same ridge")
      ->group(group);
  add_value(app, "--corrupt", o.corrupt,
            "experiments: give this fraction of the training labels another class, drawn from --seed [0]",
            "RATE")
      ->group(group);
  add_value(app, "--block-rows", o.block_rows,
            "keep samples on the host (pixels as bytes), N at a time on the device, a multiple of 1024 [all]",
            "N")
      ->group(group);
}

void add_shift_options(CLI::App& app, ShiftFiles& files) {
  const char* group = "Data of --learn shift";
  add_value(app, "--upper-matrix", files.upper_matrix, "A1, .npy [rows][columns]", "FILE")->group(group);
  add_value(app, "--upper-vector", files.upper_vector, "b1, [rows]", "FILE")->group(group);
  add_value(app, "--lower-matrix", files.lower_matrix, "A2", "FILE")->group(group);
  add_value(app, "--shift-matrix", files.shift_matrix, "A3", "FILE")->group(group);
  add_value(app, "--lower-vector", files.lower_vector, "b2", "FILE")->group(group);
}

void add_problem_options(CLI::App& app, TrainOptions& o) {
  const char* group = "Problem";
  add_value(app, "--learn", o.learn_name,
            "ridge: e^theta of e^theta/2 |W|^2, 1e-6 to 1000; ridges: one for each weight, sum_e e^theta_e/2 "
            "W_e^2, 1e-5 to 1000; samples: sigma(theta_j) of each training sample (data hypercleaning); "
            "shift: theta of 1/2 |A1 x - b1|^2, x = argmin 1/2 |A2 x + A3 theta - b2|^2, -1e6 to 1e6",
            "WHAT")
      ->group(group);
  add_value(app, "--ridge", o.ridge,
            "A of a fixed ridge, no factor 1/2: A |W|^2 of samples [0.001], A |x|^2 of shift [none]", "A")
      ->group(group);
  add_value(app, "--init", o.init,
            "first e^theta (ridge 0.01, ridges 0.05), sigma(theta) (samples 0.5) or theta (shift 0)", "X")
      ->group(group);
}

void add_algorithm_options(CLI::App& app, TrainOptions& o) {
  const char* group = "Algorithm";
  add_method_options(app, o.method, "");
  add_schedule_options(app, o.upper.schedule, "--nu");
  add_value(app, "--scaling", o.scaling,
            "maid: steps none (plain gradient), gauss-newton, lbfgs, or auto (gauss-newton for ridge and "
            "shift, lbfgs for others) [auto]",
            "NAME")
      ->group(group);
  add_value(app, "--solver", o.solver,
            "lower level: newton, fista, fista-restart, heavy-ball, gradient-descent or lbfgs [newton]",
            "NAME")
      ->group(group);
  add_value(app, "--linear-solver", o.linear_solver,
            "linear systems: pcg, cg, gradient-descent or heavy-ball [pcg]", "NAME")
      ->group(group);
}

void add_train(CLI::App& app, TrainOptions& o) {
  o.upper.schedule.tolerance = 3e-4;
  o.upper.min_progress = 1e-3;
  add_data_options(app, o);
  add_shift_options(app, o.shift);
  add_problem_options(app, o);
  add_run_folder_options(app, o.run,
                         "model.json, weights.npy (of shift: shift.npy, x.npy), log.jsonl, summary.json, "
                         "images/, convergence.svg, checkpoint/");
  add_limit_options(app, o.run, o.upper, "200");
  add_algorithm_options(app, o);
  add_common_options(app, o.common, true, false);
  app.footer(
      "The classifier W [classes][features] minimises 1/N sum_j l(W x_j, y_j) + ridge, l the cross entropy "
      "(for\ntwo classes labelled 0 and 1, or -1 and 1, one row, logistic regression). theta minimises the "
      "mean of l\nover the validation samples.\n"
      "Memory: 60,000 samples of 784 features take 376 MB on the device (--precision float: 188 MB), and 0.9 "
      "GB on the\nhost while they are read; with --block-rows 1024, 13 MB.\n"
      "Example:\n  bilevel-learn train --train-data train-images-idx3-ubyte --train-labels "
      "train-labels-idx1-ubyte \\\n    --train 2000 --validation 2000 --corrupt 0.1 --learn samples --out "
      "run\n"
      "Stopping: Ctrl-C keeps the last finished iteration (exit code 130); go on with the same command and "
      "--resume.");
}

void add_model_and_data(CLI::App& app, std::string& model, std::string& data) {
  add_value(app, "--model", model, "model.json of a training run, with the files beside it", "FILE")
      ->group("Model");
  add_value(app, "--data", data, std::string("features: ") + data_files + ", as those of the training",
            "FILE")
      ->group("Data");
}

void add_evaluate(CLI::App& app, EvaluateOptions& o) {
  add_model_and_data(app, o.model, o.data);
  add_value(app, "--labels", o.labels, std::string("the right labels: ") + label_files, "FILE")
      ->group("Data");
  add_common_options(app, o.common, false, false);
  app.footer(
      "Example:\n  bilevel-learn evaluate --model run/model.json --data t10k-images-idx3-ubyte --labels "
      "t10k-labels-idx1-ubyte");
}

void add_apply(CLI::App& app, ApplyOptions& o) {
  add_model_and_data(app, o.model, o.data);
  add_value(app, "--output", o.output, "labels of the most likely classes: .npy [samples], int64", "FILE.npy")
      ->group("Data");
  add_common_options(app, o.common, false, false);
  app.footer(
      "Example:\n  bilevel-learn apply --model run/model.json --data t10k-images-idx3-ubyte --output "
      "labels.npy");
}

void require(bool given, const char* command, const char* what) {
  if (!given)
    throw ConfigError(std::string(command) + " needs " + what + " (see bilevel-learn " + command +
                      " --help).");
}

void require_count(const std::optional<int>& count, const char* option, int least) {
  if (count && *count < least)
    throw ConfigError(std::string(option) + " " + std::to_string(*count) + ": use at least " +
                      std::to_string(least) + ".");
}

void validate_common(const CommonOptions& o) {
  if (o.precision == "mixed")
    throw ConfigError("--precision mixed: bilevel-learn has double and float alone.");
  validate(o);
}

Learn learn_from(const std::string& name) {
  require_one_of(name, "--learn", {"ridge", "ridges", "samples", "shift"});
  return name == "ridge"    ? Learn::ridge
         : name == "ridges" ? Learn::ridges
         : name == "shift"  ? Learn::shift
                            : Learn::samples;
}

/// Options of data of the other kind, each with whether it is given.
using GivenOptions = std::vector<std::pair<const char*, bool>>;

GivenOptions of_shift(const ShiftFiles& f) {
  return {{"--upper-matrix", !f.upper_matrix.empty()},
          {"--upper-vector", !f.upper_vector.empty()},
          {"--lower-matrix", !f.lower_matrix.empty()},
          {"--shift-matrix", !f.shift_matrix.empty()},
          {"--lower-vector", !f.lower_vector.empty()}};
}
GivenOptions of_classifiers(const TrainOptions& o) {
  return {{"--train-data", !o.train_data.empty()},
          {"--train-labels", !o.train_labels.empty()},
          {"--validation-data", !o.validation_data.empty()},
          {"--validation-labels", !o.validation_labels.empty()},
          {"--validation", o.validation.has_value()},
          {"--train", o.train.has_value()},
          {"--classes", o.classes.has_value()},
          {"--block-rows", o.block_rows.has_value()},
          {"--bias", o.bias},
          {"--corrupt", o.corrupt != 0}};
}

void refuse(const GivenOptions& options, const std::string& use, const std::string& learn) {
  for (const auto& [name, given] : options)
    if (given)
      throw ConfigError(std::string(name) + " is for " + use + ", not for --learn " + learn +
                        "; leave it out.");
}

void validate_validation(const TrainOptions& o) {
  const bool data = !o.validation_data.empty(), labels = !o.validation_labels.empty();
  if (data != labels)
    throw ConfigError(std::string(data ? "--validation-data" : "--validation-labels") + " needs " +
                      (data ? "--validation-labels" : "--validation-data") + " FILE beside it.");
  if (data && o.validation)
    throw ConfigError(
        "--validation N takes samples of the training files, which --validation-data replaces; leave one of "
        "them out.");
  require(data || o.validation, "train",
          "--validation-data FILE and --validation-labels FILE, or --validation N");
  require_count(o.validation, "--validation", 1);
}

void validate_shift(const TrainOptions& o) {
  refuse(of_classifiers(o), "classifiers", o.learn_name);
  for (const auto& [name, given] : of_shift(o.shift))
    require(given, "train --learn shift", (std::string(name) + " FILE").c_str());
}

void validate_classifier(const TrainOptions& o) {
  refuse(of_shift(o.shift), "--learn shift", o.learn_name);
  require(!o.train_data.empty(), "train", "--train-data FILE");
  require(!o.train_labels.empty(), "train", "--train-labels FILE");
  validate_validation(o);
  require_count(o.train, "--train", 1);
  require_count(o.classes, "--classes", 2);
  require_count(o.block_rows, "--block-rows", 1);
  if (!(o.corrupt >= 0 && o.corrupt < 1))
    throw ConfigError("--corrupt " + option_text(o.corrupt) + ": use a fraction from 0 to below 1.");
}

void validate_problem(const TrainOptions& o) {
  if (o.ridge && (o.learn == Learn::ridge || o.learn == Learn::ridges))
    throw ConfigError("--ridge is for --learn samples and shift, as " + o.learn_name +
                      " is learned itself; leave it out, or use --init.");
  if (o.ridge) require_positive(*o.ridge, "--ridge");
  const double first = o.first_value();
  const auto [lower, upper] = bounds_of(o.learn);
  if (o.learn == Learn::samples && !(first > lower && first < upper))
    throw ConfigError("--init " + option_text(first) + ": weights of samples begin between 0 and 1.");
  if (!(first >= lower && first <= upper))
    throw ConfigError("--init " + option_text(first) + ": use a number from " + option_text(lower) + " to " +
                      option_text(upper) + ".");
}

void finish(TrainOptions& o) {
  require(!o.learn_name.empty(), "train", "--learn ridge|ridges|samples|shift");
  o.learn = learn_from(o.learn_name);
  o.learn == Learn::shift ? validate_shift(o) : validate_classifier(o);
  validate_problem(o);
  require(!o.run.out.empty(), "train", "--out RUN_DIR");
  validate_common(o.common);
  require_one_of(o.scaling, "--scaling", {"auto", "none", "gauss-newton", "lbfgs"});
  require_one_of(o.solver, "--solver",
                 {"newton", "fista", "fista-restart", "heavy-ball", "gradient-descent", "lbfgs"});
  require_one_of(o.linear_solver, "--linear-solver", {"pcg", "cg", "gradient-descent", "heavy-ball"});
  validate(o.run, o.upper);
  require_positive(o.upper.schedule.tolerance, "--tolerance");
  if (o.scaling == "auto")
    o.scaling = o.learn == Learn::ridge || o.learn == Learn::shift ? "gauss-newton" : "lbfgs";
  o.upper.scaling = o.scaling == "none"           ? bilevel::StepScaling::none
                    : o.scaling == "gauss-newton" ? bilevel::StepScaling::gauss_newton
                                                  : bilevel::StepScaling::lbfgs;
  o.upper.minimiser = o.solver;
  o.upper.linear_solver = o.linear_solver;
  o.upper.max_iterations = o.run.max_iterations.value_or(200);
  o.upper.budget = static_cast<std::uint64_t>(o.run.budget);
  validate(o.method, o.upper);
}

void finish(EvaluateOptions& o) {
  require(!o.model.empty(), "evaluate", "--model FILE");
  require(!o.data.empty(), "evaluate", "--data FILE");
  require(!o.labels.empty(), "evaluate", "--labels FILE");
  validate_common(o.common);
}

void finish(ApplyOptions& o) {
  require(!o.model.empty(), "apply", "--model FILE");
  require(!o.data.empty(), "apply", "--data FILE");
  require(!o.output.empty(), "apply", "--output FILE.npy");
  if (!o.output.ends_with(".npy"))
    throw ConfigError("--output " + o.output + ": use a name that ends with .npy.");
  validate_common(o.common);
}

}  // namespace

const char* name_of(Learn learn) {
  constexpr const char* names[] = {"ridge", "ridges", "samples", "shift"};
  return names[static_cast<int>(learn)];
}

// With smaller ridges certificates say nothing: their accuracy is divided by the strong convexity.
Bounds bounds_of(Learn learn) {
  constexpr Bounds bounds[] = {{1e-6, 1e3}, {1e-5, 1e3}, {0, 1}, {-1e6, 1e6}};
  return bounds[static_cast<int>(learn)];
}

double TrainOptions::first_value() const {
  constexpr double usual[] = {0.01, 0.05, 0.5, 0};
  return init.value_or(usual[static_cast<int>(learn)]);
}

Options parse(int argc, const char* const* argv) {
  TrainOptions train_options;
  EvaluateOptions evaluate_options;
  ApplyOptions apply_options;
  CLI::App app(
      "Learns ridges or the weights of training samples of a linear classifier from labelled samples, or a "
      "shift of the data of least squares, with certified accuracies.",
      "bilevel-learn");
  CLI::App* train = app.add_subcommand("train", "learn from training and validation samples");
  CLI::App* evaluate = app.add_subcommand("evaluate", "error rate and cross entropy of a learned classifier");
  CLI::App* apply = app.add_subcommand("apply", "predict the classes of samples");
  add_train(*train, train_options);
  add_evaluate(*evaluate, evaluate_options);
  add_apply(*apply, apply_options);
  const ParsedCommand chosen =
      parse_command(app, argc, argv, "train, evaluate or apply",
                    "  bilevel-learn train --help\n  bilevel-learn evaluate --model run/model.json --data "
                    "t10k-images-idx3-ubyte --labels t10k-labels-idx1-ubyte");
  if (chosen.command == nullptr) return {chosen.text};
  const auto complete = [&chosen](auto& options) -> Options {
    if (!options.common.config.empty()) apply_config_file(*chosen.command, options.common.config);
    finish(options);
    return {options};
  };
  if (chosen.command == train) return complete(train_options);
  if (chosen.command == evaluate) return complete(evaluate_options);
  return complete(apply_options);
}

}  // namespace bilevel_app::learn
