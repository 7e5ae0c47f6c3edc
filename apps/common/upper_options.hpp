#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/learn/upper_optimiser.hpp"
#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app {

/// Where a run is kept and when it ends.
struct RunOptions {
  std::string out;
  bool resume = false;
  std::optional<int> max_iterations;  ///< empty: the command's choice
  std::int64_t budget = 0;            ///< operator applications; 0: none
};

/// Adds --out (a folder of `files`) and --resume.
void add_run_folder_options(CLI::App& app, RunOptions& run, const char* files);
/// Adds --max-iterations (`usual`: its default, for the help), --min-progress, --time-limit and --budget.
void add_limit_options(CLI::App& app, RunOptions& run, bilevel::UpperOptions& upper, const char* usual);
/// Adds --tolerance, --epsilon0 ... --max-backtracks; `refinement` names the option of ScheduleOptions::nu.
void add_schedule_options(CLI::App& app, bilevel::ScheduleOptions& schedule, const char* refinement);

/// Throws ConfigError for limits outside their range.
void validate(const RunOptions& run, const bilevel::UpperOptions& upper);

/// Appends the numbers of the schedule under the names of their options.
void append_deciding(std::vector<bilevel::NamedOption>& list, const bilevel::ScheduleOptions& schedule,
                     const char* refinement);

/// "mixed:" before a solver's name when --precision is mixed: the solver that works in single precision where
/// the accuracy asked for allows it.
std::string in_precision(const std::string& solver, const std::string& precision);

}  // namespace bilevel_app
