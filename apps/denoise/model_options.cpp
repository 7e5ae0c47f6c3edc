#include "apps/denoise/model_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/common/add_option.hpp"
#include "apps/common/option_support.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/regulariser_text.hpp"
#include "apps/denoise/regulariser.hpp"
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

void require_within(const NamedValue& v, const Segment& s) {
  if (v.value < s.lower || v.value > s.upper)
    throw ConfigError("--init " + v.text + ": the value must be between " + option_text(s.lower) + " and " +
                      option_text(s.upper) + ".");
}

/// The name under which --init knows a parameter; empty: none.
std::string init_name(const std::string& name) {
  const std::size_t base = name.find('.') + 1;  // of the first part 0
  const std::string of = name.substr(base);
  if (of == "filters") return {};
  return name.substr(0, base) + (of == "weight" ? "alpha" : of == "smoothing" ? "nu" : of);
}

Names init_names(const std::vector<Segment>& segments) {
  Names names;
  for (const Segment& s : segments)
    if (const std::string name = init_name(s.name); !name.empty()) names.push_back(name);
  return names;
}

Segment& named_by_init(std::vector<Segment>& segments, const std::string& name) {
  return *std::find_if(segments.begin(), segments.end(),
                       [&](const Segment& s) { return init_name(s.name) == name; });
}

void mark_learned(std::vector<Segment>& segments, const Names& learn) {
  if (learn.empty()) return;
  Names known;
  for (const Segment& s : segments)
    if (s.name != "mu") known.push_back(s.name);
  for (const std::string& name : learn)
    if (!contains(known, name))
      throw ConfigError("--learn " + name + ": the model has the parameters " + joined(known, " and ") + ".");
  for (Segment& s : segments) s.learned = contains(learn, s.name);
}

/// In the order of --learn.
Names learned_names(const std::vector<Segment>& segments, const Names& learn) {
  if (!learn.empty()) return learn;
  Names names;
  for (const Segment& s : segments)
    if (s.learned) names.push_back(s.name);
  return names;
}

/// First weight and smoothing of the filters: learned anisotropic total variation on photographs at noise
/// 0.1, or values of its order for filters of norm 1.
struct FilterStart {
  FilterInit init = FilterInit::tv;
  double alpha = 0.055, nu = 0.0066;
};
FilterStart filter_start(const std::string& name) {
  if (name == "tv") return {};
  if (name == "dct") return {FilterInit::dct, 0.03, 0.05};
  return {FilterInit::random, 0.05, 0.03};
}

void require_filters(const ModelOptions& o) {
  const int count = o.filters.value_or(30);
  if (count < 1 || count > 64)
    throw ConfigError("--filters " + std::to_string(count) + ": a field of experts has 1 to 64 filters.");
  if (o.size() % 2 == 0 || o.size() < 3 || o.size() > 11)
    throw ConfigError("--filter-size " + std::to_string(o.size()) + ": use 3, 5, 7, 9 or 11.");
  require_one_of(o.filter_init.value_or("tv"), "--filter-init", {"tv", "dct", "random"});
}

/// Of all parts, with their usual values but those of the filters.
std::vector<Segment> segments_of(const ModelOptions& o, const FilterStart& start, std::uint64_t seed) {
  std::vector<Parameters> parts;
  for (const RegulariserOptions& part : o.regularisers().parts) {
    const bool experts = std::holds_alternative<ExpertsOptions>(part);
    parts.push_back(experts ? experts_parameters(o.filters.value_or(30), o.size(), start.init, start.alpha,
                                                 start.nu, seed)
                            : regulariser_parameters(part));
  }
  return joined_parameters(parts).segments();
}

/// Of a kind of regulariser.
template <class Kind>
bool has(const RegulariserSum& sum) {
  return std::any_of(sum.parts.begin(), sum.parts.end(),
                     [](const auto& part) { return std::holds_alternative<Kind>(part); });
}
bool of_differences(const RegulariserOptions& part) { return std::holds_alternative<TvOptions>(part); }
bool smoothed(const RegulariserOptions& part) { return catalogue_entry(part).smoothed(); }

// What the options make of the usual ones of a kind.
void put(const ModelOptions&, TvOptions&) {}
void put(const ModelOptions&, TgvOptions&) {}
void put(const ModelOptions& o, ExpertsOptions& options) {
  options.padding = padding_from(o.padding.value_or("symmetric"));
  options.zero_mean = !o.free_mean;
}
void put(const ModelOptions&, WaveletSparsity&) {}
void put(const ModelOptions&, DirectionalTv&) {}

/// Throws ConfigError for an option that was given without a part of its kind.
void require_owner(const ModelOptions& o, bool has, const RegulariserOptions& owner,
                   std::initializer_list<std::pair<const char*, bool>> options) {
  for (const auto& [option, given] : options)
    if (given && !has)
      throw ConfigError(std::string(option) + " is an option of the model " + regulariser_name(owner) +
                        ", not of " + o.type + "; leave it out.");
}

}  // namespace

RegulariserSum ModelOptions::regularisers() const {
  std::vector<RegulariserOptions> parts;
  const TvPotential rho = potential_from(potential.value_or("charbonnier"));
  for (const std::string& name : regulariser_parts(type)) parts.push_back(regulariser_options(name, rho));
  RegulariserSum sum(std::move(parts));
  require_owner(*this, has<ExpertsOptions>(sum), ExpertsOptions{},
                {{"--filters", filters.has_value()},
                 {"--filter-size", filter_size.has_value()},
                 {"--padding", padding.has_value()},
                 {"--filter-init", filter_init.has_value()},
                 {"--free-mean", free_mean}});
  require_one_of(colour, "--colour", {"luma", "coupled"});
  if (channels() == 3 && !std::all_of(sum.parts.begin(), sum.parts.end(), takes_colour))
    throw ConfigError("--colour coupled is for the models tv and h1 (and tikhonov), not for " + type +
                      ", which denoises channel by channel; take one of them, or leave it out.");
  choose_edge_eta(sum, eta, type);
  choose(sum, type);
  if (potential && std::none_of(sum.parts.begin(), sum.parts.end(), smoothed))
    throw ConfigError("--potential is no option of the model " + type +
                      ", which is quadratic; leave it out.");
  require_owner(*this, of_differences(sum.parts.front()), TvOptions{},
                {{"--xi-inside-alpha", xi_inside_alpha}});
  for (RegulariserOptions& part : sum.parts) std::visit([this](auto& options) { put(*this, options); }, part);
  if (auto* first = std::get_if<TvOptions>(&sum.parts.front())) first->xi_inside_alpha = xi_inside_alpha;
  return sum;
}

Parameters ModelOptions::parameters(std::uint64_t seed) const {
  const auto foe = experts_part(regularisers());
  if (foe) require_filters(*this);
  FilterStart start = filter_start(filter_init.value_or("tv"));
  std::vector<Segment> segments = segments_of(*this, start, seed);
  const std::vector<NamedValue> values = first_values(init, init_names(segments));
  for (const NamedValue& v : values) {
    require_within(v, named_by_init(segments, v.name));
    if (foe && v.name == foe->prefix + "alpha") start.alpha = v.value;
    if (foe && v.name == foe->prefix + "nu") start.nu = v.value;
  }
  segments = segments_of(*this, start, seed);
  for (const NamedValue& v : values)
    if (Segment& s = named_by_init(segments, v.name); s.shape.empty()) s.initial = v.value;
  mark_learned(segments, learn);
  return Parameters(segments);
}

std::vector<NamedOption> ModelOptions::deciding(std::uint64_t seed) const {
  const RegulariserSum sum = regularisers();
  const std::vector<Segment> segments = parameters(seed).segments();
  std::vector<NamedOption> list{{"model", type}};
  if (channels() != 1) list.emplace_back("colour", colour);  // earlier runs do not name it
  if (std::any_of(sum.parts.begin(), sum.parts.end(), smoothed))
    list.emplace_back("potential", potential.value_or("charbonnier"));
  if (of_differences(sum.parts.front())) list.emplace_back("xi-inside-alpha", xi_inside_alpha);
  append_deciding(list, sum);
  append_edge_eta(list, sum);
  if (has<ExpertsOptions>(sum))
    list.insert(list.end(), {{"filters", static_cast<std::int64_t>(filters.value_or(30))},
                             {"filter-size", static_cast<std::int64_t>(size())},
                             {"padding", padding.value_or("symmetric")},
                             {"filter-init", filter_init.value_or("tv")},
                             {"free-mean", free_mean}});
  std::string names;
  for (const std::string& name : learned_names(segments, learn)) names += (names.empty() ? "" : ",") + name;
  list.emplace_back("learn", names);
  for (const Segment& s : segments)
    if (const std::string name = init_name(s.name); !name.empty())
      list.emplace_back("init " + name, s.initial_values()[0]);
  return list;
}

std::string keeping_options(const Parameters& parameters, const Names& names) {
  std::string learn;
  for (const Segment& s : parameters.segments())
    if (s.learned && !contains(names, s.name)) learn += (learn.empty() ? "" : ",") + s.name;
  return learn.empty() || names.empty() ? ""
                                        : "--learn " + learn + " --init " + init_name(names[0]) + "=VALUE";
}

std::string smoothing_options(const Parameters& parameters) {
  Names learned, fixed;
  for (const Segment& s : parameters.segments())
    if (const std::string name = init_name(s.name); name == "nu" || name.ends_with(".nu"))
      (s.learned ? learned : fixed).push_back(s.name);
  if (const std::string keep = keeping_options(parameters, learned); !keep.empty())
    return keep + ", or --tolerance";
  return (fixed.empty() ? "" : "--init " + init_name(fixed[0]) + "=VALUE, or ") + std::string("--tolerance");
}

void add_model_options(CLI::App& app, ModelOptions& o, const char* type_option) {
  const char* group = "Model";
  const auto add = [&](const char* name, auto& value, const char* text, const char* type) {
    return add_value(app, name, value, text, type)->group(group);
  };
  add(type_option, o.type,
      (regulariser_choice() + ", or a sum of them, such as tv+h1, the first with the ridge [tv]").c_str(),
      "NAME");
  add("--colour", o.colour, "luma, or coupled: all channels together (tv, h1) [luma]", "NAME");
  add("--potential", o.potential,
      ("charbonnier or huber_c2; not of " + quadratic_names() + " [charbonnier]").c_str(), "NAME");
  app.add_flag(
         "--xi-inside-alpha", o.xi_inside_alpha,
         "alpha (R + xi/2 |x|^2) instead of alpha R + xi/2 |x|^2, of the first part of a sum; not of foe and "
         "tgv2")
      ->group(group);
  add_wavelet_options(app, o, group);
  add_edge_eta(app, o.eta)->group(group);
  add("--filters", o.filters, "foe: number of filters, 1 to 64 [30]", "N");
  add("--filter-size", o.filter_size, "foe: size of the filters, 3, 5, 7, 9 or 11 [7]", "N");
  add("--padding", o.padding,
      "foe: symmetric (images reflected about their edges) or valid (filters inside the image only) "
      "[symmetric]",
      "NAME");
  add("--filter-init", o.filter_init,
      "foe: first filters, tv (two differences, and a cosine basis nearly off), dct (cosine basis) "
      "or random [tv]",
      "NAME");
  app.add_flag("--free-mean", o.free_mean, "foe: filters with a mean [the mean is subtracted]")->group(group);
  add("--learn", o.learn,
      ("parameters to learn, the others stay fixed: of alpha, nu (not of " + quadratic_names() +
       "), xi [alpha,nu]; tgv2: of alpha1, alpha0, nu, xi, xi_v [alpha1,alpha0]; foe: of weight, "
       "smoothing, filters [all]; of the second part of a sum 2.alpha, 2.nu, ...")
          .c_str(),
      "NAMES")
      ->delimiter(',');
  add("--init", o.init,
      ("first value of a parameter, repeatable [" + first_weights() +
       " nu=0.01 xi=0.001]; tgv2: [alpha1=0.05 alpha0=0.1 nu=0.002 xi=0.001 xi_v=0.001]; foe: alpha of the "
       "weights, nu of the smoothings, mu [alpha=0.055 nu=0.0066 mu=0.001]")
          .c_str(),
      "NAME=VALUE")
      ->expected(1)
      ->take_all();
}

}  // namespace bilevel_app::denoise
