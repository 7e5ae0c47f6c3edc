// Decisions of the lower-level solvers, one element per image: stopping, line searches, compaction.

#include "kernels/launch.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

constexpr double status_of(ImageStatus s) { return static_cast<double>(s); }

/// Stop when (1 + 1e-6)|grad| + rounding <= mu tolerance, per image or for the stacked batch.
void certify(const Stream& stream, const CertifyArgs& a) {
  const auto measure = [=](int i) {
    a.error_bound[i] = (std::sqrt(a.norm2[i]) * (1 + 1e-6) + a.rounding[i]) / a.mu;
    if (!(a.norm2[i] < HUGE_VAL)) {
      a.error_bound[i] = HUGE_VAL;
      a.status[i] = status_of(ImageStatus::failed);
      a.mask[i] = 0;
    }
  };
  const auto stop = [=](int i, ImageStatus s) {
    a.status[i] = status_of(s);
    a.mask[i] = 0;
  };
  if (!a.joint) {
    launch_images(stream, a.active, [=](int i) {
      if (a.iterations) a.iterations[i] += 1;
      measure(i);
      if (!a.mask[i]) return;
      if (a.error_bound[i] <= a.tolerance[i])
        stop(i, ImageStatus::converged);
      else if (a.rounding[i] / a.mu > a.tolerance[i] && std::sqrt(a.norm2[i]) <= a.rounding[i])
        stop(i, ImageStatus::rounding_limited);
    });
    return;
  }
  launch_images(stream, a.active, [=](int i) {
    if (a.iterations) a.iterations[i] += 1;
    measure(i);
  });
  const LaunchScope scope(stream);
  double total = 0, floor = 0, norm = 0;
  for (int i = 0; i < a.n; ++i) {
    total += a.error_bound[i] * a.error_bound[i];
    floor += a.rounding[i] * a.rounding[i];
    norm += a.norm2[i];
  }
  const double target = a.tolerance[0];
  const bool done = std::sqrt(total) <= target;
  const bool limited = std::sqrt(floor) / a.mu > target && std::sqrt(norm) <= std::sqrt(floor);
  const bool hopeless = !(total < HUGE_VAL);
  if (!done && !limited && !hopeless) return;
  const ImageStatus end =
      hopeless ? ImageStatus::failed : (done ? ImageStatus::converged : ImageStatus::rounding_limited);
  for (int i = 0; i < a.n; ++i)
    if (a.mask[i] || (done && a.status[i] == status_of(ImageStatus::rounding_limited))) stop(i, end);
}

/// Forcing term eta_k = min(eta, sqrt(|grad| / |grad_0|)), never below half the final tolerance.
void newton_begin(const Stream& stream, const NewtonBeginArgs& a) {
  launch_images(stream, a.active, [=](int i) {
    if (a.first) a.norm2_first[i] = a.norm2[i];
    const double norm = std::sqrt(a.norm2[i]);
    const double forcing = minimum(a.eta, std::sqrt(norm / std::sqrt(a.norm2_first[i])));
    a.target[i] = minimum(0.5 * norm, maximum(forcing * norm, 0.5 * a.share * a.mu * a.tolerance[i]));
  });
}

void newton_decide(const Stream& stream, const NewtonDecideArgs& a) {
  launch_images(stream, a.active, [=](int i) {
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
  });
}

void progress(const Stream& stream, const ProgressArgs& a) {
  const LaunchScope scope(stream);
  double next = 0;
  bool failed = false;
  for (int i = 0; i < a.n; ++i) {
    failed = failed || (a.joint && a.status[i] == status_of(ImageStatus::failed));
    if (!a.mask[i]) continue;
    a.best[i] = minimum(a.best[i], a.norm2[i]);
    next += 1;
  }
  const bool broke = a.budget > 0 && *a.spent + next > a.budget;
  if (!broke) *a.spent += next;
  if (!broke && !failed) return;
  for (int i = 0; i < a.n; ++i) {
    if (!a.mask[i]) continue;
    a.status[i] = status_of(failed ? ImageStatus::failed : ImageStatus::budget);
    a.mask[i] = 0;
  }
}

void stall(const Stream& stream, const StallArgs& a) {
  const LaunchScope scope(stream);
  double best = 0, reference = 0, norm2 = 0, level2 = 0;  // of the batch
  bool switched = false;
  for (int i = 0; i < a.n; ++i) {
    if (!a.mask[i]) continue;
    const double level = a.rounding[i] + a.noise * std::sqrt(a.point2[i]);
    const bool halved = a.best[i] <= 0.25 * a.reference[i], bottom = std::sqrt(a.norm2[i]) <= level;
    best += a.best[i];
    reference += a.reference[i];
    norm2 += a.norm2[i];
    level2 += level * level;
    a.reference[i] = a.best[i];
    a.best[i] = HUGE_VAL;
    bool ends = !halved;
    if (a.guard) {
      const double before = a.guard[i];
      a.guard[i] = before > 0 && halved ? 1 : before + (halved ? 0 : 1);
      ends = before > 0 && !halved && (bottom || a.guard[i] > 2);
      switched = switched || (a.guard[i] > 0 && !ends);
    }
    if (ends && !a.joint) {
      a.status[i] = status_of(bottom ? ImageStatus::rounding_limited : ImageStatus::failed);
      a.mask[i] = 0;
    }
  }
  if (!a.joint || switched || !(best > 0.25 * reference)) return;
  for (int i = 0; i < a.n; ++i) {
    if (!a.mask[i]) continue;
    a.status[i] = status_of(norm2 <= level2 ? ImageStatus::rounding_limited : ImageStatus::failed);
    a.mask[i] = 0;
  }
}

void residual_rounding(const Stream& stream, const ResidualRoundingArgs& a) {
  launch_images(stream, a.active, [=](int i) {
    a.rounding[i] = a.unit * (20 * a.lipschitz * std::sqrt(a.xx[i]) + 4 * std::sqrt(a.bb[i]));
  });
}

void lbfgs_start(const Stream& stream, const LbfgsStartArgs& a) {
  const LaunchScope scope(stream);
  for (int i = 0; i < a.n; ++i) {
    LbfgsState& l = a.state[i];
    l = LbfgsState{};
    l.value0 = a.value[i];
    l.on_g = -1;
    l.gradient_step = true;
    a.accepted[i] = a.mask[i];
    a.redo[i] = 0;
  }
}

void compact(const Stream& stream, const std::uint8_t* mask, std::int32_t* index, int n, double* left) {
  const LaunchScope scope(stream);
  int count = 0;
  for (int i = 0; i < n; ++i)
    if (mask[i]) index[count++] = i;
  *left = count;
}

void reset(const Stream& stream, std::uint8_t* mask, std::int32_t* index, int n) {
  const LaunchScope scope(stream);
  for (int i = 0; i < n; ++i) {
    mask[i] = 1;
    index[i] = i;
  }
}

}  // namespace

const ScalarTable& table_scalar() {
  static constexpr ScalarTable table{certify,           newton_begin, newton_decide, progress, stall,
                                     residual_rounding, lbfgs_start,  compact,       reset};
  return table;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
