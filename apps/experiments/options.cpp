#include "apps/experiments/options.hpp"

#include <algorithm>

#include "apps/common/add_option.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::experiments {

using bilevel::ConfigError;

namespace {

constexpr const char* kCodes =
    "Exit codes: 0 done, whatever the verdicts are; 2 usage, 3 files, 4 numerical failure, 5 device, 130 "
    "interrupted\n(results of experiments that were finished stay).\n";

void add_run(CLI::App& app, RunOptions& o) {
  app.add_option("experiment", o.names, "names such as E7, or all; see bilevel-experiments list")
      ->type_name("NAME");
  app.add_flag("--quick", o.quick, "smaller problems and fewer runs: seconds instead of minutes");
  add_value(app, "--out", o.out,
            "folder of results, made when missing; those of other experiments there stay [experiments-out]",
            "DIR");
  add_value(app, "--data", o.data,
            "E5, E6, E9, E12, E13: photographs, files or folders (PNG, JPEG, PGM, PPM, TIFF, .npy); E4: the "
            "folder of MNIST's four files, unpacked; E11: a volume (NIfTI)",
            "PATH");
  add_value(
      app, "--seed", o.common.seed,
      "seed of the data and noise that are drawn here, below 2^32; not of E7, E8 and E10, whose data are the "
      "published ones [0]",
      "N");
  add_value(app, "--device", o.common.device, "auto, cpu, cuda or cuda:N [auto]", "NAME");
  add_value(app, "--threads", o.common.threads, "threads of the CPU [all]", "N");
  app.add_flag("--quiet", o.common.quiet, "no progress on the error stream");
  app.add_flag("--json", o.common.json, "the results as JSON on the standard output");
  app.footer(
      std::string(
          "Writes DIR/NAME/result.json, curves.svg and pictures of each experiment, and DIR/index.html "
          "of all results in DIR.\n") +
      kCodes +
      "Examples:\n  bilevel-experiments run E7 --out results\n"
      "  bilevel-experiments run E2 E14 --quick --threads 2\n"
      "  bilevel-experiments run all --data photographs --data digits --out results");
}

void add_report(CLI::App& app, ReportOptions& o) {
  app.add_option("folder", o.folder, "folder of results of bilevel-experiments run")->type_name("DIR");
  app.footer(
      "Writes DIR/index.html again from the results in DIR, DIR/NAME/result.json, and from them alone.\n"
      "Example:\n  bilevel-experiments report results");
}

void finish(const RunOptions& o, const CLI::App& app) {
  if (o.names.empty())
    throw ConfigError("run needs the name of an experiment, or all (see bilevel-experiments list).");
  const std::vector<Experiment> all = chosen(o.names);
  validate(o.common);
  if (o.common.seed >> 32 != 0) throw ConfigError("--seed: use a number below 2^32.");
  const auto none = [&all](const auto& holds) { return std::none_of(all.begin(), all.end(), holds); };
  if (app.get_option("--seed")->count() > 0 && none([](const Experiment& e) { return e.own_draws; }))
    throw ConfigError("--seed: the data of " + all.front().id + " are the published ones; leave it out.");
  if (!o.data.empty() && none([](const Experiment& e) { return e.data != DataKind::none; }))
    throw ConfigError("--data: " + all.front().id + " makes its data itself; leave it out.");
  const bool everything = std::find(o.names.begin(), o.names.end(), "all") != o.names.end();
  for (const Experiment& e : all)
    if (lacks_data(e, o.data) && !everything) throw ConfigError(e.id + " needs " + remedy(e.data) + ".");
  if (!o.data.empty() && none([&o](const Experiment& e) { return !of_kind(e.data, o.data).empty(); }))
    throw ConfigError("--data: " + all.front().id + " takes " + remedy(all.front().data) + ".");
}

/// Without the double empty lines that CLI11 leaves between groups.
std::string tidy(std::string text) {
  for (std::size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
  return text;
}

}  // namespace

Options parse(int argc, const char* const* argv) {
  CLI::App app(
      "Repeats published experiments of bilevel learning: makes their data, runs the methods, compares with "
      "the published numbers by stated criteria, and writes a page for people.",
      "bilevel-experiments");
  bool version = false;
  RunOptions run_options;
  ReportOptions report_options;
  CLI::App* list = app.add_subcommand("list", "the experiments, with what they take up");
  CLI::App* run = app.add_subcommand("run", "runs experiments and writes their results and the page");
  CLI::App* report = app.add_subcommand("report", "writes the page again from results");
  add_run(*run, run_options);
  add_report(*report, report_options);
  for (CLI::App* a : {&app, list, run, report}) {
    a->set_help_flag("-h,--help", "this text");
    a->add_flag("--version", version, "version of the library, back ends built in, device found");
  }
  app.footer(std::string(kCodes) +
             "Examples:\n  bilevel-experiments list\n  bilevel-experiments run E7 --quick\n"
             "  bilevel-experiments run --help");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto asked = app.get_subcommands();
    return {tidy(asked.empty() ? app.help() : asked.front()->help("bilevel-experiments"))};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(std::string(error.what()) + " (see bilevel-experiments --help).");
  }
  if (version) return {version_text()};
  if (list->parsed()) return {ListOptions{}};
  if (run->parsed()) {
    finish(run_options, *run);
    return {run_options};
  }
  if (report->parsed()) {
    if (report_options.folder.empty()) throw ConfigError("report needs the folder of results.");
    return {report_options};
  }
  throw ConfigError("no command is given; use list, run or report (see bilevel-experiments --help).");
}

}  // namespace bilevel_app::experiments
