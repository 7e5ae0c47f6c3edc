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
#include "apps/denoise/differences.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;
using Json = nlohmann::ordered_json;
using Vector = std::vector<double>;

namespace {

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}
double norm(const Vector& a) { return std::sqrt(dot(a, a)); }
Vector plus(Vector a, double t, const Vector& b) {
  for (std::size_t k = 0; k < a.size(); ++k) a[k] += t * b[k];
  return a;
}
/// error/scale; nothing is wrong where the error is 0, whatever the scale.
double relative(double error, double scale) { return error == 0 ? 0 : error / scale; }

/// The rounding of n positive terms and of the sum of them.
double rounding(double sum, double terms) {
  return (terms + 2) * std::numeric_limits<double>::epsilon() * sum;
}

/// Whether a derivative agrees with differences of `f` up to `limit` of the scale and the error of the
/// differences, which is found without a look at the derivative.
Verdict compare(const std::string& what, const Vector& derivative, double scale, double limit, double step,
                const std::function<Sample(double)>& f, double derivative_error = 0) {
  const Difference d = differentiate(f, step, 0.1 * limit * scale);
  const double error = d.error + derivative_error;
  if (!std::isfinite(error)) return {what, std::numeric_limits<double>::quiet_NaN(), limit};
  const double off = norm(plus(d.value, -1, derivative));
  return {what, relative(off, scale + error / limit), limit, off == 0 ? 0 : error / scale};
}

/// The lower level and its derivatives as functions of host arrays.
class Laboratory {
 public:
  Laboratory(Context& context, const ImageBatch& batch, const Parameters& parameters,
             const RegulariserSum& options, const EnergyMaker& make)
      : context_(context),
        options_(options),
        truth_(context, batch.shape(), batch.clean),
        noisy_(context, truth_.shape(), batch.noisy),
        problem_(make ? make(context, noisy_.view())
                      : make_energy<double>(context, noisy_.view(), parameters, options, batch.mask, false),
                 truth_.view(), parameters),
        shape_(energy().shape()),
        x_(context, shape_) {}

  const BilevelProblem<double>& problem() const { return problem_; }
  Energy<double>& energy() const { return problem_.energy(); }
  const RegulariserSum& options() const { return options_; }
  const Shape& shape() const { return shape_; }  ///< of the unknown
  std::size_t pixels() const { return truth_.shape().image(); }
  /// The noisy images as an unknown.
  Vector start() { return download(context_, start_from<double>(context_, noisy_.view(), shape_)); }

  struct Evaluated {
    double value = 0;
    Vector gradient;
    double rounding = 0;  ///< bound on that of the gradient
  };
  /// sum_i Phi_i and the gradients.
  Evaluated evaluate(const Vector& theta, const Vector& x) {
    const Scratch s(*this, theta, x);
    Frame frame(context_);
    const View<double> gradient = frame.view<double>(shape_);
    const GradientSums sums{scalars(frame), scalars(frame), scalars(frame)};
    energy().value_and_gradient(context_, s.active.active(), x_.view(), gradient, sums);
    Evaluated result;
    for (const double v : fetch(context_, sums.value).wait(context_)) result.value += v;
    result.gradient = download(context_, gradient);
    result.rounding = norm(fetch(context_, sums.rounding).wait(context_));
    return result;
  }
  Vector hessian_product(const Vector& theta, const Vector& x, const Vector& d) {
    const Scratch s(*this, theta, x);
    Frame frame(context_);
    const View<double> weights =
        frame.view<double>({shape_.n * energy().weight_arrays(), shape_.c, shape_.h, shape_.w});
    const View<double> inverse = frame.view<double>(shape_), product = frame.view<double>(shape_);
    const Tensor<double> direction(context_, shape_, d);
    energy().linearise(context_, s.active.active(), x_.view(), {}, weights, inverse);
    energy().hessian_product(context_, s.active.active(), weights, direction.view(), product, scalars(frame));
    return download(context_, product);
  }
  /// B direction.
  Vector mixed(const Vector& theta, const Vector& x, const Vector& direction) {
    const Scratch s(*this, theta, x);
    Frame frame(context_);
    const View<double> product = frame.view<double>(shape_);
    energy().mixed_forward(context_, s.active.active(), x_.view(), direction, product, scalars(frame));
    return download(context_, product);
  }
  /// B^T q, summed over the images.
  Vector mixed_adjoint(const Vector& theta, const Vector& x, const Vector& q) {
    const Scratch s(*this, theta, x);
    Frame frame(context_);
    const View<double> sums = frame.view<double>({energy().mixed_sums(), shape_.n, 1, 1});
    const Tensor<double> field(context_, shape_, q);
    energy().mixed_adjoint(context_, s.active.active(), x_.view(), field.view(), sums);
    const Vector per_image = energy().mixed(fetch(context_, sums).wait(context_));
    Vector sum(theta.size(), 0.0);
    for (std::size_t k = 0; k < per_image.size(); ++k) sum[k % theta.size()] += per_image[k];
    return sum;
  }

  struct Solved {
    Vector x, certificate;
  };
  /// Reconstructions with certificates, from the noisy images.
  Solved solve(const Vector& theta, double tolerance) {
    energy().bind(theta);
    x_ = start_from<double>(context_, noisy_.view(), shape_);
    SolveRequest<double> request;
    request.tolerance = tolerance;
    const SolveReport report = make_minimiser<double>(lower_solver("auto", options_))
                                   ->minimise(context_, energy(), request, x_.view());
    if (report.status == SolveStatus::failed) throw Error(report.message);
    return {download(context_, x_), report.certificate};
  }
  /// z and its bound at solved reconstructions; along a direction of theta too, unless that is empty.
  HypergradientResult hypergradient(const Vector& theta, const Solved& at, double delta,
                                    const Vector& direction = {}) {
    energy().bind(theta);
    x_.upload(context_, at.x);
    ImplicitHypergradient<double> gradient(context_, problem_, linear_solver("auto", options_));
    HypergradientRequest request;
    request.delta = delta;
    request.column_tolerance = delta;
    if (!direction.empty())
      request.direction = [&](const HypergradientResult&, const auto&) { return direction; };
    HypergradientResult result = gradient.compute(context_, theta, x_.view(), at.certificate, request);
    if (result.status == SolveStatus::failed) throw Error(result.message);
    return result;
  }

 private:
  /// Binds theta, uploads x, activates every image.
  struct Scratch {
    Scratch(Laboratory& lab, const Vector& theta, const Vector& x)
        : frame(lab.context_), active(lab.context_, frame, lab.shape_.n) {
      lab.energy().bind(theta);
      lab.x_.upload(lab.context_, x);
    }
    Frame frame;
    ActiveSet active;
  };
  Scalars scalars(Frame& frame) const { return frame.view<double>({shape_.n, 1, 1, 1}); }

  Context& context_;
  RegulariserSum options_;
  Tensor<double> truth_, noisy_;
  BilevelProblem<double> problem_;
  Shape shape_;
  Tensor<double> x_;
};

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
  const auto [x, certificate] = lab.solve(theta, kFinest);
  const std::size_t pixels = lab.pixels(), values = lab.shape().image();
  double value = 0, error = 0;
  for (std::size_t i = 0; i < certificate.size(); ++i) {
    double square = 0;
    for (std::size_t k = 0; k < pixels; ++k) {
      const double off = x[i * values + k] - truth[i * pixels + k];
      square += off * off;
    }
    value += square / 2;
    error += (std::sqrt(square) + certificate[i] / 2) * certificate[i];
  }
  const double images = lab.shape().n;
  return {{value / images}, (error + rounding(value, static_cast<double>(x.size()))) / images};
}

std::vector<Verdict> check_certificates(Laboratory& lab, const Vector& theta, const Vector& truth,
                                        const std::vector<Direction>& along) {
  constexpr double tight = 1e-9, loose = 0.1;
  const auto exact = lab.solve(theta, tight);
  const HypergradientResult reference = lab.hypergradient(theta, exact, tight);
  std::vector<Verdict> list;
  const double scale = norm(reference.z);
  for (const auto& [name, direction] : along)
    list.push_back(compare(
        "hypergradient of " + name + " against differences of the loss", {dot(reference.z, direction)}, scale,
        1e-5, 0.1,
        [&, &direction = direction](double t) { return loss(lab, plus(theta, t, direction), truth); },
        reference.omega));
  const auto rough = lab.solve(theta, loose);
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
  const HypergradientResult inexact = lab.hypergradient(theta, rough, loose, d);
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

std::vector<Verdict> run_checks(Context& context, const ImageBatch& batch, const Parameters& parameters,
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
  std::vector<Verdict> list = check_derivatives(lab, theta, start, direction, along);
  if (interrupted()) return list;
  const std::vector<Verdict> more = check_certificates(lab, theta, batch.clean, along);
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

int report_checks(const std::vector<Verdict>& list, const ImageBatch& batch, const CommonOptions& o,
                  std::ostream& out, std::ostream& err) {
  constexpr double kCoarse = 0.01;
  const auto failed = std::count_if(list.begin(), list.end(), [](const Verdict& v) { return !v.passed(); });
  if (o.json) {
    Json checks = Json::array();
    for (const Verdict& v : list)
      checks.push_back({{"check", v.what},
                        {"measured", v.measured},
                        {"limit", v.limit},
                        {"passed", v.passed()},
                        {"resolution", v.resolution}});
    out << Json{{"checks", checks}, {"failed", failed}}.dump(2) << '\n';
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
    if (coarse) out << "* The differences themselves are less exact than 1 % of the derivative.\n";
  }
  if (failed == 0) return exit_ok;
  err << "bilevel-denoise: " << failed << " of " << list.size()
      << " checks failed; the table has the numbers.\n";
  return exit_numerical;
}

}  // namespace bilevel_app::denoise
