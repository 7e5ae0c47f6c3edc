#include "apps/denoise/checks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/noise.hpp"
#include "apps/common/text.hpp"
#include "apps/denoise/regulariser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

/// A direction of theta and its name.
struct Direction {
  std::string name;
  Vector d;
};

/// The unit vector of every number; of every array a random direction of norm 1 and the unit vector of one
/// entry, as arrays have too many for all of them.
std::vector<Direction> directions(const Parameters& parameters, const CounterRandom& random) {
  std::vector<Direction> list;
  std::size_t first = 0;
  for (const Segment& s : parameters.segments()) {
    if (!s.learned) continue;
    const std::size_t entry = s.size() > 1 ? random.bits(first) % s.size() : 0;
    Vector unit(parameters.size(), 0.0);
    unit[first + entry] = 1;
    list.push_back({s.name + (s.shape.empty() ? "" : "[" + std::to_string(entry) + "]"), unit});
    if (s.size() > 1) {
      Vector mixed(parameters.size(), 0.0);
      for (std::size_t k = first; k < first + s.size(); ++k) mixed[k] = random.normal_pair(k / 2)[k % 2];
      list.push_back({"all " + s.name, plus(Vector(parameters.size(), 0.0), 1 / norm(mixed), mixed)});
    }
    first += s.size();
  }
  return list;
}

/// Of norm 1, along all.
Vector together(const std::vector<Direction>& list) {
  Vector sum(list.front().d.size(), 0.0);
  for (const Direction& one : list) sum = plus(sum, 1, one.d);
  return plus(Vector(sum.size(), 0.0), 1 / norm(sum), sum);
}

/// The scale of x on which the gradient of a part bends: the smallest smoothing, over the norm of the
/// filters.
double bend(const Parameters& parameters, const Vector& theta, const RegulariserOptions& part,
            const std::string& prefix) {
  if (const auto* tv = std::get_if<TvOptions>(&part))
    return tv->smoothed() ? parameters.value(prefix + "nu", theta) : 1;
  if (!std::holds_alternative<ExpertsOptions>(part)) return parameters.value(prefix + "nu", theta);
  const Vector nu = parameters.values(prefix + "smoothing", theta),
               taps = parameters.values(prefix + "filters", theta);
  const std::size_t area = taps.size() / nu.size();
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < nu.size(); ++k) {
    const auto filter = taps.begin() + static_cast<std::ptrdiff_t>(k * area);
    const double size = norm(Vector(filter, filter + static_cast<std::ptrdiff_t>(area)));
    if (size > 0) least = std::min(least, nu[k] / size);
  }
  return std::isfinite(least) ? least : 1;
}

double bend(const Parameters& parameters, const Vector& theta, const RegulariserSum& sum) {
  double least = 1;
  for (std::size_t k = 0; k < sum.parts.size(); ++k) {
    const double of_part = bend(parameters, theta, sum.parts[k], part_prefix(k));
    least = k == 0 ? of_part : std::min(least, of_part);
  }
  return least;
}

std::vector<Verdict> check_derivatives(Laboratory& lab, const Vector& theta, const Vector& x, const Vector& d,
                                       const std::vector<Direction>& along) {
  const double nu = bend(lab.problem().parameters(), theta, lab.options());
  const auto at = lab.evaluate(theta, x);
  const double slope = dot(at.gradient, d);
  const double scale =
      std::max(std::abs(slope), norm(at.gradient) * norm(d) / std::sqrt(static_cast<double>(d.size())));
  std::vector<Verdict> list;
  // Of a gradient's step 0.1 of the smoothing, of a parameter's 0.1: most are logarithms.
  constexpr double kStep = 0.1;
  const double of_point = std::numeric_limits<double>::epsilon() * norm(x) * norm(at.gradient);
  list.push_back(compare("gradient against differences of the energy", {slope}, scale, 1e-6, kStep * nu,
                         [&](double t) -> Sample {
                           const double value = lab.evaluate(theta, plus(x, t, d)).value;
                           const double terms = std::log2(static_cast<double>(x.size())) + 8;  // a tree
                           return {{value}, rounding(value, terms) + of_point};
                         }));
  const auto gradient = [&](const Vector& parameters, const Vector& point) -> Sample {
    const auto evaluated = lab.evaluate(parameters, point);
    return {evaluated.gradient, evaluated.rounding};
  };
  const Vector product = lab.hessian_product(theta, x, d);
  list.push_back(compare("Hessian product against differences of the gradient", product, norm(product), 1e-5,
                         kStep * nu, [&](double t) { return gradient(theta, plus(x, t, d)); }));
  const Vector adjoint = lab.mixed_adjoint(theta, x, d);
  for (const auto& [name, direction] : along) {
    const Vector column = lab.mixed(theta, x, direction);
    list.push_back(compare(
        "mixed derivative of " + name + " against differences in it", column, norm(column), 1e-6, kStep,
        [&, &direction = direction](double t) { return gradient(plus(theta, t, direction), x); }));
    list.push_back({"adjoint of the mixed derivative of " + name,
                    relative(std::abs(dot(adjoint, direction) - dot(column, d)), norm(column) * norm(d)),
                    1e-12});
  }
  return list;
}

/// f(theta) from reconstructions as exact as they get: a certificate epsilon at the distance r from the truth
/// encloses |xhat - truth|^2/2 to r epsilon + epsilon^2/2.
Sample loss(Laboratory& lab, const Vector& theta, const Vector& truth) {
  constexpr double kFinest = 1e-12;
  const Laboratory::Solved at = lab.solve(theta, kFinest);
  const std::size_t pixels = lab.pixels(), values = lab.shape().image();
  double value = 0, error = 0;
  for (std::size_t i = 0; i < at.certificate.size(); ++i) {
    double square = 0;
    for (std::size_t k = 0; k < pixels; ++k) {
      const double off = at.x[i * values + k] - truth[i * pixels + k];
      square += off * off;
    }
    value += square / 2;
    error += (std::sqrt(square) + at.certificate[i] / 2) * at.certificate[i];
  }
  const double images = lab.shape().n;
  return {{value / images}, (error + rounding(value, static_cast<double>(at.x.size()))) / images};
}
constexpr double kTight = 1e-9, kLoose = 0.1;

/// Reconstructions to kTight with their hypergradient, and to kLoose.
struct Solves {
  Solves(Laboratory& lab, const Vector& theta)
      : exact(lab.solve(theta, kTight)),
        reference(lab.hypergradient(theta, exact, kTight)),
        rough(lab.solve(theta, kLoose)) {}
  Laboratory::Solved exact;
  HypergradientResult reference;
  Laboratory::Solved rough;
};

std::vector<Verdict> check_certificates(Laboratory& lab, const Vector& theta, const Vector& truth,
                                        const std::vector<Direction>& along, const Solves& solves) {
  const auto& [exact, reference, rough] = solves;
  std::vector<Verdict> list;
  const double scale = norm(reference.z);
  for (const auto& [name, direction] : along)
    list.push_back(compare(
        "hypergradient of " + name + " against differences of the loss", {dot(reference.z, direction)}, scale,
        1e-5, 0.1,
        [&, &direction = direction](double t) { return loss(lab, plus(theta, t, direction), truth); },
        reference.omega));
  const std::size_t values = lab.shape().image();
  Verdict worst{"distance to a tight solve against its certificate", 0, 1};
  for (std::size_t i = 0; i < rough.certificate.size(); ++i) {
    double sum = 0;
    for (std::size_t k = i * values; k < (i + 1) * values; ++k)
      sum += (rough.x[k] - exact.x[k]) * (rough.x[k] - exact.x[k]);
    const double ratio = relative(std::sqrt(sum), rough.certificate[i] + exact.certificate[i]);
    if (!(ratio <= worst.measured)) worst.measured = ratio;  // a NaN, too
  }
  list.push_back(worst);
  const Vector& d = along.back().d;
  const HypergradientResult inexact = lab.hypergradient(theta, rough, kLoose, d);
  list.push_back({"error of an inexact hypergradient against its bound",
                  relative(norm(plus(inexact.z, -1, reference.z)), inexact.omega + reference.omega), 1});
  if (const auto& certified = inexact.along)
    list.push_back({"error of an inexact derivative along " + along.back().name + " against its bound",
                    relative(std::abs(certified->slope - dot(reference.z, d)),
                             certified->error + reference.omega * norm(d)),
                    1});
  return list;
}

}  // namespace

Findings run_checks(Context& context, const ImageBatch& batch, const Parameters& parameters,
                    const RegulariserSum& options, std::uint64_t seed, const EnergyMaker& make) {
  Laboratory lab(context, batch, parameters, options, make);
  const Vector theta = parameters.initial();
  Vector start = lab.start();
  Vector direction(start.size(), 0.0);
  const CounterRandom random(seed, Purpose::directions, 0);
  for (std::size_t k = 0; k < direction.size(); ++k) direction[k] = random.normal_pair(k / 2)[k % 2];
  for (std::size_t k = 0; k < start.size(); ++k)  // beside the images, where zeros would check nothing
    if (k % lab.shape().image() >= lab.pixels()) start[k] = 0.1 * direction[start.size() - 1 - k];
  const std::vector<Direction> along = directions(parameters, CounterRandom(seed, Purpose::directions, 1));
  Findings found{check_derivatives(lab, theta, start, direction, along)};
  const auto add = [&found](const std::vector<Verdict>& more) {
    found.verdicts.insert(found.verdicts.end(), more.begin(), more.end());
  };
  if (interrupted()) return found;
  const Solves solves(lab, theta);
  add(check_certificates(lab, theta, batch.clean, along, solves));
  if (interrupted()) return found;
  const Findings methods =
      check_hypergradients(lab, theta, solves.rough, kLoose, solves.reference, together(along));
  add(methods.verdicts);
  found.estimates = methods.estimates;
  found.size = norm(solves.reference.z);
  return found;
}

namespace {

Json json_of(const Estimate& e) {
  Json json{{"method", e.what}};
  const auto add = [&json](const char* name, const std::optional<double>& value) {
    if (value) json[name] = *value;
  };
  add("iterations", e.iterations);
  add("predicted_iterations", e.predicted);
  add("error", e.error);
  add("bound", e.bound);
  add("a_priori_bound", e.a_priori);
  return json;
}

std::string table_of(const std::vector<Estimate>& list) {
  std::vector<std::vector<std::string>> rows{
      {"method", "iterations", "predicted", "error", "bound", "a priori"}};
  const auto cell = [](const char* pattern, const std::optional<double>& value) {
    return value ? format(pattern, *value) : "-";
  };
  for (const Estimate& e : list)
    rows.push_back({e.what, cell("%.0f", e.iterations), cell("%.0f", e.predicted), cell("%.2e", e.error),
                    cell("%.2e", e.bound), cell("%.2e", e.a_priori)});
  return table(rows);
}

}  // namespace

int report_checks(const Findings& found, const ImageBatch& batch, const CommonOptions& o, std::ostream& out,
                  std::ostream& err) {
  constexpr double kCoarse = 0.01;
  const std::vector<Verdict>& list = found.verdicts;
  const auto failed = std::count_if(list.begin(), list.end(), [](const Verdict& v) { return !v.passed(); });
  if (o.json) {
    Json checks = Json::array();
    for (const Verdict& v : list)
      checks.push_back({{"check", v.what},
                        {"measured", v.measured},
                        {"limit", v.limit},
                        {"passed", v.passed()},
                        {"resolution", v.resolution}});
    Json methods = Json::array();
    for (const Estimate& e : found.estimates) methods.push_back(json_of(e));
    out << Json{{"checks", checks},
                {"failed", failed},
                {"hypergradient_norm", found.size},
                {"hypergradients", methods}}
               .dump(2)
        << '\n';
  } else {
    std::vector<std::vector<std::string>> rows{{"check", "measured", "limit", ""}};
    bool coarse = false;
    for (const Verdict& v : list) {
      const bool marked = v.resolution > kCoarse;
      coarse = coarse || marked;
      rows.push_back({v.what, format("%.2e", v.measured), format("%.0e", v.limit),
                      std::string(v.passed() ? "PASS" : "FAIL") + (marked ? "*" : "")});
    }
    out << table(rows)
        << format(
               "Relative errors, and ratios of error to bound; %d image(s) of %d x %d pixels, seed %llu.\n",
               batch.images, batch.size, batch.size, static_cast<unsigned long long>(o.seed));
    if (!found.estimates.empty())
      out << '\n'
          << table_of(found.estimates)
          << format(
                 "Error: distance from the hypergradient of tight solves, of norm %.2e; its bounds by what "
                 "was measured and by what was known before; iterations of the image that takes most.\n",
                 found.size);
    if (coarse) out << "* The differences themselves are less exact than 1 % of the derivative.\n";
  }
  if (failed == 0) return exit_ok;
  err << "bilevel-denoise: " << failed << " of " << list.size()
      << " checks failed; the table has the numbers.\n";
  return exit_numerical;
}

}  // namespace bilevel_app::denoise
