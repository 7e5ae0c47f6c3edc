// E1: the weight of total variation of a sampled signal, learned by gradient steps whose errors are
// prescribed: with the constants of the published script and with certified ones, and how tight the bounds
// are.

#include <algorithm>
#include <cmath>

#include "apps/common/text.hpp"
#include "apps/experiments/capped_solver.hpp"
#include "apps/experiments/measured_run.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/sampled_signal.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/inexact_gradient.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr int kLength = 64, kSeen = 32;
constexpr int kScanned = 20, kMost = 200;   ///< draws that are scanned in any case, and at most
constexpr double kSmoothing = 1e-3;         ///< nu = xi
constexpr double kPublishedWeight = 0.043;  ///< alpha of one draw
constexpr double kStop = 1e-4;              ///< of |z|^2, of the published script
constexpr double kScale = 1e12;             ///< of the published errors, in their script

/// A sequence of errors, and the iterations that are published of it.
struct Sequence {
  const char* name;
  ErrorSequence kind;
  double error0, lower, linear;
};
constexpr Sequence kSequences[] = {{"constant 200", ErrorSequence::constant, 200, 43300, 28528},
                                   {"constant 0.01", ErrorSequence::constant, 1e-2, 416746, 22121},
                                   {"200/(k+1)", ErrorSequence::harmonic, 200, 67766, 23396},
                                   {"200 10^(-k/4)", ErrorSequence::exponential, 200, 295492, 23241}};
enum : std::size_t { kLarge, kSmall, kHarmonic, kExponential, kAll };

/// A draw and the optimum of its scan.
struct Draw {
  SampledSignal signal;
  Scan scanned;
  int minima = 0;  ///< local ones on the scan, its ends included
  double alpha() const { return std::pow(10, scanned.minimiser); }
};

Draw scanned_draw(const Settings& s, std::uint64_t seed, int points) {
  Draw out{sampled_signal(static_cast<std::uint32_t>(seed), kLength, kSeen), {}};
  SignalDenoising p(s.device, out.signal, kSmoothing, Transform::log10);
  ExactLoss exact(p.context, p.problem, p.first());
  out.scanned = scan(exact, -4, 0, points);
  const std::vector<double>& f = out.scanned.curve.y;
  for (std::size_t k = 0; k < f.size(); ++k)
    out.minima += (k == 0 || f[k] < f[k - 1]) && (k + 1 == f.size() || f[k] <= f[k + 1]) ? 1 : 0;
  return out;
}

/// Recovered by some weight, one minimum, and far from the published stop at the start.
bool learnable(const Settings& s, const Draw& d) {
  if (d.minima != 1 || !(d.alpha() > 0.01 && d.alpha() < 0.3) || !(d.scanned.least.value <= 0.6))
    return false;
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  return std::pow(p.exact_gradient(1), 2) >= 100 * kStop;
}

MeasuredRun run_sequence(const Settings& s, const Draw& d, const Sequence& sequence,
                         const InexactGradientOptions& own, const UpperOptions& options,
                         const UpperSolvers<double>& solvers = {}) {
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  const auto method = make_inexact_gradient<double>(own, options, solvers);
  return measured(sequence.name, p.context, p.problem, *method, p.layout.initial(), p.first());
}

InexactGradientOptions errors_of(const Sequence& sequence, double scale, double floor) {
  InexactGradientOptions own;
  own.sequence = sequence.kind;
  own.error0 = scale * sequence.error0;
  if (sequence.kind == ErrorSequence::exponential) own.floor = floor;
  return own;
}

/// The constants of the published script: mu = |S|^2 + xi, L_H without alpha, errors 10^12 larger.
MeasuredRun published_run(const Settings& s, const Draw& d, const Sequence& sequence) {
  InexactGradientOptions own = errors_of(sequence, kScale, 1e6);
  own.bound = GradientBound::printed;
  own.epsilon_down = own.delta_down = 0.8;
  own.epsilon_up = own.delta_up = 2;
  own.safeguard = false;
  own.published_stop = kStop;
  own.strong_convexity = 1 + kSmoothing;
  own.hessian_lipschitz = 16 / (kSmoothing * kSmoothing);
  UpperOptions options;
  options.max_iterations = s.quick ? 20 : 50;
  options.schedule.step0 = 1.0 / 25;
  options.schedule.tolerance = 0;
  options.schedule.epsilon0 = 100;
  options.schedule.delta0 = 0.1;
  options.minimiser = "gradient-descent";
  options.max_lower_iterations = 250000;
  UpperSolvers<double> solvers;
  solvers.linear = std::make_shared<CappedSolver>("cg", 200);
  return run_sequence(s, d, sequence, own, options, solvers);
}

UpperOptions certified_options() {
  UpperOptions options;
  options.max_iterations = 80;
  options.schedule.step0 = 1;
  return options;
}

InexactGradientOptions certified_errors(const Sequence& sequence) { return errors_of(sequence, 1, 1e-2); }

/// What became of one draw.
struct Outcome {
  std::vector<MeasuredRun> published, certified;  ///< of kSequences, then of MAID among the latter
  double error = 0;  ///< of accepted hypergradients, over what was allowed, largest
};

/// Over the iterations that were accepted: error of z / E_k.
double largest_error(const Settings& s, const Draw& d, const Sequence& sequence, const MeasuredRun& run) {
  if (run.report.status == UpperStatus::accuracy_limit && run.records.size() == 1) return 0;  // none was
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  double worst = 0;
  for (const IterationRecord& r : run.records)
    worst = std::max(worst, std::abs(r.gradient.at(0) - p.exact_gradient(r.theta[0])) /
                                certified_errors(sequence).error(r.iteration));
  return worst;
}

Outcome run_draw(const Settings& s, const Draw& d) {
  Outcome out;
  for (const Sequence& sequence : kSequences) {
    s.tell(format("%s, published constants", sequence.name));
    out.published.push_back(published_run(s, d, sequence));
    s.tell(format("%s, certified", sequence.name));
    out.certified.push_back(run_sequence(s, d, sequence, certified_errors(sequence), certified_options()));
    out.error = std::max(out.error, largest_error(s, d, sequence, out.certified.back()));
  }
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  const auto maid = make_maid<double>(certified_options());
  out.certified.push_back(measured("maid", p.context, p.problem, *maid, p.layout.initial(), p.first()));
  return out;
}

double lower_iterations(const MeasuredRun& run) {
  return static_cast<double>(run.report.last.work.gradients);
}
double linear_iterations(const MeasuredRun& run) {
  return static_cast<double>(run.report.last.work.hessian_products);
}
double operators(const MeasuredRun& run) { return static_cast<double>(run.report.last.work.total()); }

std::vector<double> each(const std::vector<Outcome>& all, const auto& number) {
  std::vector<double> out;
  for (const Outcome& o : all) out.push_back(number(o));
  return out;
}

void add_published(const std::vector<Outcome>& all, std::vector<Row>& rows) {
  for (std::size_t k = 0; k < kAll; ++k) {
    const Sequence& q = kSequences[k];
    const std::string name = format("published constants, %s: ", q.name);
    rows.push_back(
        reported({name + "lower iterations, median", q.lower,
                  median(each(all, [k](const Outcome& o) { return lower_iterations(o.published[k]); }))}));
    rows.push_back(
        reported({name + "linear iterations, median", q.linear,
                  median(each(all, [k](const Outcome& o) { return linear_iterations(o.published[k]); }))}));
  }
  const auto lower = [](const Outcome& o, std::size_t k) { return lower_iterations(o.published[k]); };
  const auto ordered = [&lower](const Outcome& o) {
    return lower(o, kLarge) < lower(o, kHarmonic) &&
           lower(o, kHarmonic) < std::min(lower(o, kExponential), lower(o, kSmall));
  };
  const auto count = static_cast<double>(all.size());
  rows.push_back(at_least({"draws with lower iterations of constant 200 < 200/(k+1) < the other two",
                           {},
                           static_cast<double>(std::count_if(all.begin(), all.end(), ordered))},
                          0.8 * count, format("80 %% of %g", count)));
  rows.push_back(at_least(
      {"lower iterations that 200/(k+1) saves against constant 0.01, median", 1 - 67766.0 / 416746,
       median(each(all, [&lower](const Outcome& o) { return 1 - lower(o, kHarmonic) / lower(o, kSmall); }))},
      0.6));
}

void add_certified(const std::vector<Draw>& draws, const std::vector<Outcome>& all, std::vector<Row>& rows) {
  const auto off = [&](std::size_t k) {
    double worst = 0;
    for (std::size_t j = 0; j < all.size(); ++j)
      worst = std::max(worst, std::abs(all[j].certified[k].report.theta[0] / draws[j].alpha() - 1));
    return worst;
  };
  for (const std::size_t k : {kHarmonic, kExponential, kSmall})
    rows.push_back(
        because(at_most({format("certified, %s: alpha off the scan's, relative, largest", kSequences[k].name),
                         {},
                         off(k)},
                        0.01),
                "double precision may be too short to certify the error that is asked for on the way"));
  rows.push_back(reported({"certified, constant 200: the same", {}, off(kLarge)}));
  rows.push_back(reported({"maid: the same", {}, off(kAll)}));
  double error = 0;
  for (const Outcome& o : all) error = std::max(error, o.error);
  rows.push_back(
      at_most({"certified: error of an accepted hypergradient over the one allowed, largest", {}, error}, 1));
  for (std::size_t k = 0; k <= kAll; ++k)
    rows.push_back(reported(
        {format("certified, %s: operator applications, median", k < kAll ? kSequences[k].name : "maid"),
         {},
         median(each(all, [k](const Outcome& o) { return operators(o.certified[k]); }))}));
}

/// Error and bounds of the hypergradient at epsilon = delta.
struct Tightness {
  double delta, error, printed, corrected, best, best_error;
};

/// With the constants of the published script: all samples seen, nu = xi = 0.1.
std::vector<Tightness> tightness(const Settings& s, double alpha) {
  constexpr double smoothing = 0.1;
  const SampledSignal signal = sampled_signal(static_cast<std::uint32_t>(s.seed), kSeen, kSeen);
  SignalDenoising p(s.device, signal, smoothing, Transform::identity);
  const double exact = p.exact_gradient(alpha);
  Tensor<double> x = p.start();
  std::vector<Tightness> out;
  for (int k = 1; k <= 8; ++k) {
    const double delta = std::pow(10, -k);
    const HypergradientResult plain = p.hypergradient(alpha, {"gradient-descent", delta, delta, false}, x),
                              best = p.hypergradient(alpha, {"gradient-descent", delta, delta, true}, x);
    BoundInputs in = plain.inputs.at(0);
    in.hessian_lipschitz = 16 / (smoothing * smoothing);
    out.push_back({delta, std::abs(plain.z[0] - exact), error_bound(in).adjoint, plain.omega_adjoint,
                   best.omega, std::abs(best.z[0] - exact)});
  }
  return out;
}

void add_tightness(const Settings& s, Result& result) {
  double low = HUGE_VAL, high = 0, spread = 0, safe = HUGE_VAL, gain = 0;
  for (const double alpha : {0.01, 0.1}) {
    const std::vector<Tightness> all = tightness(s, alpha);
    Panel panel{format("Bounds of the published constants, alpha = %g", alpha),
                {"epsilon = delta", true},
                {"error of the hypergradient", true},
                {}};
    const auto add = [&](const char* label, double Tightness::*which) {
      Series series{label, {}, {}};
      for (const Tightness& t : all) series.x.push_back(t.delta), series.y.push_back(t.*which);
      panel.series.push_back(std::move(series));
    };
    add("printed bound", &Tightness::printed), add("corrected", &Tightness::corrected),
        add("best", &Tightness::best), add("error", &Tightness::error);
    result.curves.push_back(std::move(panel));
    double least = HUGE_VAL, most = 0;  // of the ratio for delta <= 1e-2
    for (const Tightness& t : all) {
      const double ratio = t.printed / t.error;
      low = std::min(low, ratio), high = std::max(high, ratio);
      if (t.delta < 0.05) least = std::min(least, ratio), most = std::max(most, ratio);
      safe = std::min({safe, t.best / t.best_error, t.corrected / t.error});
      gain = std::max(gain, t.best / t.printed);
    }
    spread = std::max(spread, most / least);
  }
  std::vector<Row>& rows = result.rows;
  rows.push_back(between({"printed bound / error, smallest", {}, low}, 1e2, 1e6));
  rows.push_back(between({"printed bound / error, largest", {}, high}, 1e2, 1e6));
  rows.push_back(at_most({"the same, largest over smallest from delta = 0.01 on", {}, spread}, 30));
  rows.push_back(at_least({"best and corrected bound / error, smallest", {}, safe}, 1));
  rows.push_back(at_most({"best bound / printed bound, largest", {}, gain}, 0.1));
}

/// The signal with three weights.
Panel reconstructions(const Settings& s, const Draw& d) {
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  Panel panel{"First draw: reconstructions", {"sample", false}, {"height", false}, {}};
  const auto add = [&panel](const std::string& label, const std::vector<double>& values) {
    Series series{label, {}, values};
    for (std::size_t i = 0; i < values.size(); ++i) series.x.push_back(static_cast<double>(i));
    panel.series.push_back(std::move(series));
  };
  add("truth", d.signal.truth);
  for (const double alpha : {1.0, d.alpha(), 1e-3}) {
    Tensor<double> x = p.start();
    static_cast<void>(p.hypergradient(alpha, {}, x));
    add(format("alpha = %.3g", alpha), download(p.context, x));
  }
  return panel;
}

void add_curves(const Settings& s, const Draw& d, const Outcome& o, Result& result) {
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  ExactLoss exact(p.context, p.problem, p.first());
  const Gap gap = [&](std::span<const double> theta) { return exact(theta).value - d.scanned.least.value; };
  Panel published = gap_panel("First draw: published constants"),
        certified = gap_panel("First draw: certified");
  for (const MeasuredRun& r : o.published) published.series.push_back(gap_curve(r, gap));
  for (const MeasuredRun& r : o.certified) certified.series.push_back(gap_curve(r, gap));
  result.curves.push_back(reconstructions(s, d));
  result.curves.push_back(std::move(published));
  result.curves.push_back(std::move(certified));
}

/// Scans of draws until enough can be learned from.
struct Draws {
  std::vector<Draw> learned;
  std::vector<double> weights;  ///< best ones of the first kScanned
  double inside = 0;            ///< of these, those with a minimum inside
  int seen = 0;
};

Draws scanned_draws(const Settings& s) {
  const std::size_t wanted = s.quick ? 2 : 10;
  Draws out;
  for (; out.seen < kMost && (out.seen < kScanned || out.learned.size() < wanted); ++out.seen) {
    Draw d = scanned_draw(s, s.seed + static_cast<std::uint64_t>(out.seen), s.quick ? 60 : 200);
    if (out.seen < kScanned) {
      out.weights.push_back(d.alpha());
      out.inside += d.scanned.inside ? 1 : 0;
    }
    if (out.learned.size() < wanted && learnable(s, d)) out.learned.push_back(std::move(d));
  }
  if (out.learned.empty())
    throw ConfigError("--seed: nothing can be learned from the draws of this one; use another.");
  return out;
}

std::vector<std::string> notes_of(const Settings& s, const Draws& draws) {
  return {format("Data: our own draws, as the published ones cannot be drawn again: signals of %d samples, "
                 "%d of them "
                 "seen with noise 0.03, seeds from %llu on. Learned are the first %zu of %d whose scan has "
                 "one minimum, "
                 "between 0.01 and 0.3, with f at most 0.6, and which start far from the published stop.",
                 kLength, kSeen, static_cast<unsigned long long>(s.seed), draws.learned.size(), draws.seen),
          "Published constants: mu = |S|^2 + xi, a bound without alpha in L_H, errors 10^12 larger, the stop "
          "|z|^2 "
          "< 1e-4, at most 200 iterations of the adjoint system. Certified: constants that hold, the least "
          "of all "
          "bounds, steps from 1 shortened where the loss certainly rises; the exponential errors are at "
          "least 0.01.",
          "Errors of hypergradients are distances to those of solves as fine as double precision has them."};
}

/// Where MAID ended elsewhere than the scan: certainly a local minimum, when f is larger on both sides of it.
std::string elsewhere(const Settings& s, const Draw& d, const MeasuredRun& maid) {
  SignalDenoising p(s.device, d.signal, kSmoothing, Transform::identity);
  ExactLoss exact(p.context, p.problem, p.first());
  const double alpha = maid.report.theta[0];
  const auto at = [&](double factor) { return exact(std::vector<double>{factor * alpha}); };
  const LossEnclosure end = at(1);
  const bool local = at(0.99).lower > end.upper && at(1.01).lower > end.upper;
  return format("At alpha %.3g, where f = %.4g%s, while the scan has %.3g and %.4g, ", alpha, end.value,
                local ? " is less than 1 % on either side (a minimum between two points of the scan)" : "",
                d.alpha(), d.scanned.least.value) +
         ending(maid);
}

Result run(const Settings& s) {
  s.tell("scans");
  const Draws draws = scanned_draws(s);
  std::vector<Outcome> all;
  for (const Draw& d : draws.learned) all.push_back(run_draw(s, d));
  Result result;
  result.rows = {
      between({"best alpha of a scan, median over the draws", kPublishedWeight, median(draws.weights)}, 0.01,
              0.15),
      reported({format("draws with a minimum inside [1e-4, 1], of %d", kScanned), {}, draws.inside})};
  add_published(all, result.rows);
  add_certified(draws.learned, all, result.rows);
  add_tightness(s, result);
  add_curves(s, draws.learned.front(), all.front(), result);
  result.notes = notes_of(s, draws);
  for (const MeasuredRun& r : all.front().certified)
    result.notes.push_back("Certified, first draw, " + ending(r));
  for (std::size_t j = 0; j < all.size(); ++j) {
    const MeasuredRun& maid = all[j].certified[kAll];
    if (std::abs(maid.report.theta[0] / draws.learned[j].alpha() - 1) > 0.01)
      result.notes.push_back(elsewhere(s, draws.learned[j], maid));
  }
  return result;
}

}  // namespace

Experiment error_sequences() {
  return {"E1",
          "Errors prescribed in advance, one parameter of 1-D total variation",
          "Errors 200/(k+1) save 84 % of the lower iterations of a small constant error and learn the same "
          "weight; the bound and the error differ by several orders of magnitude.",
          "Pawley 2021",
          true,
          DataKind::none,
          run};
}

}  // namespace bilevel_app::experiments
