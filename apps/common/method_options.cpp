#include "apps/common/method_options.hpp"

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"

namespace bilevel_app {

using bilevel::ConfigError;

namespace {

/// An option that only one method has must not stand beside another one.
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

}  // namespace

void add_method_options(CLI::App& app, MethodOptions& method, const std::string& subject) {
  const char* group = "Algorithm";
  add_value(
      app, "--algorithm", method.name,
      subject +
          "maid (adaptive accuracies, certified decrease), fixed (the same with fixed accuracies), lbfgsb "
          "(L-BFGS-B, certified decrease), or hoag (accuracies by a schedule) [" +
          method.name + "]",
      "NAME")
      ->group(group);
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

void validate(const MethodOptions& method, const bilevel::UpperOptions& upper) {
  require_one_of(method.name, "--algorithm", {"maid", "fixed", "lbfgsb", "hoag"});
  require_only(method, "hoag", "--schedule", method.schedule);
  require_only(method, "hoag", "--compat", method.compat);
  if (method.compat) require_one_of(*method.compat, "--compat", {"hoag"});
  if (method.schedule)
    require_one_of(*method.schedule, "--schedule", {"quadratic", "cubic", "geometric", "exact"});
  static_cast<void>(make_optimiser<double>(method, upper));
}

void append_deciding(std::vector<bilevel::NamedOption>& list, const MethodOptions& method) {
  list.emplace_back("algorithm", method.name);
  if (method.name != "hoag") return;
  list.emplace_back("schedule", method.schedule.value_or("quadratic"));
  list.emplace_back("compat", method.compat.value_or("none"));
}

template <class T>
std::unique_ptr<bilevel::UpperOptimiser<T>> make_optimiser(const MethodOptions& method,
                                                           const bilevel::UpperOptions& upper) {
  if (method.name == "lbfgsb") return bilevel::make_lbfgsb<T>(upper);
  if (method.name == "hoag") return bilevel::make_hoag<T>(hoag_options(method, upper), upper);
  bilevel::UpperOptions maid = upper;
  maid.schedule.fixed_accuracy = method.fixed_accuracy();
  return bilevel::make_maid<T>(maid);
}
template std::unique_ptr<bilevel::UpperOptimiser<float>> make_optimiser(const MethodOptions&,
                                                                        const bilevel::UpperOptions&);
template std::unique_ptr<bilevel::UpperOptimiser<double>> make_optimiser(const MethodOptions&,
                                                                         const bilevel::UpperOptions&);

}  // namespace bilevel_app
