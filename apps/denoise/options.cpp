#include "apps/denoise/options.hpp"

#include <algorithm>
#include <cmath>

#include "apps/common/add_option.hpp"
#include "apps/common/blur_option.hpp"
#include "apps/common/option_support.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/denoise/deblurring.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::denoise {

using bilevel::ConfigError;
using bilevel::option_text;

namespace {

/// Upper iterations when --max-iterations is not given.
int usual_iterations(const ModelOptions& model) { return experts_part(model.regularisers()) ? 500 : 200; }

void add_data_options(CLI::App& app, DataOptions& o, bool crops) {
  const char* group = "Data";
  add_value(app, "--data", o.data,
            "clean images: folders or files (PNG, JPEG, PGM, PPM, TIFF, .npy; also stacks), used as luma",
            "PATH")
      ->group(group);
  add_value(app, "--noisy", o.noisy, "given noisy images, paired in sorted order, instead of added noise",
            "PATH")
      ->group(group);
  add_value(app, "--mask", o.mask,
            std::string("image whose pixels above 0.5 are measured, the others are filled in; of ") +
                (crops ? "the crops' size" : "the images' size"),
            "FILE")
      ->group(group);
  add_reference(app, o.reference)->group(group);
  if (!crops) return;
  add_value(app, "--blur", o.blur_option,
            "deblur: convolve the crops with this kernel (odd sides), mirrored about their edges, before the "
            "noise; given --noisy images are blurred already",
            "KERNEL.npy|gaussian:SIGMA")
      ->group(group);
}

void add_crop_options(CLI::App& app, DataOptions& o) {
  const std::string images = std::to_string(o.images), crop = std::to_string(o.crop);
  add_value(app, "--images", o.images,
            "number of crops: one of each file, more of each when the files are fewer [" + images + "]", "N")
      ->group("Data");
  add_value(app, "--crop", o.crop, "size of the square crops, pixels [" + crop + "]", "N")->group("Data");
}

void add_algorithm_options(CLI::App& app, TrainOptions& o) {
  const char* group = "Algorithm";
  add_method_options(app, o.method, "");
  add_schedule_options(app, o.upper.schedule, "--nu");
  add_value(
      app, "--scaling", o.scaling,
      "steps: none (plain gradient), gauss-newton, lbfgs, or auto (tv: gauss-newton, foe: lbfgs) [auto]",
      "NAME")
      ->group(group);
  add_value(
      app, "--solver", o.solver,
      "lower level: newton, fista, fista-restart, pdhg (tv), heavy-ball, gradient-descent, lbfgs, or auto "
      "(tv: newton, foe: lbfgs) [auto]",
      "NAME")
      ->group(group);
  add_value(app, "--linear-solver", o.linear_solver,
            "linear systems: pcg, cg, gradient-descent, heavy-ball, or auto (tv: pcg, foe: cg) [auto]",
            "NAME")
      ->group(group);
  add_value(app, "--condition-penalty", o.condition_penalty,
            "tv: weight beta of the penalty beta (L/mu)^2 [0]")
      ->group(group);
}

void add_train(CLI::App& app, TrainOptions& o) {
  o.upper.schedule.tolerance = 1e-3;
  add_data_options(app, o.data, true);
  add_value(app, "--sigma", o.data.sigma,
            "standard deviation of the added noise, intensities being 0 to 1 [0.1]")
      ->group("Data");
  add_crop_options(app, o.data);
  add_model_options(app, o.model, "--model");
  add_value(app, "--test-data", o.test_data,
            "other clean images to test on: centre crops with noise of seed N + 1, test_psnr in the log",
            "PATH")
      ->group("Data");
  add_value(app, "--test-every", o.test_every, "iterations between two such tests [10]", "K")->group("Data");
  add_run_folder_options(app, o.run,
                         "model.json, log.jsonl, summary.json, images/, convergence.svg, checkpoint/");
  add_limit_options(app, o.run, o.upper, "tv: 200, foe: 500");
  app.add_flag("--log10", o.log10, "also show the parameters as log10")->group("Run");
  add_algorithm_options(app, o);
  add_common_options(app, o.common, true);
  app.footer(
      "Example:\n  bilevel-denoise train --data photos/ --model tv-aniso --sigma 0.1 --images 25 --crop 96 "
      "--out run\n"
      "  bilevel-denoise train --data photos/ --model foe --filters 30 --filter-size 7 --out run-foe\n"
      "Stopping: Ctrl-C keeps the last finished iteration (exit code 130); go on with the same command and "
      "--resume.");
}

void add_model_file(CLI::App& app, std::string& model) {
  add_value(app, "--model", model, "model.json of a training run", "FILE")->group("Model");
}

/// --blur of commands that take it from the model, which is not in their help.
void refuse_blur(CLI::App& app) {
  app.add_option_function<std::string>(
         "--blur",
         [](const std::string&) {
           throw ConfigError(
               "--blur is kept by model.json, where the model was learned with it; leave it out.");
         })
      ->group("");
}

void add_accuracy(CLI::App& app, double& tolerance, std::string& solver) {
  add_value(app, "--tolerance", tolerance,
            "certified distance to the exact minimiser, root mean square per pixel, intensities being 0 to 1 "
            "[0.001]")
      ->group("Accuracy");
  add_value(
      app, "--solver", solver,
      "newton, fista, fista-restart, pdhg (tv), heavy-ball, gradient-descent, lbfgs, or auto (tv: newton, "
      "foe: lbfgs) [auto]",
      "NAME")
      ->group("Accuracy");
}

void add_apply(CLI::App& app, ApplyOptions& o) {
  add_model_file(app, o.model);
  const char* group = "Images";
  add_value(app, "--input", o.input,
            "noisy images of any size: files or folders; one that cannot be read ends the command", "IMAGE")
      ->group(group);
  add_value(app, "--output", o.output,
            "image file, or a folder for several inputs (names are kept, JPEG becomes .png)", "IMAGE|DIR")
      ->group(group);
  app.add_flag("--luma", o.luma,
               "denoise the luma and write a grey image [each channel by itself, or all together as the "
               "model says]")
      ->group(group);
  add_value(app, "--bits", o.bits, "bits per sample of the output: 8, 16, or 32 for TIFF [as the input]", "N")
      ->group(group);
  add_value(app, "--mask", o.mask, "image whose pixels above 0.5 are measured, the others are filled in",
            "FILE")
      ->group(group);
  add_reference(app, o.reference)->group(group);
  refuse_blur(app);
  add_accuracy(app, o.tolerance, o.solver);
  add_common_options(app, o.common, false);
  app.footer(
      "Example:\n  bilevel-denoise apply --model run/model.json --input noisy.png --output denoised.png");
}

void add_evaluate(CLI::App& app, EvaluateOptions& o) {
  o.data.images = 0;
  o.data.crop = 0;
  add_model_file(app, o.model);
  add_data_options(app, o.data, false);
  refuse_blur(app);
  add_value(app, "--sigma", o.sigma,
            "standard deviation of the added noise, intensities being 0 to 1 [that of the training]")
      ->group("Data");
  add_value(app, "--images", o.data.images, "only the first N files [all]", "N")->group("Data");
  add_value(app, "--crop", o.data.crop, "only the centre crop of N x N pixels [whole images]", "N")
      ->group("Data");
  add_value(app, "--save", o.save,
            "folder for K-NAME-noisy.png and K-NAME-denoised.png of image K [not kept]", "DIR")
      ->group("Data");
  add_accuracy(app, o.tolerance, o.solver);
  add_common_options(app, o.common, true);
  app.footer("Example:\n  bilevel-denoise evaluate --model run/model.json --data test-photos/ --sigma 0.1");
}

void add_check(CLI::App& app, CheckOptions& o) {
  o.data.images = 2;
  o.data.crop = 32;
  add_model_file(app, o.model);
  add_model_options(app, o.untrained, "--model-type");
  add_data_options(app, o.data, true);
  add_value(app, "--sigma", o.data.sigma,
            "standard deviation of the added noise, intensities being 0 to 1 [0.1]")
      ->group("Data");
  add_crop_options(app, o.data);
  add_common_options(app, o.common, true);
  app.footer("Example:\n  bilevel-denoise check --model run/model.json --data photos/");
}

void require(bool given, const char* command, const char* what) {
  if (!given)
    throw ConfigError(std::string(command) + " needs " + what + " (see bilevel-denoise " + command +
                      " --help).");
}

constexpr std::initializer_list<const char*> kSolvers = {
    "auto", "newton", "fista", "fista-restart", "pdhg", "heavy-ball", "gradient-descent", "lbfgs"};

/// The model's options, and crops that its filters and wavelets fit into; puts the levels that it has.
void require_model_fits(ModelOptions& model, const CommonOptions& common, DataOptions& data) {
  static_cast<void>(model.parameters(common.seed));
  bilevel::RegulariserSum regularisers = model.regularisers();
  data.channels = model.channels();
  require_no_mask(regularisers, data.mask);
  require_reference(regularisers, data.reference);
  fit_levels(model, regularisers, data.crop, data.crop, "--crop", data.notes);
  if (const int levels = wavelet_levels(regularisers); levels > 0) model.levels = levels;
  if (const int least = smallest_image(regularisers, model.size()); data.crop < least)
    throw ConfigError("--filter-size " + std::to_string(model.size()) + " needs crops of at least " +
                      std::to_string(least) + " pixels, not --crop " + std::to_string(data.crop) + ".");
}

/// Reads the kernel of --blur.
void take_blur(DataOptions& data, const ModelOptions& model, const std::string& precision,
               const std::string& solver) {
  if (data.blur_option.empty()) return;
  require_deblurs(data.mask, precision, solver);
  if (model.xi_inside_alpha)
    throw ConfigError("--xi-inside-alpha is for models without a blur; leave it out.");
  data.blur = read_blur(data.blur_option, data.notes);
  require_blur_fits(*data.blur, data.blur_option, data.crop);
}

/// Puts the model's choice for `auto`, and everything where the optimiser looks for it.
void choose(TrainOptions& o) {
  const bilevel::RegulariserSum regularisers = o.model.regularisers();
  if (o.scaling == "auto") o.scaling = experts_part(regularisers) ? "lbfgs" : "gauss-newton";
  o.solver = lower_solver(o.solver, regularisers);
  o.linear_solver = linear_solver(o.linear_solver, regularisers);
  o.upper.scaling = o.scaling == "none"           ? bilevel::StepScaling::none
                    : o.scaling == "gauss-newton" ? bilevel::StepScaling::gauss_newton
                                                  : bilevel::StepScaling::lbfgs;
  o.upper.minimiser = in_precision(o.solver, o.common.precision);
  o.upper.linear_solver = in_precision(o.linear_solver, o.common.precision);
  const int usual =
      o.method.stochastic() ? minibatch_steps(o.method, o.data.images) : usual_iterations(o.model);
  o.upper.max_iterations = o.run.max_iterations.value_or(usual);
  o.upper.budget = static_cast<std::uint64_t>(o.run.budget);
}

/// What minibatches leave out.
void require_fits_minibatches(const TrainOptions& o) {
  if (!o.method.stochastic()) return;
  if (o.run.max_iterations && o.method.epochs)
    throw ConfigError("--epochs has no effect beside --max-iterations; leave one of them out.");
  if (o.common.precision == "mixed")
    throw ConfigError("--precision mixed keeps a copy of all images, which minibatches of --algorithm " +
                      o.method.name + " do not; use double or float.");
  if (is_directional(o.model.regularisers()))
    throw ConfigError("--algorithm " + o.method.name +
                      " does not know the models with a reference of each "
                      "image; use another model, or a method of all images.");
}

void finish(TrainOptions& o) {
  require(!o.data.data.empty(), "train", "--data PATH");
  require(!o.run.out.empty(), "train", "--out RUN_DIR");
  validate(o.common);
  validate(o.data);
  require_model_fits(o.model, o.common, o.data);
  require_one_of(o.scaling, "--scaling", {"auto", "none", "gauss-newton", "lbfgs"});
  require_one_of(o.solver, "--solver", kSolvers);
  require_one_of(o.linear_solver, "--linear-solver", {"auto", "pcg", "cg", "gradient-descent", "heavy-ball"});
  validate(o.run, o.upper);
  if (!(o.condition_penalty >= 0) || !std::isfinite(o.condition_penalty))
    throw ConfigError("--condition-penalty " + option_text(o.condition_penalty) + ": use a number >= 0.");
  take_blur(o.data, o.model, o.common.precision, o.solver);
  if (o.condition_penalty > 0 && o.data.blur)
    throw ConfigError("--condition-penalty is for models without a blur; leave it out.");
  if (o.condition_penalty > 0 && !single_differences(o.model.regularisers()))
    throw ConfigError("--condition-penalty is an option of the model tv, not of " + o.model.type +
                      "; leave it out.");
  if (o.test_every < 1)
    throw ConfigError("--test-every " + std::to_string(o.test_every) + ": use at least 1.");
  if (!o.test_data.empty() && !o.data.noisy.empty())
    throw ConfigError("--test-data adds noise of --sigma, which --noisy replaces; leave one of them out.");
  require_positive(o.upper.schedule.tolerance, "--tolerance");
  require_fits_minibatches(o);
  choose(o);
  validate(o.method, o.upper);
}

void finish(ApplyOptions& o) {
  require(!o.model.empty(), "apply", "--model FILE");
  require(!o.input.empty(), "apply", "--input IMAGE");
  require(!o.output.empty(), "apply", "--output IMAGE|DIR");
  validate(o.common);
  require_positive(o.tolerance, "--tolerance");
  require_one_of(o.solver, "--solver", kSolvers);
  if (o.bits != 0 && o.bits != 8 && o.bits != 16 && o.bits != 32)
    throw ConfigError("--bits " + std::to_string(o.bits) + ": use 8, 16, or 32 (TIFF).");
}

void finish(EvaluateOptions& o) {
  require(!o.model.empty(), "evaluate", "--model FILE");
  require(!o.data.data.empty(), "evaluate", "--data PATH");
  if (o.sigma) o.data.sigma = *o.sigma;
  validate(o.common);
  DataOptions probe = o.data;  // zero means all files and whole images here
  if (probe.images == 0) probe.images = 1;
  if (probe.crop == 0) probe.crop = 2;
  validate(probe);
  require_positive(o.tolerance, "--tolerance");
  require_one_of(o.solver, "--solver", kSolvers);
}

void finish(CheckOptions& o) {
  require(!o.data.data.empty(), "check", "--data PATH");
  validate(o.common);
  validate(o.data);
  if (o.common.precision != "double")
    throw ConfigError("--precision " + o.common.precision +
                      ": check compares with differences, which needs double.");
  if (!o.model.empty()) return;
  require_model_fits(o.untrained, o.common, o.data);
  take_blur(o.data, o.untrained, o.common.precision, "auto");
}

/// Options of the model that a model file fixes may not stand beside --model.
void require_no_model_options(const CLI::App& app, const CheckOptions& o) {
  if (o.model.empty()) return;
  for (const char* name : {"--model-type", "--colour", "--blur", "--potential", "--xi-inside-alpha", "--init",
                           "--learn", "--wavelet", "--levels", "--filters", "--filter-size", "--padding",
                           "--filter-init", "--free-mean", "--edge-eta"})
    if (app.get_option(name)->count() > 0)
      throw ConfigError(std::string(name) + " has no effect beside --model FILE; leave one of them out.");
}

void require_no_noise_level(const CLI::App& app) {
  if (app.get_option("--noisy")->count() > 0 && app.get_option("--sigma")->count() > 0)
    throw ConfigError("--sigma has no effect beside --noisy; leave one of them out.");
}

}  // namespace

Options parse(int argc, const char* const* argv) {
  CLI::App app(
      "Learns denoisers (total variation, fields of experts) from images and applies them, with certified "
      "accuracies.",
      "bilevel-denoise");
  TrainOptions train_options;
  ApplyOptions apply_options;
  EvaluateOptions evaluate_options;
  CheckOptions check_options;
  CLI::App* train = app.add_subcommand("train", "learn the parameters of a denoiser from clean images");
  CLI::App* apply = app.add_subcommand("apply", "denoise images with a learned model");
  CLI::App* evaluate = app.add_subcommand("evaluate", "PSNR and SSIM of a learned model on images");
  CLI::App* check = app.add_subcommand("check", "verify derivatives and error bounds on your own images");
  add_train(*train, train_options);
  add_apply(*apply, apply_options);
  add_evaluate(*evaluate, evaluate_options);
  add_check(*check, check_options);
  const ParsedCommand chosen =
      parse_command(app, argc, argv, "train, apply, evaluate or check",
                    "  bilevel-denoise train --data photos/ --sigma 0.1 --out run\n  bilevel-denoise apply "
                    "--help");
  if (chosen.command == nullptr) return {chosen.text};
  CLI::App& command = *chosen.command;
  const auto configure = [&command](auto& options) {
    if (!options.common.config.empty()) apply_config_file(command, options.common.config);
    if (command.get_option_no_throw("--noisy") != nullptr) require_no_noise_level(command);
  };
  const auto complete = [](auto& options) -> Options {
    finish(options);
    if constexpr (requires { options.data.seed; }) options.data.seed = options.common.seed;
    return {options};
  };
  if (&command == train) return configure(train_options), complete(train_options);
  if (&command == apply) return configure(apply_options), complete(apply_options);
  if (&command == evaluate) return configure(evaluate_options), complete(evaluate_options);
  configure(check_options);
  require_no_model_options(command, check_options);
  return complete(check_options);
}

}  // namespace bilevel_app::denoise
