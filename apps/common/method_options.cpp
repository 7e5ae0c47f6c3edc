#include "apps/common/method_options.hpp"

#include <algorithm>
#include <limits>

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"

namespace bilevel_app {

using bilevel::ConfigError;

namespace {

/// "constant:E", "harmonic:E", "exponential:E[:RATE]", or a list "E0,E1,...".
constexpr const char* usual_errors = "harmonic:1";

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

double number(const std::string& text, const std::string& all) {
  require_value<double>(text, "--errors " + all + ":");
  return std::stod(text);
}

void take_errors(const std::string& text, bilevel::InexactGradientOptions& into) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() == 1) {
    into.sequence = bilevel::ErrorSequence::list;
    for (const std::string& entry : split(text, ',')) into.errors.push_back(number(entry, text));
    return;
  }
  require_one_of(parts[0], "--errors", {"constant", "harmonic", "exponential"});
  into.sequence = bilevel::error_sequence(parts[0]);
  into.error0 = number(parts[1], text);
  const bool rate = into.sequence == bilevel::ErrorSequence::exponential && parts.size() == 3;
  if (rate) into.rate = number(parts[2], text);
  if (parts.size() > 2 && !rate)
    throw ConfigError("--errors " + text +
                      ": use constant:E, harmonic:E, exponential:E:RATE or a list E0,E1,...");
}

/// A value that only one method has must not stand beside another one.
template <class V>
void require_only(const MethodOptions& method, const char* owner, const char* option,
                  const std::optional<V>& value) {
  if (value && method.name != owner)
    throw ConfigError(std::string(option) + " is an option of --algorithm " + owner + ", not of " +
                      method.name + "; leave it out.");
}

bilevel::HoagOptions hoag_options(const MethodOptions& method, const bilevel::UpperOptions& upper) {
  bilevel::HoagOptions hoag;
  if (method.schedule) hoag.schedule = bilevel::hoag_schedule(*method.schedule);
  hoag.epsilon0 = upper.schedule.epsilon0;
  hoag.published_code = method.compat.has_value();
  return hoag;
}

bilevel::InexactGradientOptions inexact_gradient_options(const MethodOptions& method) {
  bilevel::InexactGradientOptions o;
  take_errors(method.errors.value_or(usual_errors), o);
  if (method.bound) o.bound = bilevel::gradient_bound(*method.bound);
  o.epsilon_down = method.epsilon_down.value_or(o.epsilon_down);
  o.epsilon_up = method.epsilon_up.value_or(o.epsilon_up);
  o.delta_down = method.delta_down.value_or(o.delta_down);
  o.delta_up = method.delta_up.value_or(o.delta_up);
  return o;
}

bilevel::DfoOptions dfo_options(const MethodOptions& method) {
  bilevel::DfoOptions o;
  o.dynamic = method.accuracies.value_or("dynamic") == "dynamic";
  o.radius0 = method.radius0.value_or(o.radius0);
  o.radius_end = method.radius_end.value_or(o.radius_end);
  o.max_evaluations = method.max_evaluations.value_or(o.max_evaluations);
  return o;
}

bilevel::UnrolledTrainingOptions unrolled_options(const MethodOptions& method) {
  bilevel::UnrolledTrainingOptions o;
  if (method.hypergradient == "inexact-ad") o.unrolled.derivative = bilevel::UnrolledDerivative::inexact;
  if (method.unrolled_method == "heavy-ball") o.unrolled.method = bilevel::UnrolledMethod::heavy_ball;
  o.unrolled.steps = method.unrolled_steps.value_or(o.unrolled.steps);
  o.unrolled.step = method.unrolled_step;
  o.unrolled.checkpoints = method.unrolled_memory == "checkpoints";
  if (method.update) o.update = bilevel::unrolled_update(*method.update);
  return o;
}

/// A value of the methods of minibatches must not stand beside another one.
void require_minibatches(const MethodOptions& method, const char* option, bool given) {
  if (given && !method.stochastic())
    throw ConfigError(std::string(option) + " is an option of --algorithm isgd and stochastic-maid, not of " +
                      method.name + "; leave it out.");
}

constexpr int usual_epochs = 20;

bilevel::StochasticOptions stochastic_options(const MethodOptions& method, std::uint64_t seed) {
  bilevel::StochasticOptions o;
  o.step = method.name == "isgd" ? bilevel::stochastic_step(method.step_rule.value_or("plain"))
                                 : bilevel::StochasticStep::certified;
  o.seed = seed;
  o.step_decay = method.step_decay.value_or(method.name == "isgd" ? o.step_decay : 0);
  o.accuracy_decay = method.accuracy_decay.value_or(o.accuracy_decay);
  o.check_every = method.check_every.value_or(o.check_every);
  o.check_gradient = method.check_gradient;
  return o;
}

void validate_minibatches(const MethodOptions& method, const bilevel::UpperOptions& upper) {
  require_minibatches(method, "--batch", method.batch.has_value());
  require_minibatches(method, "--epochs", method.epochs.has_value());
  require_minibatches(method, "--step-decay", method.step_decay.has_value());
  require_minibatches(method, "--check-every", method.check_every.has_value());
  require_minibatches(method, "--check-gradient", method.check_gradient);
  require_only(method, "isgd", "--step-rule", method.step_rule);
  require_only(method, "isgd", "--accuracy-decay", method.accuracy_decay);
  if (!method.stochastic()) return;
  if (method.step_rule) require_one_of(*method.step_rule, "--step-rule", {"plain", "adagrad", "adam"});
  if (!method.batch)
    throw ConfigError("--algorithm " + method.name + " needs --batch N, the images of a step.");
  if (upper.min_progress > 0)
    throw ConfigError(
        "--min-progress is for methods that know the loss of all images at every step, not for " +
        method.name + "; leave it out.");
  stochastic_options(method, 0).validate();
}

/// Adds options under the name of their method.
class MethodGroup {
 public:
  MethodGroup(CLI::App& app, const char* method) : app_(app), method_(method) {}

  template <class V>
  void operator()(const char* option, std::optional<V>& value, const std::string& text,
                  const char* type = "X") const {
    add_value(app_, option, value, text, type)->group(method_);
  }

 private:
  CLI::App& app_;
  const char* method_;
};

void add_hoag(CLI::App& app, MethodOptions& method) {
  const MethodGroup add(app, "hoag");
  add("--schedule", method.schedule,
      "accuracies of iteration k: quadratic (epsilon0 / k^2), cubic, geometric (epsilon0 0.9^k) or exact "
      "[quadratic]",
      "NAME");
  add("--compat", method.compat, "as the published code: steps taken twice, relative accuracies [not]",
      "hoag");
}

void add_inexact_gradient(CLI::App& app, MethodOptions& method) {
  const MethodGroup add(app, "inexact-gradient");
  add("--errors", method.errors,
      std::string("error allowed of iteration k: constant:E, harmonic:E (E / k), exponential:E:RATE (E "
                  "10^(-RATE (k-1))) or a list E1,E2,... whose last stays [") +
          usual_errors + "]",
      "SEQUENCE");
  add("--bound", method.bound, "what is compared with it: corrected (one form) or best [best]", "NAME");
  add("--epsilon-down", method.epsilon_down, "factor of epsilon in a refinement [0.9]");
  add("--epsilon-up", method.epsilon_up, "factor of epsilon after a step [10]");
  add("--delta-down", method.delta_down, "factor of delta in a refinement [0.9]");
  add("--delta-up", method.delta_up, "factor of delta after a step [10]");
}

void add_dfo(CLI::App& app, MethodOptions& method) {
  const MethodGroup add(app, "dfo");
  add("--accuracies", method.accuracies, "dynamic (what the steps need) or fixed (epsilon0) [dynamic]",
      "NAME");
  add("--radius0", method.radius0, "first radius, in the box of theta scaled to sides 1 [0.1]");
  add("--radius-end", method.radius_end, "radius that ends the run [1e-06]");
  add("--max-evaluations", method.max_evaluations, "evaluations of theta at most, 0: no limit [0]", "N");
}

void add_unrolled(CLI::App& app, MethodOptions& method) {
  const MethodGroup add(app, "unrolled");
  add("--hypergradient", method.hypergradient,
      "reverse or inexact-ad (second derivatives after the last step) [reverse]", "NAME");
  add("--unrolled-step", method.unrolled_step, "length of the lower steps [by L, mu of the first theta]");
  add("--unrolled-steps", method.unrolled_steps, "their number [100]", "K");
  add("--unrolled-method", method.unrolled_method, "gradient-descent or heavy-ball [gradient-descent]",
      "NAME");
  add("--unrolled-memory", method.unrolled_memory,
      "states that reverse keeps: all or checkpoints (2 sqrt K) [all]", "NAME");
  add("--update", method.update, "gradient or adam, steps of --step0 [adam]", "NAME");
}

void add_minibatches(CLI::App& app, MethodOptions& method) {
  const char* both = "isgd, stochastic-maid";
  const MethodGroup add(app, both);
  add("--batch", method.batch, "images of a step, a divisor of --images", "N");
  add("--epochs", method.epochs, "passes over all images [" + std::to_string(usual_epochs) + "]", "N");
  add("--step-rule", method.step_rule, "isgd: plain, adagrad or adam [plain]", "NAME");
  add("--step-decay", method.step_decay,
      "a of the longest step, step0 k^-a in step k [isgd 0.5, stochastic-maid 0]");
  add("--accuracy-decay", method.accuracy_decay,
      "isgd: b of the accuracies epsilon0 k^-b, delta0 k^-b [0.25]");
  add("--check-every", method.check_every, "epochs between checks of all images, 0: one at the end [1]", "M");
  app.add_flag("--check-gradient", method.check_gradient,
               "checks certify the gradient too, and --tolerance ends the run")
      ->group(both);
}

}  // namespace

void add_method_options(CLI::App& app, MethodOptions& method, const std::string& subject) {
  add_value(app, "--algorithm", method.name,
            subject +
                "maid (adaptive accuracies, certified decrease), fixed (maid, fixed accuracies), "
                "lbfgsb (certified decrease), hoag (accuracies by a schedule), inexact-gradient "
                "(certified errors)," +
                (method.minibatches ? " isgd, stochastic-maid (minibatches)," : "") +
                " dfo (no gradients, few parameters) or unrolled (not certified but at its end) [" +
                method.name + "]",
            "NAME")
      ->group("Algorithm");
  add_hoag(app, method);
  add_inexact_gradient(app, method);
  add_dfo(app, method);
  add_unrolled(app, method);
  if (method.minibatches) add_minibatches(app, method);
}

void validate(const MethodOptions& method, const bilevel::UpperOptions& upper) {
  if (!method.minibatches)
    require_one_of(method.name, "--algorithm",
                   {"maid", "fixed", "lbfgsb", "hoag", "inexact-gradient", "dfo", "unrolled"});
  else
    require_one_of(method.name, "--algorithm",
                   {"maid", "fixed", "lbfgsb", "hoag", "inexact-gradient", "dfo", "unrolled", "isgd",
                    "stochastic-maid"});
  validate_minibatches(method, upper);
  require_only(method, "hoag", "--schedule", method.schedule);
  require_only(method, "hoag", "--compat", method.compat);
  require_only(method, "inexact-gradient", "--errors", method.errors);
  require_only(method, "inexact-gradient", "--bound", method.bound);
  require_only(method, "inexact-gradient", "--epsilon-down", method.epsilon_down);
  require_only(method, "inexact-gradient", "--epsilon-up", method.epsilon_up);
  require_only(method, "inexact-gradient", "--delta-down", method.delta_down);
  require_only(method, "inexact-gradient", "--delta-up", method.delta_up);
  require_only(method, "dfo", "--accuracies", method.accuracies);
  require_only(method, "dfo", "--radius0", method.radius0);
  require_only(method, "dfo", "--radius-end", method.radius_end);
  require_only(method, "dfo", "--max-evaluations", method.max_evaluations);
  require_only(method, "unrolled", "--hypergradient", method.hypergradient);
  require_only(method, "unrolled", "--unrolled-steps", method.unrolled_steps);
  require_only(method, "unrolled", "--unrolled-step", method.unrolled_step);
  require_only(method, "unrolled", "--unrolled-method", method.unrolled_method);
  require_only(method, "unrolled", "--unrolled-memory", method.unrolled_memory);
  require_only(method, "unrolled", "--update", method.update);
  if (method.accuracies) require_one_of(*method.accuracies, "--accuracies", {"dynamic", "fixed"});
  if (method.schedule)
    require_one_of(*method.schedule, "--schedule", {"quadratic", "cubic", "geometric", "exact"});
  if (method.compat) require_one_of(*method.compat, "--compat", {"hoag"});
  if (method.hypergradient)
    require_one_of(*method.hypergradient, "--hypergradient", {"reverse", "inexact-ad"});
  if (method.unrolled_method)
    require_one_of(*method.unrolled_method, "--unrolled-method", {"gradient-descent", "heavy-ball"});
  if (method.unrolled_memory)
    require_one_of(*method.unrolled_memory, "--unrolled-memory", {"all", "checkpoints"});
  if (method.update) require_one_of(*method.update, "--update", {"gradient", "adam"});
  if (method.unrolled_steps.value_or(1) < 1)
    throw ConfigError("--unrolled-steps " + std::to_string(*method.unrolled_steps) + ": use at least 1.");
  if (method.unrolled_step) require_positive(*method.unrolled_step, "--unrolled-step");
  if (method.bound) require_one_of(*method.bound, "--bound", {"corrected", "best"});
  if (upper.schedule.non_monotone != 0 && method.name != "maid" && method.name != "fixed")
    throw ConfigError("--non-monotone is an option of --algorithm maid, not of " + method.name +
                      "; leave it out.");
  if (method.stochastic())
    static_cast<void>(make_stochastic_optimiser<double>(method, upper, 0));
  else
    static_cast<void>(make_optimiser<double>(method, upper));
}

int minibatch_steps(const MethodOptions& method, int images) {
  const int batch = method.batch.value_or(images), epochs = method.epochs.value_or(usual_epochs);
  if (batch < 1 || images % batch != 0)
    throw ConfigError("--batch " + std::to_string(batch) + " does not divide --images " +
                      std::to_string(images) + "; use a divisor of the number of images.");
  if (epochs < 1 || epochs > std::numeric_limits<int>::max() / (images / batch))
    throw ConfigError("--epochs " + std::to_string(epochs) +
                      ": use at least 1, and not more steps than an "
                      "integer counts.");
  return epochs * (images / batch);
}

std::string limit_options(const MethodOptions& method, const std::string& usual) {
  if (method.name == "dfo") return "--radius-end, or --epsilon0 of fixed accuracies";
  return method.name == "inexact-gradient" ? "larger --errors, or " + usual : usual;
}

void append_deciding(std::vector<bilevel::NamedOption>& list, const MethodOptions& method) {
  list.emplace_back("algorithm", method.name);
  if (method.name == "hoag")
    list.insert(list.end(), {{"schedule", method.schedule.value_or("quadratic")},
                             {"compat", method.compat.value_or("none")}});
  if (method.name == "dfo") {
    const bilevel::DfoOptions o = dfo_options(method);
    list.insert(list.end(), {{"accuracies", std::string(o.dynamic ? "dynamic" : "fixed")},
                             {"radius0", o.radius0},
                             {"radius-end", o.radius_end}});
  }
  if (method.name == "unrolled") {
    const bilevel::UnrolledTrainingOptions o = unrolled_options(method);
    list.insert(list.end(), {{"hypergradient", method.hypergradient.value_or("reverse")},
                             {"unrolled-steps", static_cast<std::int64_t>(o.unrolled.steps)},
                             {"unrolled-method", method.unrolled_method.value_or("gradient-descent")},
                             {"unrolled-memory", method.unrolled_memory.value_or("all")},
                             {"update", std::string(bilevel::name_of(o.update))}});
    if (o.unrolled.step) list.emplace_back("unrolled-step", *o.unrolled.step);
  }
  if (method.stochastic()) {
    const bilevel::StochasticOptions o = stochastic_options(method, 0);
    list.insert(list.end(), {{"batch", static_cast<std::int64_t>(*method.batch)},
                             {"step-decay", o.step_decay},
                             {"check-every", static_cast<std::int64_t>(o.check_every)},
                             {"check-gradient", o.check_gradient}});
    if (method.name == "isgd")
      list.insert(list.end(), {{"step-rule", std::string(bilevel::name_of(o.step))},
                               {"accuracy-decay", o.accuracy_decay}});
  }
  if (method.name != "inexact-gradient") return;
  const bilevel::InexactGradientOptions o = inexact_gradient_options(method);
  list.insert(list.end(), {{"errors", method.errors.value_or(usual_errors)},
                           {"bound", std::string(bilevel::name_of(o.bound))},
                           {"epsilon-down", o.epsilon_down},
                           {"epsilon-up", o.epsilon_up},
                           {"delta-down", o.delta_down},
                           {"delta-up", o.delta_up}});
}

template <class T>
std::unique_ptr<bilevel::UpperOptimiser<T>> make_optimiser(const MethodOptions& method,
                                                           const bilevel::UpperOptions& upper) {
  if (method.name == "lbfgsb") return bilevel::make_lbfgsb<T>(upper);
  if (method.name == "hoag") return bilevel::make_hoag<T>(hoag_options(method, upper), upper);
  if (method.name == "inexact-gradient")
    return bilevel::make_inexact_gradient<T>(inexact_gradient_options(method), upper);
  if (method.name == "dfo") return bilevel::make_dfo<T>(dfo_options(method), upper);
  if (method.name == "unrolled") return bilevel::make_unrolled<T>(unrolled_options(method), upper);
  bilevel::UpperOptions maid = upper;
  maid.schedule.fixed_accuracy = method.fixed_accuracy();
  return bilevel::make_maid<T>(maid);
}
template std::unique_ptr<bilevel::UpperOptimiser<float>> make_optimiser(const MethodOptions&,
                                                                        const bilevel::UpperOptions&);
template std::unique_ptr<bilevel::UpperOptimiser<double>> make_optimiser(const MethodOptions&,
                                                                         const bilevel::UpperOptions&);

template <class T>
std::unique_ptr<bilevel::StochasticOptimiser<T>> make_stochastic_optimiser(const MethodOptions& method,
                                                                           const bilevel::UpperOptions& upper,
                                                                           std::uint64_t seed) {
  return bilevel::make_stochastic<T>(stochastic_options(method, seed), upper);
}
template std::unique_ptr<bilevel::StochasticOptimiser<float>> make_stochastic_optimiser(
    const MethodOptions&, const bilevel::UpperOptions&, std::uint64_t);
template std::unique_ptr<bilevel::StochasticOptimiser<double>> make_stochastic_optimiser(
    const MethodOptions&, const bilevel::UpperOptions&, std::uint64_t);

}  // namespace bilevel_app
