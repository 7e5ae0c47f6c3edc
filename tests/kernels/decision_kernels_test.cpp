#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "tests/model/tv_lab.hpp"

// The per-image decisions of the solvers, with numbers.

namespace bilevel {
namespace {

using Values = std::vector<double>;
using Flags = std::vector<std::uint8_t>;

class Decisions : public ::testing::Test {
 protected:
  static constexpr int n = 4;
  View<double> scalars(const Values& values) {
    const View<double> v = frame_.view<double>({static_cast<int>(values.size()), 1, 1, 1});
    upload<double>(context_, values, v);
    return v;
  }
  Values read(View<double> v) { return download<double>(context_, v); }
  Flags mask() { return download<std::uint8_t>(context_, View<std::uint8_t>(active_.mask(), {n, 1, 1, 1})); }
  void set_mask(const Flags& flags) {
    upload<std::uint8_t>(context_, flags, View<std::uint8_t>(active_.mask(), {n, 1, 1, 1}));
  }
  const kernels::ScalarTable& table() { return context_.impl().scalar_table(); }
  const kernels::Stream& stream() { return stream_of(context_); }

  Context context_{Device::open(testing_support::test_device("cpu:2"))};
  Frame frame_{context_};
  ActiveSet active_{context_, frame_, n};
};

TEST_F(Decisions, CertifyPerImage) {
  const double mu = 0.5, infinity = HUGE_VAL;
  set_mask({1, 1, 1, 1});
  const auto norm2 = scalars({1e-8, 1e-4, 1e-20, std::nan("")}), rounding = scalars({1e-7, 1e-7, 1e-3, 0}),
             tolerance = scalars({1e-3, 1e-3, 1e-4, 1}), bound = scalars(Values(n)),
             iterations = scalars({0, 1, 2, 3}), status = scalars(Values(n));
  table().certify(stream(), {active_.active(), norm2.device_data(), rounding.device_data(), mu,
                             tolerance.device_data(), false, n, bound.device_data(), iterations.device_data(),
                             status.device_data(), active_.mask()});
  const Values got = read(bound);
  EXPECT_DOUBLE_EQ(got[0], (1e-4 * (1 + 1e-6) + 1e-7) / mu);
  EXPECT_DOUBLE_EQ(got[1], (1e-2 * (1 + 1e-6) + 1e-7) / mu);
  EXPECT_DOUBLE_EQ(got[2], (1e-10 * (1 + 1e-6) + 1e-3) / mu);
  EXPECT_EQ(got[3], infinity);
  // converged, active, rounding_limited (its rounding alone is above the tolerance), failed
  EXPECT_EQ(read(status), (Values{1, 0, 3, 4}));
  EXPECT_EQ(mask(), (Flags{0, 1, 0, 0}));
  EXPECT_EQ(read(iterations), (Values{1, 2, 3, 4}));
}

TEST_F(Decisions, CertifyJointMeasuresTheWholeBatch) {
  const double mu = 1, tolerance[2] = {2.1e-3, 1.9e-3};  // |(1,1,1,1)| = 2
  for (const int which : {0, 1}) {
    active_.reset(context_);
    const auto norm2 = scalars(Values(n, 1e-6)), rounding = scalars(Values(n, 0)), bound = scalars(Values(n)),
               target = scalars(Values(n, tolerance[which])), status = scalars(Values(n));
    table().certify(stream(),
                    {active_.active(), norm2.device_data(), rounding.device_data(), mu, target.device_data(),
                     true, n, bound.device_data(), nullptr, status.device_data(), active_.mask()});
    EXPECT_EQ(mask(), which == 0 ? Flags(n, 0) : Flags(n, 1));
    EXPECT_EQ(read(status), Values(n, which == 0 ? 1 : 0));
  }
}

TEST_F(Decisions, NewtonForcingTerm) {
  const double mu = 2, eta = 0.1;
  const auto norm2 = scalars({1, 1e-2, 1e-8, 1e-12}), tolerance = scalars(Values(n, 1e-5)),
             first = scalars(Values(n)), target = scalars(Values(n));
  const auto launch = [&](double share, bool start) {
    table().newton_begin(stream(), {active_.active(), norm2.device_data(), tolerance.device_data(), mu, eta,
                                    share, start, first.device_data(), target.device_data()});
    return read(target);
  };
  const Values begin = launch(1, true);
  EXPECT_EQ(read(first), read(norm2));
  EXPECT_DOUBLE_EQ(begin[0], 0.1);  // |grad| = |grad_0|: eta |grad|
  EXPECT_DOUBLE_EQ(begin[1], 0.01);
  EXPECT_DOUBLE_EQ(begin[2], 1e-5);    // never below mu tolerance / 2
  EXPECT_DOUBLE_EQ(begin[3], 0.5e-6);  // nor above half of |grad|
  upload<double>(context_, Values(n, 1.0), first);
  const Values later = launch(0.5, false);
  EXPECT_EQ(read(first), Values(n, 1.0));
  EXPECT_DOUBLE_EQ(later[0], 0.1);        // min(eta, sqrt(1)) |grad|
  EXPECT_DOUBLE_EQ(later[1], 0.1 * 0.1);  // min(eta, sqrt(0.1)) |grad|
  EXPECT_DOUBLE_EQ(later[2], 5e-6);       // half of the share of mu tolerance
  EXPECT_DOUBLE_EQ(later[3], 0.5e-6);
}

TEST_F(Decisions, NewtonLineSearch) {
  // image 0: Armijo; 1: Phi rises; 2: Phi level and gradient halved; 3: direction of ascent
  const auto value = scalars({1, 1, 1, 1}), norm2 = scalars({1, 1, 1, 1}), rounding = scalars({0, 0, 0, 0}),
             trial_value = scalars({0.5, 1.5, 1, 0.5}), trial_norm2 = scalars({0.9, 0.9, 0.2, 0.1}),
             trial_rounding = scalars({5, 6, 7, 8}), slope = scalars({-1, -1, -1, 1}),
             step = scalars({1, 1, 1, 1}), backtracks = scalars({0, 0, 0, 0}), status = scalars({0, 0, 0, 0});
  ActiveSet searching(context_, frame_, n);
  table().newton_decide(stream(),
                        {searching.active(), value.device_data(), norm2.device_data(), rounding.device_data(),
                         trial_value.device_data(), trial_norm2.device_data(), trial_rounding.device_data(),
                         slope.device_data(), 1e-12, step.device_data(), backtracks.device_data(), 40,
                         searching.mask(), active_.mask(), status.device_data()});
  EXPECT_EQ(read(value), (Values{0.5, 1, 1, 1}));
  EXPECT_EQ(read(norm2), (Values{0.9, 1, 0.2, 1}));
  EXPECT_EQ(read(rounding), (Values{5, 0, 7, 0}));
  EXPECT_EQ(read(step), (Values{1, 0.5, 1, 0.5}));
  EXPECT_EQ(read(status), (Values{0, 0, 0, 4}));
  EXPECT_EQ(mask(), (Flags{1, 1, 1, 0}));
  EXPECT_EQ(searching.refresh(context_), 1);
}

TEST_F(Decisions, NewtonLineSearchWithNaNTrialBacktracks) {
  const double nan = std::nan("");
  const auto value = scalars(Values(n, 1)), norm2 = scalars(Values(n, 1)), rounding = scalars(Values(n, 0)),
             trial = scalars(Values(n, nan)), slope = scalars(Values(n, -1)), step = scalars(Values(n, 1)),
             backtracks = scalars({0, 10, 38, 39}), status = scalars(Values(n, 0));
  ActiveSet searching(context_, frame_, n);
  table().newton_decide(
      stream(), {searching.active(), value.device_data(), norm2.device_data(), rounding.device_data(),
                 trial.device_data(), trial.device_data(), rounding.device_data(), slope.device_data(), 1e-12,
                 step.device_data(), backtracks.device_data(), 40, searching.mask(), active_.mask(),
                 status.device_data()});
  EXPECT_EQ(read(step), Values(n, 0.5));
  EXPECT_EQ(read(value), Values(n, 1));
  EXPECT_EQ(read(status), (Values{0, 0, 0, 4}));  // the last one used up its backtracks
}

TEST_F(Decisions, ProgressChargesTheBudget) {
  set_mask({1, 0, 1, 1});
  const auto norm2 = scalars({4, 1, 2, 9}), best = scalars({5, 5, 1, HUGE_VAL}), spent = scalars({10}),
             status = scalars(Values(n, 0));
  const auto launch = [&](double budget, bool joint) {
    table().progress(stream(), {active_.active(), joint, n, norm2.device_data(), best.device_data(),
                                spent.device_data(), budget, status.device_data(), active_.mask()});
  };
  launch(0, false);
  EXPECT_EQ(read(best), (Values{4, 5, 1, 9}));
  EXPECT_EQ(read(spent), (Values{13}));
  launch(16, false);
  EXPECT_EQ(read(spent), (Values{16}));
  EXPECT_EQ(mask(), (Flags{1, 0, 1, 1}));
  launch(16, false);  // three more would exceed it
  EXPECT_EQ(read(spent), (Values{16}));
  EXPECT_EQ(mask(), Flags(n, 0));
  EXPECT_EQ(read(status), (Values{5, 0, 5, 5}));
}

TEST_F(Decisions, ProgressEndsAJointBatchWithAFailure) {
  set_mask({1, 0, 1, 1});
  const auto norm2 = scalars({4, 1, 2, 9}), best = scalars(Values(n, 5)), spent = scalars({0}),
             status = scalars({0, 4, 0, 0});
  table().progress(stream(), {active_.active(), true, n, norm2.device_data(), best.device_data(),
                              spent.device_data(), 0, status.device_data(), active_.mask()});
  EXPECT_EQ(mask(), Flags(n, 0));
  EXPECT_EQ(read(status), Values(n, 4));
}

TEST_F(Decisions, StallEndsImagesThatDoNotHalve) {
  // image 0 halved |grad|; 1 did not, above its rounding level; 2 did not, at its level; 3 is inactive
  set_mask({1, 1, 1, 0});
  const auto norm2 = scalars({0.2, 1, 1e-18, 1}), best = scalars({0.2, 1, 1e-18, 1}),
             reference = scalars({1, 1, 1e-18, 1}), rounding = scalars({0, 0, 1e-8, 0}),
             point2 = scalars(Values(n, 0)), status = scalars(Values(n, 0));
  table().stall(stream(), {active_.active(), false, n, norm2.device_data(), best.device_data(),
                           reference.device_data(), rounding.device_data(), point2.device_data(), 1e-16,
                           nullptr, status.device_data(), active_.mask()});
  EXPECT_EQ(mask(), (Flags{1, 0, 0, 0}));
  EXPECT_EQ(read(status), (Values{0, 4, 3, 0}));
  EXPECT_EQ(read(reference), (Values{0.2, 1, 1e-18, 1}));
  EXPECT_EQ(read(best), (Values{HUGE_VAL, HUGE_VAL, HUGE_VAL, 1}));
}

TEST_F(Decisions, ResidualRounding) {
  const auto xx = scalars({1, 4, 9, 0}), bb = scalars({0, 1, 4, 9}), out = scalars(Values(n));
  table().residual_rounding(
      stream(), {active_.active(), xx.device_data(), bb.device_data(), 0x1p-24, 3, out.device_data()});
  EXPECT_EQ(read(out), (Values{168 * 0x1p-24, 340 * 0x1p-24, 512 * 0x1p-24, 12 * 0x1p-24}));
}

}  // namespace
}  // namespace bilevel
