#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "apps/common/text.hpp"
#include "apps/mri/options.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "apps/mri/rate_search.hpp"
#include "apps/mri/training_run.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/baseline_patterns.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr double rate_tolerance = 0.05;  // relative; the threshold and exchanges do the rest

SamplingMap map_from(const std::string& name) {
  return name == "rational" ? SamplingMap::rational
         : name == "linear" ? SamplingMap::linear
                            : SamplingMap::direct;
}

std::vector<NamedOption> deciding_options(const LearnOptions& o) {
  std::vector<NamedOption> list{{"pattern", o.pattern},
                                {"map", o.map},
                                {"spokes", static_cast<std::int64_t>(o.spokes)},
                                {"exchange", o.exchange},
                                {"starts", static_cast<std::int64_t>(o.starts)},
                                {"learn-weight", o.learn_weight}};
  for (std::size_t k = 0; k < o.penalty.size(); ++k)
    list.emplace_back("penalty " + std::to_string(k + 1), o.penalty[k]);
  if (o.rate) list.emplace_back("rate", *o.rate);
  return list;
}

/// Limits are those of the whole run; what is spent is at least that a stage ends at its first check.
void keep_limits(UpperOptions& upper, const StagedRun& spent) {
  if (upper.time_limit > 0) upper.time_limit = std::max(1e-9, upper.time_limit - spent.seconds());
  if (upper.budget > 0)
    upper.budget = upper.budget > spent.work().total() ? upper.budget - spent.work().total() : 1;
}

/// Where exchanges start: the learned pattern, then as many groups drawn with variable density, spokes with
/// equal probability.
std::vector<double> exchange_start(const LearnOptions& o, const SamplingPattern& pattern,
                                   const MriModel& model, int number) {
  if (number == 0) return model.s;
  const auto kept = static_cast<std::size_t>(std::count(model.s.begin(), model.s.end(), 1.0));
  VariableDensityOptions options;
  options.seed = o.common.seed + static_cast<std::uint64_t>(number);
  options.draws = 1;
  if (model.kind == PatternKind::radial)  // all spokes pass through zero frequency
    return uniform_groups(pattern.groups(), kept, options.seed);
  return variable_density_groups(group_distances(pattern), kept, options,
                                 [](std::span<const double>) { return 0.0; })
      .s;
}

MriModel with_weights_at_least(MriModel model, double fraction, const ModelOptions& o) {
  std::vector<double> weights = model.weights();
  for (std::size_t k = 0; k < weights.size(); ++k)
    weights[k] = std::max(weights[k], fraction * o.weight_of(k));
  model.set_weights(weights);
  return model;
}

/// Exchanges move the first weight alone.
Parameters exchange_parameters(const Parameters& parameters, const RegulariserSum& regulariser) {
  const std::vector<std::string> weights = weight_names(regulariser);
  std::vector<Segment> segments = parameters.segments();
  for (Segment& s : segments)
    if (std::find(weights.begin() + 1, weights.end(), s.name) != weights.end()) s.learned = false;
  return Parameters(std::move(segments));
}

/// Samples of the binary pattern exchanged at its rate, alpha following, from each start; puts the best
/// result into the model.
StageResult exchange_samples(const LearnOptions& o, TrainingRun& run, MriModel& model) {
  const SamplingPattern pattern(model.kind, run.data().height, run.data().width, SamplingMap::linear,
                                o.spokes);
  const bool many = model.kind == PatternKind::free || model.kind == PatternKind::symmetric;
  const int starts = o.starts > 0 ? o.starts : many ? 1 : 4;
  const MriModel learned = model;
  std::optional<StageResult> best;
  for (int k = 0; k < starts; ++k) {
    // Drawn patterns leave more to the regulariser than a learned, denser centre.
    const MriModel start = k == 0 ? learned : with_weights_at_least(learned, 0.1, o.model);
    const Parameters parameters = exchange_parameters(
        start.parameters(pattern, exchange_start(o, pattern, learned, k), true, o.learn_weight),
        model.regulariser);
    Stage stage{k == 0 ? "exchange" : "exchange-" + std::to_string(k + 1),
                "samples of the binary pattern exchanged",
                pattern,
                parameters,
                parameters.initial(),
                {},
                {.name = "exchange"},
                o.algorithm.upper};
    stage.upper.min_progress = 0;
    // Of a few large groups the predictions rank the pairs less well: more of them are tried.
    if (!many) stage.exchange.rejections = std::clamp(static_cast<int>(pattern.groups()), 16, 128);
    keep_limits(stage.upper, run.stages());
    const StageResult result = run.stages().run(stage);
    if (stops_run(result)) return result;
    if (!best || result.loss < best->loss) {
      model.s = parameters.values("s", result.theta);
      model.take_weights(parameters, result.theta);
      best = result;
    }
  }
  return *best;
}

/// The relaxed pattern that a run of stages came to.
struct LearnedPattern {
  StageResult stage;
  Relaxed relaxed;
  double beta1 = 0, beta2 = 0;
  Json trials = Json::array();
};

class PatternLearner {
 public:
  PatternLearner(const LearnOptions& options, TrainingRun& run, const MriModel& model)
      : o_(options),
        run_(run),
        pattern_(pattern_from(options.pattern), run.data().height, run.data().width, map_from(options.map),
                 options.spokes),
        parameters_(relaxed_parameters(pattern_, model, options.learn_weight)) {}

  const SamplingPattern& pattern() const { return pattern_; }

  LearnedPattern learn() { return o_.rate ? learn_to_rate() : learn_with_penalty(); }

 private:
  LearnedPattern learn_with_penalty() {
    const double beta1 = o_.penalty[0], beta2 = o_.penalty.size() > 1 ? o_.penalty[1] : 0;
    return {
        run_stage("pattern", beta1, beta2, parameters_.initial()), {pattern_, parameters_, {}}, beta1, beta2};
  }

  /// Runs of growing or bisected penalties, beta2 in the same proportion to beta1 (none when not given: at
  /// beta2 >= beta1 no s would leave 1).
  LearnedPattern learn_to_rate() {
    const double first = o_.penalty.empty() ? first_penalty(run_.data(), pattern_, *o_.rate) : o_.penalty[0];
    const double ratio = o_.penalty.size() > 1 ? o_.penalty[1] / o_.penalty[0] : 0;
    RateSearch search(*o_.rate, rate_tolerance, first, o_.rate_runs);
    std::vector<StageResult> results;
    while (!search.done()) {
      const int start = search.next_start();
      const double beta1 = search.next_penalty();
      const std::string name = "pattern-" + std::to_string(results.size() + 1);
      results.push_back(
          run_stage(name, beta1, ratio * beta1,
                    start < 0 ? parameters_.initial() : results[static_cast<std::size_t>(start)].theta));
      if (stops_run(results.back()))
        return {results.back(), {pattern_, parameters_, {}}, beta1, ratio * beta1};
      search.add(sampled(results.back().theta));
      if (out_of_time(results.back())) break;
    }
    const auto best = static_cast<std::size_t>(search.best());
    LearnedPattern learned{results[best],
                           {pattern_, parameters_, {}},
                           search.trials()[best].penalty,
                           ratio * search.trials()[best].penalty};
    for (std::size_t k = 0; k < results.size(); ++k)
      learned.trials.push_back({{"stage", results[k].name},
                                {"penalty", search.trials()[k].penalty},
                                {"rate", search.trials()[k].rate}});
    return learned;
  }

  double sampled(const std::vector<double>& theta) const {
    return pattern_.rate(pattern_.threshold(parameters_.values("s", theta)));
  }
  static bool out_of_time(const StageResult& r) {
    return r.status == UpperStatus::time_limit || r.status == UpperStatus::budget;
  }

  StageResult run_stage(const std::string& name, double beta1, double beta2, std::vector<double> theta0) {
    Stage stage{name,
                format("the pattern, penalty %g sum s + %g sum s(1-s)", beta1, beta2),
                pattern_,
                parameters_,
                std::move(theta0),
                sampling_penalty(parameters_, beta1, beta2),
                o_.algorithm.method,
                o_.algorithm.upper};
    stage.upper.scaling = StepScaling::lbfgs;
    keep_limits(stage.upper, run_.stages());
    return run_.stages().run(stage);
  }

  const LearnOptions& o_;
  TrainingRun& run_;
  SamplingPattern pattern_;
  Parameters parameters_;
};

/// Throws ConfigError for a rate at which not even one group of the pattern is left.
void require_rate(const LearnOptions& o, const SamplingPattern& pattern) {
  if (!o.rate) return;
  const std::vector<double> all(pattern.groups(), 1.0);
  if (pattern.rate(pattern.threshold_to_rate(all, *o.rate)) > 0) return;
  std::size_t least = pattern.frequencies();
  for (std::size_t k = 0; k < pattern.groups(); ++k) least = std::min(least, pattern.group(k).size());
  throw ConfigError(
      format("--rate %s keeps not even one of the %zu groups of the pattern; use at least %s.",
             option_text(*o.rate).c_str(), pattern.groups(),
             option_text(static_cast<double>(least) / static_cast<double>(pattern.frequencies())).c_str()));
}

/// 0 or 1 per group. Throws ConfigError when nothing is left.
std::vector<double> make_binary(const LearnOptions& o, const SamplingPattern& pattern,
                                const std::vector<double>& s) {
  std::vector<double> binary = o.rate ? pattern.threshold_to_rate(s, *o.rate) : pattern.threshold(s);
  if (pattern.rate(binary) == 0)  // by a penalty; a rate that leaves nothing was refused
    throw ConfigError("--penalty " + option_text(o.penalty.at(0)) +
                      ": no s is above 0.5, so that no sample is left; use a smaller one.");
  return binary;
}

}  // namespace

int learn(const LearnOptions& o, std::ostream& out, std::ostream& err) {
  TrainingRun run(o, "learn", deciding_options(o), out, err);
  const PatternKind kind = pattern_from(o.pattern);
  const SamplingPattern pattern(kind, run.data().height, run.data().width, SamplingMap::direct, o.spokes);
  require_rate(o, pattern);
  MriModel model = run.model(kind, o.spokes, std::vector<double>(pattern.groups(), 1.0));
  if (o.learn_weight) {
    const StageResult stage = run.tune_weight("weight", "the weight at full sampling", model);
    if (stops_run(stage)) return run.conclude_early(stage);
  }

  PatternLearner learner(o, run, model);
  LearnedPattern learned = learner.learn();
  if (stops_run(learned.stage)) return run.conclude_early(learned.stage);
  learned.relaxed.theta = learned.stage.theta;
  model.relaxed = learned.relaxed.parameters.values("s", learned.stage.theta);
  model.s = make_binary(o, learner.pattern(), model.relaxed);
  model.take_weights(learned.relaxed.parameters, learned.stage.theta);
  Json extra{{"penalty", {learned.beta1, learned.beta2}}};
  put_weights(extra, model, "relaxed_alpha");
  extra["relaxed_rate"] = learner.pattern().rate(learner.pattern().threshold(model.relaxed));
  if (o.exchange) {
    const StageResult stage = exchange_samples(o, run, model);
    if (stops_run(stage)) return run.conclude_early(stage);
  }
  if (o.learn_weight) {
    const StageResult stage = run.tune_weight("binary", "the weight for the binary pattern", model);
    if (stops_run(stage)) return run.conclude_early(stage);
  }
  if (!learned.trials.empty()) extra["rate_search"] = learned.trials;
  return run.conclude(model, learned.relaxed, learned.stage, extra);
}

}  // namespace bilevel_app::mri
