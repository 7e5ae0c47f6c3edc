#include "apps/common/upper_options.hpp"

#include <cmath>

#include "apps/common/add_option.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app {

using bilevel::ConfigError;
using bilevel::option_text;

void add_run_folder_options(CLI::App& app, RunOptions& run, const char* files) {
  const char* group = "Run";
  add_value(app, "--out", run.out, std::string("folder of the run: ") + files, "RUN_DIR")->group(group);
  app.add_flag("--resume", run.resume, "go on with the run in --out, with the same bits as without the break")
      ->group(group);
}

void add_limit_options(CLI::App& app, RunOptions& run, bilevel::UpperOptions& upper, const char* usual) {
  const char* group = "Run";
  add_value(app, "--max-iterations", run.max_iterations,
            std::string("upper iterations at most [") + usual + "]", "K")
      ->group(group);
  add_value(app, "--min-progress", upper.min_progress,
            "stop when the loss falls by less than this fraction in 20 iterations [" +
                (upper.min_progress > 0 ? option_text(upper.min_progress) : std::string("never")) + "]")
      ->group(group);
  add_value(app, "--time-limit", upper.time_limit, "stop after this time, 0: no limit [0]", "SECONDS")
      ->group(group);
  add_value(app, "--budget", run.budget,
            "stop after so many operator applications to one image, 0: no limit [0]", "N")
      ->group(group);
}

void add_schedule_options(CLI::App& app, bilevel::ScheduleOptions& s, const char* refinement) {
  const char* group = "Algorithm";
  const auto number = [&](const char* name, double& value, const std::string& text) {
    add_value(app, name, value, text + " [" + option_text(value) + "]")->group(group);
  };
  number("--tolerance", s.tolerance, "stop when the certified norm of the gradient of the loss is below");
  number("--epsilon0", s.epsilon0, "first accuracy of the reconstructions, Euclidean distance");
  number("--delta0", s.delta0, "first accuracy of the linear systems, residual");
  number("--step0", s.step0, "first step of plain gradient steps");
  number("--rho", s.rho, "factor of the step after a rejected trial");
  number("--rho-up", s.rho_up, "factor of the step after an accepted one");
  number(refinement, s.nu, "factor of the accuracies in a refinement");
  number("--nu-up", s.nu_up, "factor of the accuracies after an accepted step");
  number("--eta", s.eta, "descent: error of the gradient at most (1 - eta) of its norm");
  number("--lambda", s.lambda, "sufficient decrease, below eta");
  add_value(app, "--non-monotone", s.non_monotone,
            "maid: weight of earlier losses in the decrease asked for (Zhang and Hager), 0: none [0]")
      ->group(group);
  add_value(app, "--max-backtracks", s.max_backtracks, "trials before the accuracies are refined [10]", "N")
      ->group(group);
}

void validate(const RunOptions& run, const bilevel::UpperOptions& upper) {
  if (run.max_iterations && *run.max_iterations < 1)
    throw ConfigError("--max-iterations " + std::to_string(*run.max_iterations) + ": use at least 1.");
  if (!(upper.time_limit >= 0) || !std::isfinite(upper.time_limit))
    throw ConfigError("--time-limit " + option_text(upper.time_limit) +
                      ": use a number of seconds, 0 being no limit.");
  if (run.budget < 0)
    throw ConfigError("--budget " + std::to_string(run.budget) + ": use a number >= 0, 0 being no limit.");
}

void append_deciding(std::vector<bilevel::NamedOption>& list, const bilevel::ScheduleOptions& s,
                     const char* refinement) {
  list.insert(list.end(), {{"tolerance", s.tolerance},
                           {"epsilon0", s.epsilon0},
                           {"delta0", s.delta0},
                           {"step0", s.step0},
                           {"rho", s.rho},
                           {"rho-up", s.rho_up},
                           {refinement, s.nu},
                           {"nu-up", s.nu_up},
                           {"eta", s.eta},
                           {"lambda", s.lambda},
                           {"max-backtracks", static_cast<std::int64_t>(s.max_backtracks)}});
  if (s.non_monotone > 0) list.emplace_back("non-monotone", s.non_monotone);
}

std::string in_precision(const std::string& solver, const std::string& precision) {
  return precision == "mixed" ? "mixed:" + solver : solver;
}

}  // namespace bilevel_app
