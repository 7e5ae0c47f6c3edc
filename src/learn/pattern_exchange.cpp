#include "bilevel/learn/pattern_exchange.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "learn/ascending.hpp"
#include "learn/certified_value.hpp"
#include "learn/step_direction.hpp"

namespace bilevel {
inline namespace v0 {

void ExchangeOptions::validate() const {
  if (!(share > 0 && share <= 1)) throw ConfigError("the share of groups to exchange must lie in (0,1].");
  if (!(alpha_step > 0 && std::isfinite(alpha_step)))
    throw ConfigError("the first step of log alpha must be positive and finite.");
  if (rejections < 1) throw ConfigError("rejections must be at least 1.");
  if (!(smallest >= 0 && smallest < 1)) throw ConfigError("the smallest decrease must lie in [0,1).");
}

namespace {

/// Groups by the change of the loss predicted for adding or dropping each, best first.
struct Candidates {
  std::vector<std::size_t> add, drop;
  std::vector<double> change;
};

template <class T>
class PatternExchange final : public UpperMethod<T> {
 public:
  PatternExchange(UpperOracle<T>& oracle, const ExchangeOptions& exchange)
      : UpperMethod<T>(oracle),
        context_(oracle.context()),
        problem_(oracle.problem()),
        exchange_(exchange),
        oracle_(oracle),
        energy_(energy_of(problem_)),
        first_(static_cast<std::size_t>(problem_.parameters().entry("s"))),
        alpha_(first_weight(problem_.parameters())),
        value_(oracle),
        current_(value_.point()),
        trial_(value_.point()),
        share_(exchange.share),
        alpha_step_(exchange.alpha_step) {}

  UpperPoint<T>& point() override { return current_.point; }

  void start() override {
    const std::vector<double> theta = current_.point.theta;
    for (double s : mask(theta))
      if (s != 0 && s != 1) throw ConfigError("exchanging samples needs a pattern of zeros and ones.");
    value_.evaluate(current_, theta, std::numeric_limits<double>::infinity());
    rate_ = pattern().rate(mask(theta));
    inspect();
  }

  /// One exchange with a certified decrease.
  IterationRecord step() override {
    refused_.clear();
    for (int rejected = 0;; ++rejected) {
      if (rejected == exchange_.rejections)
        throw UpperStop{UpperStatus::slow_progress, "No exchange of samples lowers the loss any more."};
      std::size_t exchanged = 0;
      std::vector<double> theta = proposal(exchanged);
      copy<T>(context_, std::as_const(current_.point.x).view(), trial_.point.x.view());
      value_.evaluate(trial_, std::move(theta), std::numeric_limits<double>::infinity());
      if (value_.certify_decrease(current_, trial_, exchange_.smallest * current_.point.loss.value))
        return accept(exchanged, rejected);
      if (exchanged == 1) refused_.push_back(single_);
      share_ = 0.4 * static_cast<double>(exchanged) / static_cast<double>(pattern().groups());
      alpha_step_ *= 0.4;
    }
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = value_.record(current_, status);
    r.gradient_norm = step_norm(current_.gradient.z);
    return r;
  }

  void save(UpperState& s) const override {
    value_.save(current_, s);
    s.numbers["share"] = {share_};
    s.numbers["alpha-step"] = {alpha_step_};
    s.numbers["rate"] = {rate_};
    s.numbers["stiffness"] = {stiffness_};
    s.numbers["powers"] = powers_;
  }

  void restore(const UpperState& s) override {
    value_.restore(s, current_);
    share_ = s.number("share");
    alpha_step_ = s.number("alpha-step");
    rate_ = s.number("rate");
    stiffness_ = s.number("stiffness");
    powers_ = s.list("powers");
    if (powers_.size() != static_cast<std::size_t>(pattern().frequencies()))
      throw ShapeError("the saved state of the run is for another problem.");
  }

 private:
  static ComposedEnergy<T>& energy_of(const BilevelProblem<T>& problem) {
    auto* energy = dynamic_cast<ComposedEnergy<T>*>(&problem.energy());
    if (!energy || !energy->fourier() || problem.parameters().entry("s") < 0 ||
        energy->fourier()->pattern().map() != SamplingMap::linear)
      throw ConfigError(
          "exchanging samples needs a magnetic resonance problem whose pattern is learned with the linear "
          "map.");
    return *energy;
  }
  static int first_weight(const Parameters& p) {
    for (const Segment& s : p.segments())
      if (s.name == "alpha" || s.name == "alpha1") return p.entry(s.name);
    return -1;
  }
  const SamplingPattern& pattern() const { return energy_.fourier()->pattern(); }
  std::span<const double> mask(const std::vector<double>& theta) const {
    return std::span(theta).subspan(first_, pattern().groups());
  }

  /// The pattern with the best groups exchanged, alpha moved.
  std::vector<double> proposal(std::size_t& exchanged) {
    Candidates candidates = rank();
    const std::size_t most = std::min(candidates.add.size(), candidates.drop.size());
    const auto wanted =
        static_cast<std::size_t>(std::max(1.0, std::round(share_ * static_cast<double>(pattern().groups()))));
    std::vector<double> theta = current_.point.theta;
    const auto gain = [&](std::size_t k) {
      return candidates.change[candidates.add[k]] + candidates.change[candidates.drop[k]];
    };
    if (wanted == 1) prefer_untried(candidates);
    single_ = {candidates.add.empty() ? 0 : candidates.add[0],
               candidates.drop.empty() ? 0 : candidates.drop[0]};
    exchanged = 0;
    for (; exchanged < std::min(wanted, most) && (exchanged == 0 || gain(exchanged) < 0); ++exchanged) {
      theta[first_ + candidates.add[exchanged]] = 1;
      theta[first_ + candidates.drop[exchanged]] = 0;
    }
    // Groups of several sizes: the rate is not to rise.
    for (std::size_t k = exchanged; k < candidates.drop.size() && pattern().rate(mask(theta)) > rate_ + 1e-12;
         ++k)
      theta[first_ + candidates.drop[k]] = 0;
    if (alpha_ >= 0) {
      const auto a = static_cast<std::size_t>(alpha_);
      theta[a] -= std::copysign(alpha_step_, current_.gradient.z[a]);
      theta = problem_.parameters().project(theta);
    }
    return theta;
  }

  /// Puts the best pair that was not refused since the last step first; looks at the best 32 of each kind.
  void prefer_untried(Candidates& c) const {
    constexpr std::size_t looked_at = 32;
    double least = std::numeric_limits<double>::infinity();
    std::size_t add = 0, drop = 0;
    for (std::size_t i = 0; i < std::min(looked_at, c.add.size()); ++i)
      for (std::size_t j = 0; j < std::min(looked_at, c.drop.size()); ++j) {
        const double change = c.change[c.add[i]] + c.change[c.drop[j]];
        if (change >= least ||
            std::find(refused_.begin(), refused_.end(), std::pair{c.add[i], c.drop[j]}) != refused_.end())
          continue;
        least = change;
        add = i;
        drop = j;
      }
    if (c.add.empty() || c.drop.empty()) return;
    std::swap(c.add[0], c.add[add]);
    std::swap(c.drop[0], c.drop[drop]);
  }

  Candidates rank() const {
    const SamplingPattern& p = pattern();
    const double images = problem_.images(), xi = energy_.ridge();
    Candidates out;
    out.change.resize(p.groups());
    for (std::size_t g = 0; g < p.groups(); ++g) {
      double symbol = 0, power = 0;
      for (int f : p.group(g)) {
        const double k = f / p.width(), l = f % p.width();
        symbol += energy_.symbol(4 - 2 * std::cos(2 * std::numbers::pi * k / p.height()) -
                                 2 * std::cos(2 * std::numbers::pi * l / p.width()));
        power += powers_[static_cast<std::size_t>(f)];
      }
      const double kappa = xi + stiffness_ * symbol / static_cast<double>(p.group(g).size());
      const double z = current_.gradient.z[first_ + g], h = 1 / kappa;
      const bool sampled = current_.point.theta[first_ + g] == 1;
      out.change[g] = sampled ? -z * (1 + kappa) / kappa + 0.5 * power / (kappa * kappa * images)
                              : z / (1 + h) + 0.5 * power * std::pow(h / (1 + h), 2) / images;
    }
    for (const std::int32_t best : ascending(context_, out.change)) {
      const auto g = static_cast<std::size_t>(best);
      (current_.point.theta[first_ + g] == 1 ? out.drop : out.add).push_back(g);
    }
    return out;
  }

  /// What the prediction needs at the current point besides z.
  void inspect() {
    oracle_.bind(current_.point.theta);
    powers_ = energy_.fourier()->residual_powers(context_, std::as_const(current_.point.x).view());
    stiffness_ = energy_.mean_stiffness(context_, std::as_const(current_.point.x).view());
    oracle_.count({.other = 2 * static_cast<std::uint64_t>(problem_.images())});
  }

  IterationRecord accept(std::size_t exchanged, int rejected) {
    IterationRecord done = record("accepted");
    done.backtracks = rejected;
    done.step = static_cast<double>(exchanged) / static_cast<double>(pattern().groups());
    if (alpha_ >= 0) {
      const auto a = static_cast<std::size_t>(alpha_);
      alpha_step_ *= trial_.gradient.z[a] * current_.gradient.z[a] < 0 ? 0.4 : 1.2;
    }
    share_ = std::min(1.0, 1.3 * std::max(share_, done.step));
    value_.assign(current_, trial_);
    value_.relax();
    inspect();
    return done;
  }

  Context& context_;
  const BilevelProblem<T>& problem_;
  ExchangeOptions exchange_;
  UpperOracle<T>& oracle_;
  ComposedEnergy<T>& energy_;
  std::size_t first_;  // entry of the pattern in theta
  int alpha_;          // that of alpha or, of generalised variation, alpha1; or -1
  CertifiedValue<T> value_;
  Evaluated<T> current_, trial_;
  double share_, alpha_step_, rate_ = 0, stiffness_ = 0;
  std::vector<double> powers_;                                // R
  std::pair<std::size_t, std::size_t> single_;                // the first pair of the last proposal
  std::vector<std::pair<std::size_t, std::size_t>> refused_;  // exchanged alone since the last step
};

}  // namespace

template <class T>
std::unique_ptr<UpperOptimiser<T>> make_pattern_exchange(const UpperOptions& options,
                                                         const ExchangeOptions& exchange,
                                                         const UpperSolvers<T>& solvers) {
  exchange.validate();
  return make_upper_optimiser<T>(
      "exchange", options,
      [exchange](UpperOracle<T>& oracle) { return std::make_unique<PatternExchange<T>>(oracle, exchange); },
      solvers);
}
template BILEVEL_API std::unique_ptr<UpperOptimiser<float>> make_pattern_exchange(const UpperOptions&,
                                                                                  const ExchangeOptions&,
                                                                                  const UpperSolvers<float>&);
template BILEVEL_API std::unique_ptr<UpperOptimiser<double>> make_pattern_exchange(
    const UpperOptions&, const ExchangeOptions&, const UpperSolvers<double>&);

}  // namespace v0
}  // namespace bilevel
