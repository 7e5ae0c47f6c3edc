#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "bilevel/learn/stochastic.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/support/tv_setup.hpp"

namespace bilevel::testing_support {

/// Passes loads on and remembers them.
template <class T>
class WatchedBatches final : public BatchSource<T> {
 public:
  explicit WatchedBatches(BatchSource<T>& of) : of_(of) {}
  int images() const override { return of_.images(); }
  const BilevelProblem<T>& problem() const override { return of_.problem(); }
  void load(Context& context, std::span<const int> batch) override {
    last.assign(batch.begin(), batch.end());
    of_.load(context, batch);
  }
  void start(int image, std::span<T> x) const override { of_.start(image, x); }

  std::vector<int> last;

 private:
  BatchSource<T>& of_;
};

/// Keeps every record with the images loaded last, states, and what the context did until then.
struct BatchRecorder final : Observer {
  explicit BatchRecorder(const std::vector<int>& loaded, const Context& context)
      : loaded_(loaded), context_(context) {}

  bool iteration(const IterationRecord& record) override {
    records.push_back(record);
    batches.push_back(loaded_);
    counters.push_back(context_.counters());
    return static_cast<int>(records.size()) != stop_after;
  }
  bool wants_state(const IterationRecord&) override { return true; }
  void state(const UpperState& state) override { states.push_back(state); }
  bool alive() override { return lives > 0 ? lives-- > 0 : false; }

  std::vector<IterationRecord> records;
  std::vector<std::vector<int>> batches;
  std::vector<Counters> counters;
  std::vector<UpperState> states;
  int stop_after = -1;
  std::uint64_t lives = ~0ull;

 private:
  const std::vector<int>& loaded_;
  const Context& context_;
};

inline bool of_a_step(const IterationRecord& r) { return r.status == "minibatch" || r.status == "skipped"; }

/// A training set of total variation whose images come in minibatches.
template <class T>
struct BatchSetup {
  BatchSetup(const TvInstance& from, int batch, const RunOptions& how)
      : full(from, how.device, how.lower, how.upper),
        source(
            full.context, full.instance.shape(), batch, flat<T>(full.instance.y),
            flat<T>(full.instance.truth),
            [this](View<const T> y) {
              return std::make_unique<ComposedEnergy<T>>(full.context, y, full.parameters,
                                                         options_of(full.instance.model),
                                                         full.instance.model.mask);
            },
            full.parameters, how.penalty) {}

  TvSetup<T> full;
  ImageBatches<T> source;
};

template <class T>
struct BatchRun {
  UpperReport report;
  std::vector<IterationRecord> records;
  std::vector<std::vector<int>> batches;
  std::vector<Counters> counters;
  std::vector<UpperState> states;
  TvInstance instance;
  std::vector<T> x;

  std::vector<IterationRecord> with_status(bool step) const {
    std::vector<IterationRecord> out;
    std::copy_if(records.begin(), records.end(), std::back_inserter(out),
                 [&](const IterationRecord& r) { return of_a_step(r) == step; });
    return out;
  }
  /// Exact f_I and its gradient at theta for the images I; computed once.
  const oracle::UpperResult& exact(const std::vector<int>& images, const std::vector<double>& theta) const {
    const auto [at, fresh] = exact_.try_emplace({images, theta});
    if (fresh) {
      TvInstance part = instance.at(theta);
      part.y = picked(instance.y, images);
      part.truth = picked(instance.truth, images);
      at->second = oracle::exact_hypergradient(part.model, part.learned, part.y, part.truth);
    }
    return at->second;
  }
  std::vector<int> all_images() const {
    std::vector<int> all;
    for (int i = 0; i < instance.images(); ++i) all.push_back(i);
    return all;
  }

 private:
  static std::vector<Image> picked(const std::vector<Image>& of, const std::vector<int>& images) {
    std::vector<Image> out;
    for (const int i : images) out.push_back(of[static_cast<std::size_t>(i)]);
    return out;
  }
  mutable std::map<std::pair<std::vector<int>, std::vector<double>>, oracle::UpperResult> exact_;
};

template <class T = double>
BatchRun<T> train_batches(const TvInstance& instance, int batch, const StochasticOptions& own,
                          const RunOptions& how) {
  BatchSetup<T> setup(instance, batch, how);
  WatchedBatches<T> watched(setup.source);
  BatchRecorder seen(watched.last, setup.full.context);
  seen.stop_after = how.stop_after;
  seen.lives = how.lives;
  const auto optimiser = make_stochastic<T>(own, how.options);
  BatchRun<T> out;
  out.report = optimiser->run(setup.full.context, watched, setup.full.parameters.initial(), seen, how.resume);
  out.records = seen.records;
  out.batches = seen.batches;
  out.counters = seen.counters;
  out.states = seen.states;
  out.instance = setup.full.instance;
  out.x.assign(optimiser->reconstructions().begin(), optimiser->reconstructions().end());
  return out;
}

/// The enclosure and |z - grad| <= omega of a record are true of f_I.
template <class T>
void expect_true_of(const BatchRun<T>& run, const std::vector<int>& images, const IterationRecord& r) {
  const oracle::UpperResult& exact = run.exact(images, r.theta);
  const double slack = 1e-14 * exact.f;
  EXPECT_LE(r.loss_lower, exact.f + slack);
  EXPECT_GE(r.loss_upper, exact.f - slack);
  EXPECT_LE(r.loss_lower, r.loss);
  EXPECT_LE(r.loss, r.loss_upper);
  if (r.gradient.empty()) return;
  EXPECT_LE(distance(r.gradient, exact.hypergradient), r.error_bound);
  EXPECT_TRUE(std::isfinite(r.error_bound));
}

}  // namespace bilevel::testing_support
