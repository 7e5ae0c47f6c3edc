#include "apps/mri/options.hpp"

#include <algorithm>
#include <cmath>

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/regulariser_text.hpp"
#include "apps/mri/mask_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::mri {

using bilevel::ConfigError;
using bilevel::option_text;

namespace {

constexpr int usual_iterations = 200;
constexpr const char* kRunFiles =
    "model.json, log.jsonl, summary.json, images/ (mask.png, mask.npy, s.png, strips), convergence.svg, "
    "checkpoint/";

void add_data_options(CLI::App& app, DataOptions& o, const char* size, const std::string& sigma) {
  const char* group = "Data";
  add_value(
      app, "--data", o.data,
      "NIfTI volumes; images (PNG, JPEG, PGM, PPM, TIFF, .npy real or complex, also stacks); or k-space "
      "(fastMRI or ISMRMRD HDF5, BART .cfl; not .npy); files, or folders of one kind",
      "PATH")
      ->group(group);
  add_value(app, "--slices", o.slices, "slices A, A+STEP, ... below B [all]", "A:B:STEP")->group(group);
  add_value(app, "--frame", o.frame, "volume of 4-D files (time, direction, component) [0]", "K")
      ->group(group);
  add_value(app, "--axis", o.axis, "slices of a volume: axial, coronal or sagittal [axial]", "NAME")
      ->group(group);
  add_value(app, "--crop-to", o.crop_to,
            "the middle of the images, before --size: N x N or ROWSxCOLUMNS pixels, or recon, the size that "
            "the file of "
            "k-space says is reconstructed (fastMRI, ISMRMRD) [all of them]",
            "SIZE")
      ->group(group);
  add_value(
      app, "--size", o.size,
      std::string("images of N x N pixels: real ones are cut to the square around the head and averaged "
                  "over areas, complex ones and k-space keep the centre of k-space; small ones are "
                  "surrounded by zeros [") +
          size + "]",
      "N")
      ->group(group);
  add_value(app, "--sensitivities", o.sensitivities,
            "sensitivity maps of the coils (BART .cfl or complex .npy) [one coil; k-space of several coils "
            "becomes its root of the sum of squares]",
            "FILE")
      ->group(group);
  add_value(
      app, "--sigma", o.sigma,
      ("standard deviation of the complex noise added to every sample of k-space, sigma/sqrt(2) in real "
       "and imaginary part, the largest magnitude being 1 [" +
       sigma + "]")
          .c_str())
      ->group(group);
}

void add_model_options(CLI::App& app, ModelOptions& o, const char* weight) {
  const char* group = "Model";
  add_value(app, "--regulariser", o.regulariser,
            bilevel::regulariser_choice() + ", or a sum of them, such as tv+tv2 [tv]", "NAME")
      ->group(group);
  add_value(app, "--experts", o.experts,
            "foe: model.json of a run of bilevel-denoise, whose filters, weights and smoothings stay, times "
            "alpha; of complex images on real and imaginary part alike",
            "FILE")
      ->group(group);
  add_value(app, "--potential", o.potential,
            "smoothing: charbonnier or huber_c2; not of " + quadratic_names() + " [charbonnier]", "NAME")
      ->group(group);
  add_value(
      app, "--weight", o.weight,
      std::string(weight) + ", of a sum one for each part, of tgv2 alpha1,alpha0, separated by commas [" +
          option_text(ModelOptions::usual_weight) + ", alpha0 " + option_text(ModelOptions::usual_alpha0) +
          ", foe 0.07 where its experts were learned at noise 0.1, in inverse proportion]")
      ->delimiter(',')
      ->expected(1, 4)
      ->group(group);
  add_wavelet_options(app, o, group);
  add_edge_eta(app, o.eta)->group(group);
  add_value(app, "--nu", o.nu,
            "smoothing, where there is a potential [" + option_text(ModelOptions::usual_nu) + ", tgv2 " +
                option_text(ModelOptions::usual_tgv_nu) + "]")
      ->group(group);
  add_value(app, "--xi", o.xi, "weight of |x|^2/2, of tgv2 also of |v|^2/2 [" + option_text(o.xi) + "]")
      ->group(group);
}

void add_algorithm_options(CLI::App& app, AlgorithmOptions& o, bool pattern) {
  const char* group = "Algorithm";
  if (pattern) add_method_options(app, o.method, "for the pattern: ");
  add_schedule_options(app, o.upper.schedule, "--nu-down");
  add_value(app, "--solver", o.solver,
            "lower level: newton, fista, fista-restart, pdhg, heavy-ball, gradient-descent or lbfgs [newton]",
            "NAME")
      ->group(group);
  add_value(app, "--linear-solver", o.linear_solver,
            "linear systems: pcg, cg, gradient-descent or heavy-ball [pcg]", "NAME")
      ->group(group);
  add_value(app, "--accuracy", o.accuracy,
            "certified accuracy of the reconstructions that are reported, root mean square per pixel [" +
                option_text(o.accuracy) + "]")
      ->group(group);
}

void add_training_options(CLI::App& app, TrainingOptions& o, const char* usual, bool pattern) {
  o.algorithm.upper.schedule.tolerance = 1e-6;
  o.algorithm.upper.min_progress = 1e-3;
  add_data_options(app, o.data, "as they are", "images: 0.02, k-space: 0");
  add_value(app, "--image", o.data.image, "unknown images: complex or real [complex]", "NAME")->group("Data");
  add_value(app, "--test-slices", o.test_slices,
            "held-out slices, of --test-data or else of --data, with noise of seed N + 1", "A:B:STEP")
      ->group("Data");
  add_value(app, "--test-data", o.test_data, "held-out data, reconstructed at the end", "PATH")
      ->group("Data");
  add_reference(app, o.reference)->group("Data");
  add_model_options(app, o.model, "weight alpha that learning starts from");
  add_run_folder_options(app, o.run, kRunFiles);
  add_limit_options(app, o.run, o.algorithm.upper, usual);
  add_algorithm_options(app, o.algorithm, pattern);
  add_common_options(app, o.common, true);
}

void add_learn(CLI::App& app, LearnOptions& o) {
  const char* group = "Pattern";
  add_value(app, "--pattern", o.pattern,
            "free (every frequency), symmetric (conjugate pairs), lines (rows), columns, or radial [free]",
            "NAME")
      ->group(group);
  add_value(app, "--spokes", o.spokes, "radial: candidate spokes [64]", "N")->group(group);
  add_value(app, "--map", o.map, "weight of a frequency: direct s^2, rational s/(1-s), or linear s [direct]",
            "NAME")
      ->group(group);
  add_value(app, "--penalty", o.penalty,
            "B1 sum s + B2 sum s(1-s); larger ones keep fewer samples; with --rate where the search starts",
            "B1[,B2]")
      ->group(group)
      ->delimiter(',')
      ->expected(1, 2);
  add_value(app, "--rate", o.rate,
            "keep this fraction of k-space: the penalty is searched for, the largest s are kept", "R")
      ->group(group);
  add_value(app, "--rate-runs", o.rate_runs, "penalties tried at most for --rate [3]", "N")->group(group);
  app.add_flag("--exchange,!--no-exchange", o.exchange,
               "improve the binary pattern by exchanging samples at its rate [yes]")
      ->group(group);
  add_value(
      app, "--starts", o.starts,
      "patterns that exchanges start from: the learned one, then draws of variable density, of which the "
      "best result is kept [lines, columns and radial: 4, else 1]",
      "N")
      ->group(group);
  app.add_flag("--learn-weight,!--no-learn-weight", o.learn_weight, "learn alpha too [yes]")->group(group);
  add_training_options(app, o, "200 for each penalty", true);
  app.footer(
      "Stages: alpha at full sampling; pattern and alpha from s = 1; s made 0 or 1 (above 0.5, or --rate); "
      "samples exchanged while that lowers the loss; alpha for that mask. Limits end the learning of the "
      "pattern; the rest is still done.\n"
      "Example:\n  bilevel-mri learn --data ch2.nii.gz --slices 60:100:5 --test-slices 62:100:5 --size 128 "
      "--rate 0.35 --out run\n"
      "Stopping: Ctrl-C keeps the last finished iteration (exit code 130); go on with the same command and "
      "--resume.");
}

void add_baseline(CLI::App& app, BaselineOptions& o) {
  const char* group = "Pattern";
  add_value(app, "--pattern", o.pattern,
            "uniform (random), vds (variable density), lowpass (disc), largest (coefficients of the training "
            "images); one of these of lines (rows) or columns: lines-uniform, columns-vds, ...; greedy (see "
            "--groups); or given, that of another run (see --from) [vds]",
            "NAME")
      ->group(group);
  add_value(app, "--from", o.from, "given: folder of a run of learn or baseline whose pattern is taken",
            "RUN_DIR")
      ->group(group);
  add_value(app, "--rate", o.rate, "fraction of k-space that is kept; not of a given pattern [0.3]", "R")
      ->group(group);
  add_value(app, "--groups", o.groups,
            "greedy: what is added one at a time, rows (lines), columns, radial, symmetric or free [rows]",
            "NAME")
      ->group(group);
  add_value(app, "--spokes", o.spokes, "greedy radial: candidate spokes [64]", "N")->group(group);
  add_value(app, "--draws", o.draws,
            "vds: random patterns drawn, of which the one with the smallest side lobe is kept [100]", "N")
      ->group(group);
  add_value(app, "--power", o.power,
            "vds: density (1 - r)^P outside of the disc [the smallest that reaches "
            "the rate]",
            "P")
      ->group(group);
  add_value(app, "--radius", o.radius, "vds: radius of the fully sampled disc, of 1 [0.1]", "R")
      ->group(group);
  add_training_options(app, o, "50", false);
  app.footer(
      "alpha is tuned for the pattern on the training data. The run folder is that of learn.\n"
      "Example:\n  bilevel-mri baseline --pattern largest --rate 0.35 --data ch2.nii.gz --slices 60:100:5 "
      "--size 128 --out largest");
}

void add_reconstruct(CLI::App& app, ReconstructOptions& o) {
  const char* group = "Data";
  add_value(app, "--kspace", o.kspace, "fastMRI or ISMRMRD HDF5, BART .cfl, or complex .npy", "PATH")
      ->group(group);
  add_value(app, "--slice", o.slice, "slice of k-space by its number in the file [the first]", "K")
      ->group(group);
  add_value(app, "--mask", o.mask,
            "frequencies that are used, above 0.5: .npy [H,W], [W] for columns, or as fastMRI, SigPy and "
            "deepinv shape "
            "it; BART .cfl; or an image [those that were measured]",
            "FILE")
      ->group(group);
  add_value(app, "--mask-centre", o.mask_centre,
            "where the mask has zero frequency: middle, index floor(n/2), or first, [0,0] [middle; mask.npy "
            "of a run: "
            "as the run wrote it]",
            "NAME")
      ->group(group);
  add_value(app, "--run", o.run, "mask, weight and model of this run instead", "RUN_DIR")->group(group);
  add_value(app, "--sensitivities", o.sensitivities, "sensitivity maps of the coils", "FILE")->group(group);
  add_value(app, "--scale", o.scale,
            "magnitude that counts as 1 [the largest of the zero-filled reconstruction]")
      ->group(group);
  add_value(app, "--output", o.output, ".npy: complex image; .png: its magnitude, the largest white", "IMAGE")
      ->group(group);
  add_reference(app, o.reference)->group(group);
  add_model_options(app, o.model, "weight alpha of the regulariser");
  add_value(app, "--tolerance", o.tolerance,
            "certified distance to the exact minimiser, root mean square per pixel, relative to --scale "
            "[0.0001]")
      ->group("Accuracy");
  add_value(app, "--solver", o.solver,
            "newton, fista, fista-restart, pdhg, heavy-ball, gradient-descent or lbfgs [newton]", "NAME")
      ->group("Accuracy");
  add_common_options(app, o.common, false);
  app.footer(
      "Example:\n  bilevel-mri reconstruct --kspace scan.h5 --run run --output image.png\n"
      "  bilevel-mri reconstruct --kspace scan.cfl --sensitivities maps.cfl --mask mask.png --weight 0.002 "
      "--output image.npy");
}

void add_evaluate(CLI::App& app, EvaluateOptions& o) {
  add_value(app, "--run", o.runs, "runs of learn and baseline", "RUN_DIR")->group("Model");
  add_data_options(app, o.data, "that of the runs", "that of the runs");
  add_reference(app, o.reference)->group("Data");
  add_value(app, "--save", o.save,
            "folder for K-RUN.png of slice K (RUN: name of its folder, with the one above where two are "
            "equal): truth, zero-filled, reconstruction, error x 10 [not kept]",
            "DIR")
      ->group("Data");
  add_value(app, "--tolerance", o.tolerance,
            "certified distance to the exact minimiser, root mean square per pixel [0.001]")
      ->group("Accuracy");
  add_value(app, "--solver", o.solver,
            "newton, fista, fista-restart, pdhg, heavy-ball, gradient-descent or lbfgs [newton]", "NAME")
      ->group("Accuracy");
  add_common_options(app, o.common, true);
  app.footer(
      "Example:\n  bilevel-mri evaluate --run learned largest vds --data ch2.nii.gz --slices 62:100:5");
}

void require(bool given, const char* command, const char* what) {
  if (!given)
    throw ConfigError(std::string(command) + " needs " + what + " (see bilevel-mri " + command + " --help).");
}

void require_rate(double rate) {
  if (!(rate > 0 && rate <= 1))
    throw ConfigError("--rate " + option_text(rate) + ": use a fraction above 0 and at most 1.");
}

void require_solver(const std::string& solver) {
  require_one_of(solver, "--solver",
                 {"newton", "fista", "fista-restart", "pdhg", "heavy-ball", "gradient-descent", "lbfgs"});
}

void require_solver(const std::string& solver, const ModelOptions& model) {
  require_solver(solver);
  const bilevel::RegulariserSum sum = model.regularisers();
  if (solver == "pdhg" &&
      (sum.parts.size() > 1 || !std::holds_alternative<bilevel::TvOptions>(sum.parts.front())))
    throw ConfigError(
        "--solver pdhg is for a single --regulariser of differences, such as tv; use another solver.");
}

void finish(TrainingOptions& o, const char* command, int iterations) {
  require(!o.data.data.empty(), command, "--data PATH");
  require(!o.run.out.empty(), command, "--out RUN_DIR");
  validate(o.common);
  o.data.seed = o.common.seed;
  validate(o.data);
  validate_slices(o.test_slices, "--test-slices");
  if (!o.test_slices.empty() && o.test_data.empty()) o.test_data = o.data.data;
  validate(o.model);
  require_reference(o.model.regularisers(), o.reference);
  validate(o.run, o.algorithm.upper);
  AlgorithmOptions& a = o.algorithm;
  require_solver(a.solver, o.model);
  require_one_of(a.linear_solver, "--linear-solver", {"pcg", "cg", "gradient-descent", "heavy-ball"});
  require_positive(a.accuracy, "--accuracy");
  require_positive(a.upper.schedule.tolerance, "--tolerance");
  a.upper.minimiser = in_precision(a.solver, o.common.precision);
  a.upper.linear_solver = in_precision(a.linear_solver, o.common.precision);
  a.upper.max_iterations = o.run.max_iterations.value_or(iterations);
  a.upper.budget = static_cast<std::uint64_t>(o.run.budget);
  validate(a.method, a.upper);
}

void finish(LearnOptions& o) {
  finish(o, "learn", usual_iterations);
  static_cast<void>(bilevel::pattern_from(o.pattern));
  require_one_of(o.map, "--map", {"direct", "rational", "linear"});
  if (o.spokes < 1 || o.spokes > 8192)
    throw ConfigError("--spokes " + std::to_string(o.spokes) + ": use 1 to 8192.");
  if (o.map == "rational" && o.pattern == "radial")
    throw ConfigError("--map rational: radial spokes overlap, which only the direct map can add up.");
  for (const double b : o.penalty)
    if (!(b >= 0) || !std::isfinite(b))
      throw ConfigError("--penalty " + option_text(b) + ": penalties must not be negative.");
  if (o.rate) require_rate(*o.rate);
  if (o.rate && !o.penalty.empty() && o.penalty[0] == 0)
    throw ConfigError("--penalty 0: with --rate the search starts from a positive number.");
  require(o.rate || !o.penalty.empty(), "learn", "--penalty B1[,B2] or --rate R");
  if (o.starts < 0) throw ConfigError("--starts " + std::to_string(o.starts) + ": use 1 or more.");
  if (o.rate_runs < 1) throw ConfigError("--rate-runs " + std::to_string(o.rate_runs) + ": use at least 1.");
}

void finish(BaselineOptions& o) {
  finish(o, "baseline", 50);
  require_one_of(
      o.pattern, "--pattern",
      {"uniform", "vds", "lowpass", "largest", "lines-uniform", "lines-vds", "lines-lowpass", "lines-largest",
       "columns-uniform", "columns-vds", "columns-lowpass", "columns-largest", "greedy", "given"});
  require(o.pattern != "given" || !o.from.empty(), "baseline --pattern given", "--from RUN_DIR");
  static_cast<void>(bilevel::pattern_from(o.groups));
  require_rate(o.rate);
  if (o.draws < 1 || o.draws > 100000)
    throw ConfigError("--draws " + std::to_string(o.draws) + ": use 1 to 100000.");
  if (o.spokes < 1 || o.spokes > 8192)
    throw ConfigError("--spokes " + std::to_string(o.spokes) + ": use 1 to 8192.");
  if (!(o.power >= 0) || !std::isfinite(o.power))
    throw ConfigError("--power " + option_text(o.power) + ": use a positive number.");
  if (o.radius > 1 || std::isnan(o.radius))
    throw ConfigError("--radius " + option_text(o.radius) + ": use a number from 0 to 1.");
}

void finish(ReconstructOptions& o) {
  require(!o.kspace.empty(), "reconstruct", "--kspace PATH");
  require(!o.output.empty(), "reconstruct", "--output IMAGE");
  validate(o.common);
  if (o.run.empty()) {
    validate(o.model);
    require_reference(o.model.regularisers(), o.reference);
  }
  if (!o.run.empty() && !o.mask.empty()) throw ConfigError("--run brings its mask; leave out --mask.");
  static_cast<void>(mask_centre_from(o.mask_centre));
  if (!o.mask_centre.empty() && o.mask.empty()) throw ConfigError("--mask-centre needs --mask FILE.");
  if (o.slice && *o.slice < 0)
    throw ConfigError("--slice " + std::to_string(*o.slice) + ": slices count from 0.");
  if (o.scale) require_positive(*o.scale, "--scale");
  require_positive(o.tolerance, "--tolerance");
  o.run.empty() ? require_solver(o.solver, o.model) : require_solver(o.solver);
}

void finish(EvaluateOptions& o) {
  require(!o.runs.empty(), "evaluate", "--run RUN_DIR");
  require(!o.data.data.empty(), "evaluate", "--data PATH");
  validate(o.common);
  o.data.seed = o.common.seed;
  validate(o.data);
  require_positive(o.tolerance, "--tolerance");
  require_solver(o.solver);
}

/// Options of the model that a run brings may not stand beside --run.
void require_no_model_options(const CLI::App& app, const ReconstructOptions& o) {
  if (o.run.empty()) return;
  for (const char* name : {"--regulariser", "--experts", "--potential", "--wavelet", "--levels", "--edge-eta",
                           "--weight", "--nu", "--xi"})
    if (app.get_option(name)->count() > 0)
      throw ConfigError(std::string("--run brings the model; leave out ") + name + ".");
}

/// Throws ConfigError for an option that was given and has no effect.
void require_unused(const CLI::App& app, bool useful, std::initializer_list<const char*> options,
                    const char* purpose) {
  if (useful) return;
  for (const char* name : options)
    if (app.get_option(name)->count() > 0)
      throw ConfigError(std::string(name) + " is for " + purpose + "; leave it out.");
}

void require_no_idle_options(const CLI::App& app, const ModelOptions& o) {
  require_unused(app, !o.quadratic(), {"--potential", "--nu"}, "regularisers with a smoothing (tv, tv2)");
}

void require_no_idle_options(const CLI::App& app, const LearnOptions& o) {
  require_no_idle_options(app, o.model);
  require_unused(app, o.pattern == "radial", {"--spokes"}, "--pattern radial");
  require_unused(app, o.rate.has_value(), {"--rate-runs"}, "--rate");
  require_unused(app, o.exchange, {"--starts"}, "exchanges of samples");
}

void require_no_idle_options(const CLI::App& app, const BaselineOptions& o) {
  require_no_idle_options(app, o.model);
  const bool greedy = o.pattern == "greedy";
  require_unused(app, greedy, {"--groups"}, "--pattern greedy");
  require_unused(app, o.pattern == "given", {"--from"}, "--pattern given");
  require_unused(app, o.pattern != "given", {"--rate"}, "patterns that are not given");
  require_unused(app, greedy && o.groups == "radial", {"--spokes"}, "--pattern greedy --groups radial");
  require_unused(app, o.pattern.ends_with("vds"), {"--draws", "--power", "--radius"},
                 "patterns of variable density (vds)");
}

}  // namespace

Options parse(int argc, const char* const* argv) {
  CLI::App app(
      "Learns which samples of k-space to take, with the weight of the reconstruction, and compares with the "
      "usual patterns; certified accuracies.",
      "bilevel-mri");
  LearnOptions learn_options;
  BaselineOptions baseline_options;
  ReconstructOptions reconstruct_options;
  EvaluateOptions evaluate_options;
  CLI::App* learn = app.add_subcommand("learn", "learn a sampling pattern and the weight from images");
  CLI::App* baseline = app.add_subcommand("baseline", "a usual pattern, with its weight tuned");
  CLI::App* reconstruct = app.add_subcommand("reconstruct", "an image from undersampled k-space");
  CLI::App* evaluate = app.add_subcommand("evaluate", "PSNR and SSIM of several runs side by side");
  add_learn(*learn, learn_options);
  add_baseline(*baseline, baseline_options);
  add_reconstruct(*reconstruct, reconstruct_options);
  add_evaluate(*evaluate, evaluate_options);
  const ParsedCommand chosen = parse_command(
      app, argc, argv, "learn, baseline, reconstruct or evaluate",
      "  bilevel-mri learn --data ch2.nii.gz --slices 60:100:5 --size 128 --rate 0.35 --out run\n"
      "  bilevel-mri baseline --help");
  if (chosen.command == nullptr) return {chosen.text};
  CLI::App& command = *chosen.command;
  const auto complete = [&command](auto& options) -> Options {
    if (!options.common.config.empty()) apply_config_file(command, options.common.config);
    finish(options);
    return {options};
  };
  if (&command == learn) {
    const Options options = complete(learn_options);
    require_no_idle_options(command, learn_options);
    return options;
  }
  if (&command == baseline) {
    const Options options = complete(baseline_options);
    require_no_idle_options(command, baseline_options);
    return options;
  }
  if (&command == evaluate) return complete(evaluate_options);
  const Options options = complete(reconstruct_options);
  require_no_model_options(command, reconstruct_options);
  require_no_idle_options(command, reconstruct_options.model);
  return options;
}

}  // namespace bilevel_app::mri
