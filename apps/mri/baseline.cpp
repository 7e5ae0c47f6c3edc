#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/mri/greedy.hpp"
#include "apps/mri/options.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "apps/mri/training_run.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/baseline_patterns.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

PatternKind kind_of(const BaselineOptions& o) {
  if (o.pattern == "greedy") return pattern_from(o.groups);
  if (o.pattern.starts_with("columns-")) return PatternKind::columns;
  return o.pattern.starts_with("lines-") ? PatternKind::rows : PatternKind::free;
}

std::vector<NamedOption> deciding_options(const BaselineOptions& o, const std::optional<MriModel>& given) {
  if (given)
    return {{"pattern", o.pattern},
            {"kind", std::string(pattern_name(given->kind))},
            {"kept", fingerprint_text(fingerprint(given->s))}};
  std::vector<NamedOption> list{{"pattern", o.pattern}, {"rate", o.rate}};
  if (o.pattern == "greedy")
    list.insert(list.end(), {{"groups", o.groups}, {"spokes", static_cast<std::int64_t>(o.spokes)}});
  if (o.pattern.ends_with("vds"))
    list.insert(list.end(), {{"draws", static_cast<std::int64_t>(o.draws)},
                             {"power", o.power},
                             {"radius", o.radius < 0 ? -1.0 : o.radius}});
  return list;
}

/// The model of the run that --from names, whose pattern is taken.
std::optional<MriModel> given_pattern(const BaselineOptions& o) {
  if (o.pattern != "given") return std::nullopt;
  try {
    return read_mri_model(std::filesystem::path(o.from) / "model.json");
  } catch (const IoError& error) {
    throw IoError("--from " + o.from, std::string("name the folder of a finished run; ") + error.what());
  }
}

std::string size_text(const MriModel& m) { return std::to_string(m.height) + "x" + std::to_string(m.width); }

/// How many groups --rate keeps. Throws ConfigError when it is none.
std::size_t groups_kept(const BaselineOptions& o, const SamplingPattern& pattern) {
  try {
    return groups_at_rate(pattern, o.rate);
  } catch (const ConfigError& error) {
    throw ConfigError("--rate " + option_text(o.rate) + ": " + error.what());
  }
}

/// The groups of all patterns but greedy, and what was recorded about them.
std::vector<double> choose_groups(const BaselineOptions& o, const MriData& data,
                                  const SamplingPattern& pattern, Json& record) {
  const std::size_t count = groups_kept(o, pattern);
  const std::uint64_t seed = o.common.seed;
  if (o.pattern.ends_with("uniform")) {
    record["seed"] = seed;
    return uniform_groups(pattern.groups(), count, seed);
  }
  if (o.pattern.ends_with("largest")) return largest_groups(group_energies(data, pattern), count);
  const std::vector<double> distance = group_distances(pattern);
  if (o.pattern.ends_with("lowpass")) return low_pass_groups(distance, count);
  const VariableDensity v =
      variable_density_groups(distance, count, {o.power, o.radius, o.draws, seed},
                              [&](std::span<const double> values) { return side_lobe(pattern, values); });
  record.update({{"seed", seed},
                 {"power", v.power},
                 {"radius", v.radius},
                 {"offset", v.offset},
                 {"draws", o.draws},
                 {"side_lobe", v.side_lobe}});
  return v.s;
}

}  // namespace

int baseline(const BaselineOptions& o, std::ostream& out, std::ostream& err) {
  const std::optional<MriModel> given = given_pattern(o);
  TrainingRun run(o, "baseline", deciding_options(o, given), out, err);
  MriModel model = run.model(given ? given->kind : kind_of(o), given ? given->spokes : o.spokes, {});
  const SamplingPattern pattern = model.pattern();
  Json record{{"baseline", o.pattern}};
  Work work;
  double seconds = 0;
  if (given) {
    if (given->height != model.height || given->width != model.width)
      throw ConfigError("--from " + o.from + ": its pattern is of " + size_text(*given) +
                        ", the images are of " + size_text(model) +
                        "; use --size or --crop-to, or the pattern of another run.");
    model.s = given->s;
  } else if (o.pattern == "greedy") {
    model.s.assign(pattern.groups(), 1.0);
    const std::size_t count = groups_kept(o, pattern);
    const StageResult stage = run.tune_weight("weight", "the weight at full sampling", model);
    if (stops_run(stage)) return run.conclude_early(stage);
    const GreedySelection selection =
        select_greedily(run, model, count, o.run.resume, [&](const std::string& text) {
          if (o.common.verbose) run.note(text);
        });
    if (selection.interrupted) {
      StageResult cut = stage;
      cut.status = UpperStatus::interrupted;
      cut.message = "The run was interrupted.";
      return run.conclude_early(cut);
    }
    model.s = groups_listed(pattern.groups(), selection.order);
    work = selection.work;
    seconds = selection.seconds;
    put_weights(record, model, "weight_of_selection");
    record.update({{"order", selection.order},
                   {"selection_solves", selection.work.solves},
                   {"selection_seconds", selection.seconds}});
  } else {
    model.s = choose_groups(o, run.data(), pattern, record);
  }
  const StageResult stage = run.tune_weight("binary", "the weight for the pattern", model);
  if (stops_run(stage)) return run.conclude_early(stage);
  return run.conclude(model, {}, stage, record, work, seconds);
}

}  // namespace bilevel_app::mri
