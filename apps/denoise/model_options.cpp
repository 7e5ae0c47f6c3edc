#include "apps/denoise/model_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

using Names = std::vector<std::string>;

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string joined(const Names& names, const char* last) {
  std::string text = names.front();
  for (std::size_t k = 1; k < names.size(); ++k) text += (k + 1 == names.size() ? last : ", ") + names[k];
  return text;
}

struct NamedValue {
  std::string name, text;
  double value;
};

/// The pairs of --init. Throws ConfigError for a name outside `known`.
std::vector<NamedValue> first_values(const Names& init, const Names& known) {
  std::vector<NamedValue> values;
  for (const std::string& text : init) {
    const std::size_t equals = text.find('=');
    double value = 0;
    const char* end = text.data() + text.size();
    if (equals == std::string::npos)
      throw ConfigError("--init " + text + ": write NAME=VALUE, for example alpha=0.05.");
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, value);
    if (error != std::errc() || stop != end || !std::isfinite(value))
      throw ConfigError("--init " + text + ": the value is no number.");
    const std::string name = text.substr(0, equals);
    if (!contains(known, name))
      throw ConfigError("--init " + name + ": the first values of this model are called " +
                        joined(known, " and ") + ".");
    values.push_back({name, text, value});
  }
  return values;
}

Segment& find(std::vector<Segment>& segments, const std::string& name) {
  return *std::find_if(segments.begin(), segments.end(), [&](const Segment& s) { return s.name == name; });
}

void require_within(const NamedValue& v, const Segment& s) {
  if (v.value < s.lower || v.value > s.upper)
    throw ConfigError("--init " + v.text + ": the value must be between " + option_text(s.lower) + " and " +
                      option_text(s.upper) + ".");
}

void mark_learned(std::vector<Segment>& segments, const Names& learn, const Names& known) {
  for (const std::string& name : learn)
    if (!contains(known, name))
      throw ConfigError("--learn " + name + ": the model has the parameters " + joined(known, " and ") + ".");
  for (Segment& s : segments) s.learned = contains(learn, s.name);
}

/// First weight and smoothing of the filters: learned anisotropic total variation on photographs at noise
/// 0.1, or values of its order for filters of norm 1.
struct FilterStart {
  FilterInit init;
  double alpha, nu;
};
FilterStart filter_start(const std::string& name) {
  if (name == "tv") return {FilterInit::tv, 0.055, 0.0066};
  if (name == "dct") return {FilterInit::dct, 0.03, 0.05};
  return {FilterInit::random, 0.05, 0.03};
}

}  // namespace

std::vector<std::string> ModelOptions::learned_names() const {
  if (!learn.empty()) return learn;
  if (experts()) return {"weight", "smoothing", "filters"};
  Names names;
  const Parameters usual = tv_parameters(regulariser_options(type));
  for (const Segment& s : usual.segments())
    if (s.learned) names.push_back(s.name);
  return names;
}

RegulariserOptions ModelOptions::regulariser() const {
  const TvPotential rho = potential_from(potential.value_or("charbonnier"));
  const auto refuse = [this](bool given, const char* option, const char* owner) {
    if (given)
      throw ConfigError(std::string(option) + " is an option of the model " + owner + ", not of " + type +
                        "; leave it out.");
  };
  if (!experts()) {
    refuse(filters.has_value(), "--filters", "foe");
    refuse(filter_size.has_value(), "--filter-size", "foe");
    refuse(padding.has_value(), "--padding", "foe");
    refuse(filter_init.has_value(), "--filter-init", "foe");
    refuse(free_mean, "--free-mean", "foe");
    TvOptions options = regulariser_options(type, rho);
    if (potential && !options.smoothed())
      throw ConfigError("--potential is no option of the model " + type +
                        ", which is quadratic; leave it out.");
    options.xi_inside_alpha = xi_inside_alpha;
    return options;
  }
  refuse(xi_inside_alpha, "--xi-inside-alpha", "tv");
  return ExpertsOptions{padding_from(padding.value_or("symmetric")), rho, !free_mean};
}

Parameters ModelOptions::parameters(std::uint64_t seed) const {
  static_cast<void>(regulariser());
  return experts() ? experts_start(seed) : tv_start();
}

Parameters ModelOptions::tv_start() const {
  std::vector<Segment> segments = tv_parameters(regulariser_options(type)).segments();
  Names known;
  for (const Segment& s : segments) known.push_back(s.name);
  mark_learned(segments, learned_names(), known);
  for (const NamedValue& v : first_values(init, known)) {
    Segment& s = find(segments, v.name);
    require_within(v, s);
    s.initial = v.value;
  }
  return Parameters(segments);
}

Parameters ModelOptions::experts_start(std::uint64_t seed) const {
  const int count = filters.value_or(30);
  if (count < 1 || count > 64)
    throw ConfigError("--filters " + std::to_string(count) + ": a field of experts has 1 to 64 filters.");
  if (size() % 2 == 0 || size() < 3 || size() > 11)
    throw ConfigError("--filter-size " + std::to_string(size()) + ": use 3, 5, 7, 9 or 11.");
  const std::string kind = filter_init.value_or("tv");
  require_one_of(kind, "--filter-init", {"tv", "dct", "random"});
  FilterStart start = filter_start(kind);
  std::vector<Segment> segments =
      experts_parameters(count, size(), start.init, start.alpha, start.nu, seed).segments();
  double mu = find(segments, "mu").initial;
  for (const NamedValue& v : first_values(init, {"alpha", "nu", "mu"})) {
    require_within(v, find(segments, v.name == "alpha" ? "weight" : v.name == "nu" ? "smoothing" : "mu"));
    (v.name == "alpha" ? start.alpha : v.name == "nu" ? start.nu : mu) = v.value;
  }
  segments = experts_parameters(count, size(), start.init, start.alpha, start.nu, seed).segments();
  find(segments, "mu").initial = mu;
  mark_learned(segments, learned_names(), {"weight", "smoothing", "filters"});
  return Parameters(segments);
}

std::vector<NamedOption> ModelOptions::deciding(std::uint64_t seed) const {
  const std::vector<Segment> segments = parameters(seed).segments();
  std::string names;
  for (const std::string& name : learned_names()) names += (names.empty() ? "" : ",") + name;
  std::vector<NamedOption> list{{"model", type}};
  if (experts() || regulariser_options(type).smoothed())
    list.emplace_back("potential", potential.value_or("charbonnier"));
  if (!experts()) {
    list.insert(list.end(), {{"xi-inside-alpha", xi_inside_alpha}, {"learn", names}});
    for (const Segment& s : segments) list.emplace_back("init " + s.name, s.initial);
    return list;
  }
  list.insert(list.end(), {{"filters", static_cast<std::int64_t>(filters.value_or(30))},
                           {"filter-size", static_cast<std::int64_t>(size())},
                           {"padding", padding.value_or("symmetric")},
                           {"filter-init", filter_init.value_or("tv")},
                           {"free-mean", free_mean},
                           {"learn", names}});
  for (const Segment& s : segments)
    if (s.name != "filters")
      list.emplace_back("init " + (s.name == "weight"      ? std::string("alpha")
                                   : s.name == "smoothing" ? std::string("nu")
                                                           : s.name),
                        s.initial_values()[0]);
  return list;
}

void add_model_options(CLI::App& app, ModelOptions& o, const char* type_option) {
  const char* group = "Model";
  const auto add = [&](const char* name, auto& value, const char* text, const char* type) {
    return add_value(app, name, value, text, type)->group(group);
  };
  add(type_option, o.type, (regulariser_choice() + ", foe (field of experts) [tv]").c_str(), "NAME");
  add("--potential", o.potential, "charbonnier or huber_c2; not of h1 and tikhonov [charbonnier]", "NAME");
  app.add_flag("--xi-inside-alpha", o.xi_inside_alpha,
               "alpha (R + xi/2 |x|^2) instead of alpha R + xi/2 |x|^2; not of foe")
      ->group(group);
  add("--filters", o.filters, "foe: number of filters, 1 to 64 [30]", "N");
  add("--filter-size", o.filter_size, "foe: size of the filters, 3, 5, 7, 9 or 11 [7]", "N");
  add("--padding", o.padding,
      "foe: symmetric (images reflected about their edges) or valid (filters inside the image only) "
      "[symmetric]",
      "NAME");
  add("--filter-init", o.filter_init,
      "foe: first filters, tv (two differences, and a cosine basis nearly switched off), dct (cosine basis) "
      "or random [tv]",
      "NAME");
  app.add_flag("--free-mean", o.free_mean, "foe: filters with a mean [the mean is subtracted]")->group(group);
  add("--learn", o.learn,
      "parameters to learn, the others stay fixed: of alpha, nu (not of h1 and tikhonov), xi [alpha,nu]; "
      "foe: of weight, "
      "smoothing, filters [all]",
      "NAMES")
      ->delimiter(',');
  add("--init", o.init,
      "first value of a parameter, repeatable [alpha=0.05 (tv2 0.02, h1 1, tikhonov 0.1) nu=0.01 xi=0.001]; "
      "foe: alpha of the "
      "weights, nu of the smoothings, mu [alpha=0.055 nu=0.0066 mu=0.001]",
      "NAME=VALUE")
      ->expected(1)
      ->take_all();
}

}  // namespace bilevel_app::denoise
