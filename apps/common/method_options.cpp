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

void add_hoag(CLI::App& app, MethodOptions& method, const char* group) {
  add_value(app, "--schedule", method.schedule,
            "hoag: accuracies of iteration k, quadratic (epsilon0 / k^2), cubic (epsilon0 / k^3), geometric "
            "(epsilon0 0.9^k) or exact [quadratic]",
            "NAME")
      ->group(group);
  add_value(
      app, "--compat", method.compat,
      "hoag: as the code published with the paper does it, steps taken twice and relative accuracies, to "
      "compare with its numbers [not]",
      "hoag")
      ->group(group);
}

void add_inexact_gradient(CLI::App& app, MethodOptions& method, const char* group) {
  add_value(
      app, "--errors", method.errors,
      std::string("inexact-gradient: error allowed of the hypergradient, constant:E, harmonic:E (E / k), "
                  "exponential:E:RATE (E 10^(-RATE (k-1))) or a list E1,E2,... whose last stays [") +
          usual_errors + "]",
      "SEQUENCE")
      ->group(group);
  add_value(
      app, "--bound", method.bound,
      "inexact-gradient: what is compared with it, corrected (one form) or best (the least of all) [best]",
      "NAME")
      ->group(group);
  const auto factor = [&](const char* name, std::optional<double>& value, const char* text) {
    add_value(app, name, value, text)->group(group);
  };
  factor("--epsilon-down", method.epsilon_down, "inexact-gradient: factor of epsilon in a refinement [0.9]");
  factor("--epsilon-up", method.epsilon_up, "inexact-gradient: factor of epsilon after a step [10]");
  factor("--delta-down", method.delta_down, "inexact-gradient: factor of delta in a refinement [0.9]");
  factor("--delta-up", method.delta_up, "inexact-gradient: factor of delta after a step [10]");
}

void add_dfo(CLI::App& app, MethodOptions& method, const char* group) {
  add_value(app, "--accuracies", method.accuracies,
            "dfo: dynamic (what the steps need) or fixed (all to epsilon0) [dynamic]", "NAME")
      ->group(group);
  add_value(
      app, "--radius0", method.radius0,
      "dfo: first radius of the trust region, in the box of the bounds of theta scaled to sides 1 [0.1]")
      ->group(group);
  add_value(app, "--radius-end", method.radius_end, "dfo: radius that ends the run [1e-06]")->group(group);
  add_value(app, "--max-evaluations", method.max_evaluations,
            "dfo: evaluations of theta at most, 0 being no limit [0]", "N")
      ->group(group);
}

void add_unrolled(CLI::App& app, MethodOptions& method, const char* group) {
  const auto name = [&](const char* option, std::optional<std::string>& value, const char* text) {
    add_value(app, option, value, text, "NAME")->group(group);
  };
  name("--hypergradient", method.hypergradient,
       "unrolled: of K steps of the lower level, reverse or inexact-ad (second derivatives after the last "
       "one) [reverse]");
  add_value(app, "--unrolled-steps", method.unrolled_steps, "unrolled: K [100]", "K")->group(group);
  add_value(app, "--unrolled-step", method.unrolled_step,
            "unrolled: their length [by L, mu of the first theta]")
      ->group(group);
  name("--unrolled-method", method.unrolled_method,
       "unrolled: steps of gradient-descent or heavy-ball [gradient-descent]");
  name("--unrolled-memory", method.unrolled_memory,
       "unrolled: states that reverse keeps, all or checkpoints (2 sqrt K, the others computed again) [all]");
  name("--update", method.update, "unrolled: gradient or adam, steps of --step0 [adam]");
}

void add_minibatches(CLI::App& app, MethodOptions& method) {
  const char* group = "Minibatches (isgd, stochastic-maid)";
  add_value(app, "--batch", method.batch, "images of a step, a divisor of --images", "N")->group(group);
  add_value(app, "--epochs", method.epochs, "passes over all images [" + std::to_string(usual_epochs) + "]",
            "N")
      ->group(group);
  add_value(app, "--step-rule", method.step_rule, "isgd: plain, adagrad or adam [plain]", "NAME")
      ->group(group);
  add_value(app, "--step-decay", method.step_decay,
            "a of the longest step, step0 k^-a in step k [isgd 0.5, stochastic-maid 0]")
      ->group(group);
  add_value(app, "--accuracy-decay", method.accuracy_decay,
            "isgd: b of the accuracies epsilon0 k^-b, delta0 k^-b [0.25]")
      ->group(group);
  add_value(app, "--check-every", method.check_every,
            "epochs between checks of all images, 0: one at the end [1]", "M")
      ->group(group);
  app.add_flag("--check-gradient", method.check_gradient,
               "checks certify the gradient too, and --tolerance ends the run")
      ->group(group);
}

}  // namespace

void add_method_options(CLI::App& app, MethodOptions& method, const std::string& subject) {
  const char* group = "Algorithm";
  add_value(
      app, "--algorithm", method.name,
      subject +
          "maid (adaptive accuracies, certified decrease), fixed (the same with fixed accuracies), lbfgsb "
          "(L-BFGS-B, certified decrease), hoag (accuracies by a schedule), inexact-gradient (errors "
          "prescribed and certified), dfo (without gradients, for few parameters)" +
          (method.minibatches ? ", isgd (minibatches), stochastic-maid (minibatches, certified decrease of "
                                "theirs)"
                              : "") +
          ", or unrolled (derivatives of K steps, nothing certified but the end) [" + method.name + "]",
      "NAME")
      ->group(group);
  add_hoag(app, method, group);
  add_inexact_gradient(app, method, group);
  add_dfo(app, method, group);
  add_unrolled(app, method, group);
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
