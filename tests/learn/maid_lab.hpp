#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "bilevel/learn/upper_optimiser.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel::testing_support {

/// Keeps every record and state; stops as told.
struct Recorder final : Observer {
  std::vector<IterationRecord> records;
  std::vector<UpperState> states;
  int stop_after = -1;          ///< iteration() refuses after this many records
  std::uint64_t lives = ~0ull;  ///< alive() answers true this often
  int finished_calls = 0;

  bool iteration(const IterationRecord& record) override {
    records.push_back(record);
    return static_cast<int>(records.size()) != stop_after;
  }
  bool wants_state(const IterationRecord&) override { return true; }
  void state(const UpperState& state) override { states.push_back(state); }
  bool alive() override { return lives > 0 ? lives-- > 0 : false; }
  void finished(const UpperReport&) override { finished_calls += 1; }
};

inline std::vector<double> exact_gradient(const TvInstance& instance) {
  return oracle::exact_hypergradient(instance.model, instance.learned, instance.y, instance.truth)
      .hypergradient;
}

template <class T>
struct MaidRunOf {
  UpperReport report;
  Recorder seen;
  TvInstance instance;
  std::vector<Image> x;

  /// Exact loss and hypergradient at theta; computed once.
  const oracle::UpperResult& exact(const std::vector<double>& theta) const {
    const auto [at, fresh] = exact_.try_emplace(theta);
    const TvInstance moved = instance.at(theta);
    if (fresh) at->second = oracle::exact_hypergradient(moved.model, moved.learned, moved.y, moved.truth);
    return at->second;
  }

 private:
  mutable std::map<std::vector<double>, oracle::UpperResult> exact_;
};

struct RunOptions {
  UpperOptions options;
  std::string device = test_device("cpu:1");
  double lower = 1e-12, upper = 1e6;  ///< bounds of every learned value
  int stop_after = -1;
  std::uint64_t lives = ~0ull;
  const UpperState* resume = nullptr;
  Penalty penalty = {};
};

template <class T = double>
MaidRunOf<T> train_by(UpperOptimiser<T>& optimiser, const TvInstance& instance, const RunOptions& how) {
  TvSetup<T> setup(instance, how.device, how.lower, how.upper);
  BilevelProblem<T> problem = setup.problem(how.penalty);
  MaidRunOf<T> out;
  out.instance = setup.instance;
  out.seen.stop_after = how.stop_after;
  out.seen.lives = how.lives;
  out.report =
      optimiser.run(setup.context, problem, setup.parameters.initial(), setup.y.view(), out.seen, how.resume);
  out.x = unflatten(download<T>(setup.context, optimiser.reconstructions()), instance.y.size());
  EXPECT_EQ(out.seen.finished_calls, 1);
  return out;
}
template <class T = double>
MaidRunOf<T> train(const TvInstance& instance, const RunOptions& how) {
  return train_by<T>(*make_maid<T>(how.options), instance, how);
}

/// The loss enclosure and |z| + omega of a record are true at its theta.
template <class T>
void expect_true_record(const MaidRunOf<T>& run, const IterationRecord& r) {
  const oracle::UpperResult& exact = run.exact(r.theta);
  const double f = exact.f, slack = 1e-14 * f;
  EXPECT_LE(r.loss_lower, f + slack);
  EXPECT_GE(r.loss_upper, f - slack);
  EXPECT_LE(r.loss_lower, r.loss);
  EXPECT_LE(r.loss, r.loss_upper);
  EXPECT_LE(norm(exact.hypergradient), r.gradient_norm + r.error_bound);
  EXPECT_GE(norm(exact.hypergradient), r.gradient_norm - r.error_bound);
}

/// Every accepted step decreased the exact loss, or the average C_k of ScheduleOptions::non_monotone, by
/// lambda times its predicted slope.
template <class T>
void expect_certified_decrease(const MaidRunOf<T>& run, const RunOptions& how) {
  const auto& records = run.seen.records;
  double average = 0, weight = 0;  // C_k, Q_k
  for (std::size_t k = 0; k < records.size(); ++k) {
    const std::vector<double>& next = k + 1 < records.size() ? records[k + 1].theta : run.report.theta;
    const std::vector<double> d = add_scaled(next, -1, records[k].theta);
    // Scaled steps fall back to gradient steps where a bound leaves no descent.
    const double along = -dot(run.seen.states[k].list("previous-z"), d);
    const bool plain = how.options.scaling == StepScaling::none || !(along > 0);
    const double slope = plain ? dot(d, d) / records[k].step : along;
    const double f = run.exact(records[k].theta).f, f_next = run.exact(next).f;
    const double earlier = how.options.schedule.non_monotone * weight;
    average = (earlier * average + f) / (earlier + 1);
    weight = earlier + 1;
    EXPECT_LE(f_next, average - how.options.schedule.lambda * slope + 1e-14 * f) << "iteration " << k;
    EXPECT_GT(slope, 0) << "iteration " << k;
  }
}

}  // namespace bilevel::testing_support
