// Decisions of the lower-level solvers, one element per image: stopping, line searches, compaction.

#include "kernels/decision_args.hpp"
#include "kernels/launch.hpp"
#include "kernels/lbfgs_args.hpp"
#include "kernels/select.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

void narrow(const Stream&, const NarrowArgs&);
void widen(const Stream&, const WidenArgs&);
void distance(const Stream&, const DistanceArgs&);
void sort(const Stream&, const SortArgs&);

namespace {

BILEVEL_HD inline double status_of(ImageStatus s) { return static_cast<double>(s); }

/// Scratch of a decision about the batch.
constexpr int batch_scratch = 128;

/// epsilon = ((1 + 1e-6) |grad| + rounding) / mu; a gradient or a bound that is not finite ends its image.
struct Measure {
  CertifyArgs a;

  BILEVEL_HD void operator()(int i) const {
    if (a.iterations) a.iterations[i] += 1;
    a.error_bound[i] = (std::sqrt(a.norm2[i]) * (1 + 1e-6) + a.rounding[i]) / a.mu;
    if (!(a.error_bound[i] < HUGE_VAL)) {
      a.error_bound[i] = HUGE_VAL;
      stop(i, ImageStatus::failed);
    }
  }
  BILEVEL_HD void stop(int i, ImageStatus s) const {
    a.status[i] = status_of(s);
    a.mask[i] = 0;
  }
};

/// Stop when epsilon_i <= tolerance_i.
struct CertifyEach {
  CertifyArgs a;

  BILEVEL_HD void operator()(int i) const {
    const Measure measure{a};
    measure(i);
    if (!a.mask[i]) return;
    if (a.error_bound[i] <= a.tolerance[i])
      measure.stop(i, ImageStatus::converged);
    else if (a.rounding[i] / a.mu > a.tolerance[i] && std::sqrt(a.norm2[i]) <= a.rounding[i])
      measure.stop(i, ImageStatus::rounding_limited);
  }
};

/// Stop when the stacked error of the batch is at most tolerance_0.
struct CertifyBatch {
  static constexpr int scratch = batch_scratch;
  CertifyArgs a;

  BILEVEL_HD void operator()(Block& block) const {
    const CertifyArgs& args = a;
    const Measure measure{a};
    block.for_elements(0, a.n, [&](int i) {
      if (args.mask[i]) measure(i);
    });
    double* total = block.zeros(3);
    block.reduce_elements<3>(
        0, a.n,
        [&](int i) -> Sums<3> {
          return {{args.error_bound[i] * args.error_bound[i], args.rounding[i] * args.rounding[i],
                   args.norm2[i]}};
        },
        total);
    const double target = a.tolerance[0], floor = std::sqrt(total[1]);
    const bool done = std::sqrt(total[0]) <= target;
    const bool limited = floor / a.mu > target && std::sqrt(total[2]) <= floor;
    const bool hopeless = !(total[0] < HUGE_VAL);
    if (!done && !limited && !hopeless) return;
    const ImageStatus end =
        hopeless ? ImageStatus::failed : (done ? ImageStatus::converged : ImageStatus::rounding_limited);
    block.for_elements(0, a.n, [&](int i) {
      if (args.mask[i] || (done && args.status[i] == status_of(ImageStatus::rounding_limited)))
        measure.stop(i, end);
    });
  }
};

void certify(const Stream& stream, const CertifyArgs& a) {
  if (a.joint)
    launch_batch(stream, CertifyBatch{a});
  else
    launch_images(stream, a.active, CertifyEach{a});
}

/// Forcing term eta_k = min(eta, sqrt(|grad| / |grad_0|)), never below half the final tolerance.
struct NewtonBegin {
  NewtonBeginArgs a;

  BILEVEL_HD void operator()(int i) const {
    if (a.first) a.norm2_first[i] = a.norm2[i];
    const double norm = std::sqrt(a.norm2[i]);
    const double forcing = minimum(a.eta, std::sqrt(norm / std::sqrt(a.norm2_first[i])));
    a.target[i] = minimum(0.5 * norm, maximum(forcing * norm, 0.5 * a.share * a.mu * a.tolerance[i]));
  }
};

struct NewtonDecide {
  NewtonDecideArgs a;

  BILEVEL_HD void operator()(int i) const {
    const double rise = a.trial_value[i] - a.value[i];
    const double allowed = a.slack * std::fabs(a.value[i]);
    const bool armijo = rise <= 1e-4 * a.step[i] * a.slope[i];
    const bool halved = a.trial_norm2[i] <= 0.25 * a.norm2[i] && rise <= allowed;
    // At the rounding level of Phi only the gradient can still tell progress.
    const bool level = std::fabs(rise) <= allowed && a.trial_norm2[i] <= 0.8 * a.norm2[i];
    const bool descent = a.slope[i] < 0;
    if (descent && (armijo || halved || level)) {
      a.value[i] = a.trial_value[i];
      a.norm2[i] = a.trial_norm2[i];
      a.rounding[i] = a.trial_rounding[i];
      a.searching[i] = 0;
      return;
    }
    a.backtracks[i] += 1;
    a.step[i] *= 0.5;
    if (descent && a.backtracks[i] < a.cap) return;
    // No step: either Phi and its gradient are at the rounding level, or the direction is useless.
    const bool at_rounding =
        std::fabs(a.slope[i]) <= 4 * allowed || std::sqrt(a.norm2[i]) <= 16 * a.rounding[i];
    a.status[i] = status_of(at_rounding ? ImageStatus::rounding_limited : ImageStatus::failed);
    a.searching[i] = 0;
    a.active_mask[i] = 0;
  }
};

struct Progress {
  static constexpr int scratch = batch_scratch;
  ProgressArgs a;

  BILEVEL_HD void operator()(Block& block) const {
    const ProgressArgs& args = a;
    const double spent = *a.spent;
    double* total = block.zeros(2);  // images that go on; whether one failed
    block.reduce_elements<2, 1>(
        0, a.n,
        [&](int i) -> Sums<2> {
          const bool failed = args.joint && args.status[i] == status_of(ImageStatus::failed);
          if (args.mask[i]) args.best[i] = minimum(args.best[i], args.norm2[i]);
          return {{args.mask[i] ? 1.0 : 0.0, failed ? 1.0 : 0.0}};
        },
        total);
    const double next = args.cost * total[0];
    const bool failed = total[1] > 0, broke = a.budget > 0 && spent + next > a.budget;
    block.for_elements(0, 1, [&](int) {
      if (!broke) *args.spent = spent + next;
    });
    if (!broke && !failed) return;
    block.for_elements(0, a.n, [&](int i) {
      if (!args.mask[i]) return;
      args.status[i] = status_of(failed ? ImageStatus::failed : ImageStatus::budget);
      args.mask[i] = 0;
    });
  }
};

struct Stall {
  static constexpr int scratch = batch_scratch;
  StallArgs a;

  BILEVEL_HD void operator()(Block& block) const {
    const StallArgs& args = a;
    double* batch = block.zeros(5);  // best, reference, norm2, level^2; whether one was switched
    block.reduce_elements<5, 1>(
        0, a.n, [&](int i) { return image(args, i); }, batch);
    if (!a.joint || batch[4] > 0 || !(batch[0] > 0.25 * batch[1])) return;
    const ImageStatus end = batch[2] <= batch[3] ? ImageStatus::rounding_limited : ImageStatus::failed;
    block.for_elements(0, a.n, [&](int i) {
      if (!args.mask[i]) return;
      args.status[i] = status_of(end);
      args.mask[i] = 0;
    });
  }

 private:
  BILEVEL_HD static Sums<5> image(const StallArgs& a, int i) {
    if (!a.mask[i]) return {};
    const double level = a.rounding[i] + a.noise * std::sqrt(a.point2[i]);
    const double best = a.best[i], reference = a.reference[i];
    const bool halved = best <= 0.25 * reference, bottom = std::sqrt(a.norm2[i]) <= level;
    bool ends = !halved, switched = false;
    a.reference[i] = best;
    a.best[i] = HUGE_VAL;
    if (a.guard) {
      const double before = a.guard[i];
      a.guard[i] = before > 0 && halved ? 1 : before + (halved ? 0 : 1);
      ends = before > 0 && !halved && (bottom || a.guard[i] > 2);
      switched = a.guard[i] > 0 && !ends;
    }
    if (ends && !a.joint) {
      a.status[i] = status_of(bottom ? ImageStatus::rounding_limited : ImageStatus::failed);
      a.mask[i] = 0;
    }
    return {{best, reference, a.norm2[i], level * level, switched ? 1.0 : 0.0}};
  }
};

struct ResidualRounding {
  ResidualRoundingArgs a;

  BILEVEL_HD void operator()(int i) const {
    a.rounding[i] = a.unit * (product_roundings * a.lipschitz * std::sqrt(a.xx[i]) + 4 * std::sqrt(a.bb[i])) +
                    a.underflow;
  }
};

struct LbfgsBegin {
  LbfgsStartArgs a;

  BILEVEL_HD void operator()(std::size_t i) const {
    LbfgsState& l = a.state[i];
    l.head = 0;
    l.filled = 0;
    l.value0 = a.value[i];
    l.slope0 = l.slope_low = l.slope_high = 0;
    l.step = l.low = l.high = 0;
    l.on_g = -1;
    l.gradient_step = true;
    l.tries = 0;
    a.accepted[i] = a.mask[i];
    a.redo[i] = 0;
  }
};

struct Compact {
  static constexpr int scratch = batch_scratch + selection_scratch;
  CompactArgs a;

  BILEVEL_HD void operator()(Block& block) const {
    const CompactArgs& args = a;
    const int count = select(
        block, a.n, [&](int i) { return args.mask[i] != 0; }, a.index);
    double* sum = block.zeros(1);
    if (a.tally)
      block.reduce_elements<1>(
          0, a.n, [&](int i) -> Sums<1> { return {{args.tally[i]}}; }, sum);
    block.for_elements(0, 1, [&](int) {
      args.left[0] = count;
      args.left[1] = *sum;
    });
  }
};

struct Reset {
  std::uint8_t* mask;
  std::int32_t* index;

  BILEVEL_HD void operator()(std::size_t i) const {
    mask[i] = 1;
    index[i] = static_cast<std::int32_t>(i);
  }
};

template <class F, class Args>
void each(const Stream& stream, const Args& a) {
  launch_images(stream, a.active, F{a});
}
template <class Body, class Args>
void batch(const Stream& stream, const Args& a) {
  launch_batch(stream, Body{a});
}
void lbfgs_start(const Stream& stream, const LbfgsStartArgs& a) {
  launch_range(stream, static_cast<std::size_t>(a.n), LbfgsBegin{a});
}
void reset(const Stream& stream, std::uint8_t* mask, std::int32_t* index, int n) {
  launch_range(stream, static_cast<std::size_t>(n), Reset{mask, index});
}

}  // namespace

const ScalarTable& table_scalar() {
  static constexpr ScalarTable table{certify,
                                     each<NewtonBegin, NewtonBeginArgs>,
                                     each<NewtonDecide, NewtonDecideArgs>,
                                     batch<Progress, ProgressArgs>,
                                     batch<Stall, StallArgs>,
                                     each<ResidualRounding, ResidualRoundingArgs>,
                                     lbfgs_start,
                                     batch<Compact, CompactArgs>,
                                     reset,
                                     sort,
                                     narrow,
                                     widen,
                                     distance};
  return table;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
