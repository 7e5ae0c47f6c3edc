#include "apps/experiments/registry.hpp"

#include <algorithm>
#include <cctype>

#include "bilevel/core/error.hpp"

namespace bilevel_app::experiments {

namespace {

/// "E1, E2, ..., E14 or all".
std::string known() {
  std::string text;
  for (const Experiment& e : experiments()) text += (text.empty() ? "" : ", ") + e.id;
  return text + " or all";
}

const Experiment& named(const std::string& name) {
  std::string id = name;
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) { return std::toupper(c); });
  for (const Experiment& e : experiments())
    if (e.id == id) return e;
  throw bilevel::ConfigError("the experiment '" + name + "' is unknown; use " + known() +
                             " (see bilevel-experiments list).");
}

}  // namespace

const std::vector<Experiment>& experiments() {
  static const std::vector<Experiment> all{error_sequences(),  quadratic_problem(),  least_squares_bounds(),
                                           hypercleaning(),    two_parameters(),     field_of_experts(),
                                           one_parameter(),    three_parameters(),   three_parameters_2d(),
                                           sampling_weights(), sampling_patterns(),  generalised_variation(),
                                           regularisers(),     logistic_regression()};
  return all;
}

std::vector<Experiment> chosen(const std::vector<std::string>& names) {
  std::vector<Experiment> out;
  const auto add = [&out](const Experiment& e) {
    if (std::none_of(out.begin(), out.end(), [&](const Experiment& o) { return o.id == e.id; }))
      out.push_back(e);
  };
  for (const std::string& name : names) {
    if (name == "all")
      for (const Experiment& e : experiments()) add(e);
    else
      add(named(name));
  }
  return out;
}

}  // namespace bilevel_app::experiments
