#include "apps/denoise/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "bilevel/core/error.hpp"

namespace bilevel_app::denoise {

using bilevel::ConfigError;
using bilevel::option_text;

namespace {

/// A value option that shows its unit and default.
template <class T>
CLI::Option* add(CLI::App& app, const std::string& name, T& value, const std::string& text,
                 const std::string& type = "X") {
  return app.add_option(name, value, text)->type_name(type);
}

void add_model_options(CLI::App& app, ModelOptions& o, const char* type_option) {
  const char* group = "Model";
  add(app, type_option, o.type, "tv (isotropic) or tv-aniso (anisotropic smoothed total variation) [tv]",
      "NAME")
      ->group(group);
  add(app, "--potential", o.potential, "charbonnier or huber_c2 [charbonnier]", "NAME")->group(group);
  app.add_flag("--xi-inside-alpha", o.xi_inside_alpha,
               "alpha (R + xi/2 |x|^2) instead of alpha R + xi/2 |x|^2")
      ->group(group);
  add(app, "--learn", o.learn, "parameters to learn, of alpha, nu, xi; the others stay fixed [alpha,nu]",
      "NAMES")
      ->delimiter(',')
      ->group(group);
  add(app, "--init", o.init, "first value of a parameter, repeatable [alpha=0.05 nu=0.01 xi=0.001]",
      "NAME=VALUE")
      ->expected(1)
      ->take_all()
      ->group(group);
}

void add_data_options(CLI::App& app, DataOptions& o, bool crops) {
  const char* group = "Data";
  add(app, "--data", o.data, "clean images: folders or files (PNG, PGM, PPM, TIFF, .npy), used as luma",
      "PATH")
      ->group(group);
  add(app, "--noisy", o.noisy,
      "given noisy images, paired with the clean ones in sorted order, instead of added noise", "PATH")
      ->group(group);
  add(app, "--mask", o.mask,
      std::string("image whose pixels above 0.5 are measured, the others are filled in; of ") +
          (crops ? "the crops' size" : "the images' size"),
      "FILE")
      ->group(group);
}

void add_crop_options(CLI::App& app, DataOptions& o) {
  const std::string images = std::to_string(o.images), crop = std::to_string(o.crop);
  add(app, "--images", o.images,
      "number of crops: one of each file, more of each when the files are fewer [" + images + "]", "N")
      ->group("Data");
  add(app, "--crop", o.crop, "size of the square crops, pixels [" + crop + "]", "N")->group("Data");
}

void add_algorithm_options(CLI::App& app, TrainOptions& o) {
  const char* group = "Algorithm";
  bilevel::ScheduleOptions& s = o.upper.schedule;
  const auto number = [&](const char* name, auto& value, const std::string& text) {
    add(app, name, value, text + " [" + option_text(static_cast<double>(value)) + "]")->group(group);
  };
  add(app, "--algorithm", o.algorithm, "maid (adaptive accuracies) or fixed (fixed accuracies) [maid]",
      "NAME")
      ->group(group);
  number("--tolerance", s.tolerance, "stop when the certified norm of the gradient of the loss is below");
  number("--epsilon0", s.epsilon0, "first accuracy of the reconstructions, Euclidean distance");
  number("--delta0", s.delta0, "first accuracy of the linear systems, residual");
  number("--step0", s.step0, "first step of plain gradient steps");
  number("--rho", s.rho, "factor of the step after a rejected trial");
  number("--rho-up", s.rho_up, "factor of the step after an accepted one");
  number("--nu", s.nu, "factor of the accuracies in a refinement");
  number("--nu-up", s.nu_up, "factor of the accuracies after an accepted step");
  number("--eta", s.eta, "descent: error of the gradient at most (1 - eta) of its norm");
  number("--lambda", s.lambda, "sufficient decrease, below eta");
  add(app, "--max-backtracks", s.max_backtracks, "trials before the accuracies are refined [10]", "N")
      ->group(group);
  add(app, "--scaling", o.scaling, "none (plain gradient steps) or gauss-newton [gauss-newton]", "NAME")
      ->group(group);
  add(app, "--solver", o.upper.minimiser,
      "lower level: newton, fista, heavy-ball, gradient-descent or lbfgs [newton]", "NAME")
      ->group(group);
  add(app, "--linear-solver", o.upper.linear_solver,
      "linear systems: pcg, cg, gradient-descent or heavy-ball [pcg]", "NAME")
      ->group(group);
  number("--condition-penalty", o.condition_penalty, "weight beta of the penalty beta (L/mu)^2");
}

void add_train(CLI::App& app, TrainOptions& o) {
  o.upper.schedule.tolerance = 1e-3;
  add_data_options(app, o.data, true);
  add(app, "--sigma", o.data.sigma, "standard deviation of the added noise, intensities being 0 to 1 [0.1]")
      ->group("Data");
  add_crop_options(app, o.data);
  add_model_options(app, o.model, "--model");
  const char* group = "Run";
  add(app, "--out", o.out,
      "folder of the run: model.json, log.jsonl, summary.json, images/, convergence.svg, checkpoint/",
      "RUN_DIR")
      ->group(group);
  app.add_flag("--resume", o.resume, "go on with the run in --out, with the same bits as without the break")
      ->group(group);
  add(app, "--max-iterations", o.upper.max_iterations, "upper iterations at most [200]", "K")->group(group);
  add(app, "--time-limit", o.upper.time_limit, "stop after this time [none]", "SECONDS")->group(group);
  add(app, "--budget", o.budget, "stop after this work, in operator applications to one image [none]", "N")
      ->group(group);
  app.add_flag("--log10", o.log10, "also show the parameters as log10")->group(group);
  add_algorithm_options(app, o);
  add_common_options(app, o.common, true);
  app.footer(
      "Example:\n  bilevel-denoise train --data photos/ --model tv-aniso --sigma 0.1 --images 25 --crop 96 "
      "--out run\n"
      "Stopping: Ctrl-C keeps the last finished iteration (exit code 130); go on with the same command and "
      "--resume.");
}

void add_model_file(CLI::App& app, std::string& model) {
  add(app, "--model", model, "model.json of a training run", "FILE")->group("Model");
}

void add_accuracy(CLI::App& app, double& tolerance, std::string& solver) {
  add(app, "--tolerance", tolerance,
      "certified distance to the exact minimiser, root mean square per pixel, intensities being 0 to 1 "
      "[0.001]")
      ->group("Accuracy");
  add(app, "--solver", solver, "newton, fista, heavy-ball, gradient-descent or lbfgs [newton]", "NAME")
      ->group("Accuracy");
}

void add_apply(CLI::App& app, ApplyOptions& o) {
  add_model_file(app, o.model);
  const char* group = "Images";
  add(app, "--input", o.input, "noisy images of any size: files or folders", "IMAGE")->group(group);
  add(app, "--output", o.output, "image file, or a folder for several inputs (names are kept)", "IMAGE|DIR")
      ->group(group);
  app.add_flag("--luma", o.luma, "denoise the luma and write a grey image [each channel by itself]")
      ->group(group);
  add(app, "--bits", o.bits, "bits per sample of the output: 8, 16, or 32 for TIFF [as the input]", "N")
      ->group(group);
  add(app, "--mask", o.mask, "image whose pixels above 0.5 are measured, the others are filled in", "FILE")
      ->group(group);
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
  add(app, "--sigma", o.sigma,
      "standard deviation of the added noise, intensities being 0 to 1 [that of the training]")
      ->group("Data");
  add(app, "--images", o.data.images, "only the first N files [all]", "N")->group("Data");
  add(app, "--crop", o.data.crop, "only the centre crop of N x N pixels [whole images]", "N")->group("Data");
  add(app, "--save", o.save, "folder for K-NAME-noisy.png and K-NAME-denoised.png of image K [not kept]",
      "DIR")
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
  add(app, "--sigma", o.data.sigma, "standard deviation of the added noise, intensities being 0 to 1 [0.1]")
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

void require_positive(double value, const char* option) {
  if (!(value > 0) || !std::isfinite(value))
    throw ConfigError(std::string(option) + " " + option_text(value) + ": use a positive number.");
}

void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> known) {
  std::string list;
  for (const char* k : known) {
    if (value == k) return;
    list += (list.empty() ? "" : ", ") + std::string(k);
  }
  throw ConfigError(std::string(option) + " " + value + ": unknown; known are " + list + ".");
}

constexpr std::initializer_list<const char*> kSolvers = {"newton", "fista", "heavy-ball", "gradient-descent",
                                                         "lbfgs"};

void finish(TrainOptions& o) {
  require(!o.data.data.empty(), "train", "--data PATH");
  require(!o.out.empty(), "train", "--out RUN_DIR");
  validate(o.common);
  validate(o.data);
  static_cast<void>(o.model.parameters());
  require_one_of(o.algorithm, "--algorithm", {"maid", "fixed"});
  require_one_of(o.scaling, "--scaling", {"none", "gauss-newton"});
  require_one_of(o.upper.minimiser, "--solver", kSolvers);
  require_one_of(o.upper.linear_solver, "--linear-solver", {"pcg", "cg", "gradient-descent", "heavy-ball"});
  if (o.upper.max_iterations < 1)
    throw ConfigError("--max-iterations " + std::to_string(o.upper.max_iterations) + ": use at least 1.");
  if (!(o.upper.time_limit >= 0) || !std::isfinite(o.upper.time_limit))
    throw ConfigError("--time-limit " + option_text(o.upper.time_limit) +
                      ": use a positive number of seconds.");
  if (o.budget < 0) throw ConfigError("--budget " + std::to_string(o.budget) + ": use a number >= 1.");
  o.upper.budget = static_cast<std::uint64_t>(o.budget);
  if (!(o.condition_penalty >= 0) || !std::isfinite(o.condition_penalty))
    throw ConfigError("--condition-penalty " + option_text(o.condition_penalty) + ": use a number >= 0.");
  require_positive(o.upper.schedule.tolerance, "--tolerance");
  o.upper.schedule.fixed_accuracy = o.algorithm == "fixed";
  o.upper.scaling = o.scaling == "none" ? bilevel::StepScaling::none : bilevel::StepScaling::gauss_newton;
  static_cast<void>(bilevel::make_maid<double>(o.upper));  // checks the numbers of the algorithm
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
  static_cast<void>(o.untrained.parameters());
}

/// Without the double empty lines that CLI11 leaves between groups.
std::string tidy(std::string text) {
  for (std::size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
  return text;
}

/// Options of the model that a model file fixes may not stand beside --model.
void require_no_model_options(const CLI::App& app, const CheckOptions& o) {
  if (o.model.empty()) return;
  for (const char* name : {"--model-type", "--potential", "--xi-inside-alpha", "--init", "--learn"})
    if (app.get_option(name)->count() > 0)
      throw ConfigError(std::string(name) + " has no effect beside --model FILE; leave one of them out.");
}

void require_no_noise_level(const CLI::App& app) {
  if (app.get_option("--noisy")->count() > 0 && app.get_option("--sigma")->count() > 0)
    throw ConfigError("--sigma has no effect beside --noisy; leave one of them out.");
}

}  // namespace

bilevel::TvOptions ModelOptions::tv() const {
  if (type != "tv" && type != "tv-aniso")
    throw ConfigError("model '" + type + "' is unknown; known are tv and tv-aniso.");
  return {bilevel::potential_from(potential), type == "tv", xi_inside_alpha};
}

bilevel::Parameters ModelOptions::parameters() const {
  static_cast<void>(tv());
  std::vector<bilevel::Segment> segments = bilevel::tv_parameters().segments();
  const auto find = [&segments](const std::string& name, const char* option) -> bilevel::Segment& {
    for (bilevel::Segment& s : segments)
      if (s.name == name) return s;
    throw ConfigError(std::string(option) + " " + name + ": the model has the parameters alpha, nu and xi.");
  };
  for (bilevel::Segment& s : segments) s.learned = false;
  for (const std::string& name : learn) find(name, "--learn").learned = true;
  for (const std::string& text : init) {
    const std::size_t equals = text.find('=');
    double value = 0;
    const char* end = text.data() + text.size();
    if (equals == std::string::npos)
      throw ConfigError("--init " + text + ": write NAME=VALUE, for example alpha=0.05.");
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, value);
    if (error != std::errc() || stop != end || !std::isfinite(value))
      throw ConfigError("--init " + text + ": the value is no number.");
    bilevel::Segment& s = find(text.substr(0, equals), "--init");
    if (value < s.lower || value > s.upper)
      throw ConfigError("--init " + text + ": the value must be between " + option_text(s.lower) + " and " +
                        option_text(s.upper) + ".");
    s.initial = value;
  }
  return bilevel::Parameters(segments);
}

Options parse(int argc, const char* const* argv) {
  CLI::App app("Learns total-variation denoisers from images and applies them, with certified accuracies.",
               "bilevel-denoise");
  bool version = false;
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
  for (CLI::App* a : {&app, train, apply, evaluate, check}) {
    a->set_help_flag("-h,--help", "this text");
    a->add_flag("--version", version, "version of the library, back ends built in, device found");
  }
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 input data, 4 numerical failure, 5 device, 130 interrupted.\n"
      "Example:\n  bilevel-denoise train --data photos/ --sigma 0.1 --out run\n  bilevel-denoise apply "
      "--help");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    return {tidy(chosen.empty() ? app.help() : chosen.front()->help("bilevel-denoise"))};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(std::string(error.what()) + " (see bilevel-denoise --help).");
  }
  if (version) return {version_text()};
  const auto chosen = app.get_subcommands();
  if (chosen.size() != 1)
    throw ConfigError("one command is needed: train, apply, evaluate or check (see bilevel-denoise --help).");
  CLI::App& command = *chosen.front();
  const auto configure = [&command](auto& options) {
    if (!options.common.config.empty()) apply_config_file(command, options.common.config);
    if (command.get_option_no_throw("--noisy") != nullptr) require_no_noise_level(command);
  };
  const auto complete = [](auto& options) -> Options {
    finish(options);
    if constexpr (requires { options.data.seed; })
      options.data.seed = static_cast<std::uint64_t>(options.common.seed);
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
