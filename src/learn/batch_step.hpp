#pragma once

// What a minibatch does to theta (learn/stochastic.hpp).

#include <memory>

#include "bilevel/learn/stochastic.hpp"
#include "bilevel/learn/upper_method.hpp"

namespace bilevel {
inline namespace v0 {

/// |A q_i - b_i| <= delta and |x~_i - xhat_i| <= epsilon, as asked for.
struct Accuracies {
  double epsilon, delta;
};

template <class T>
class BatchStep {
 public:
  explicit BatchStep(UpperOracle<T>& oracle) : oracle_(oracle) {}
  virtual ~BatchStep() = default;

  virtual Accuracies accuracies() const = 0;  ///< of the next step
  /// From the warm starts of the minibatch at `now`, whose theta and reconstructions it moves, at its end and
  /// not before; the record of what it left. Ends the run with UpperStop.
  virtual IterationRecord move(UpperPoint<T>& now) = 0;
  virtual void save(UpperState&) const = 0;
  virtual void restore(const UpperState&) = 0;

 protected:
  UpperOracle<T>& oracle() const { return oracle_; }
  const ScheduleOptions& schedule() const { return oracle_.options().schedule; }

 private:
  UpperOracle<T>& oracle_;
};

/// The record of a minibatch, or of a part of the whole set.
template <class T>
IterationRecord batch_record(const UpperOracle<T>& oracle, const UpperPoint<T>& at,
                             const HypergradientResult& gradient, const Accuracies& accuracies,
                             const char* status);

/// `batches` in an epoch.
template <class T>
std::unique_ptr<BatchStep<T>> make_batch_step(const StochasticOptions& options, int batches,
                                              UpperOracle<T>& oracle);

}  // namespace v0
}  // namespace bilevel
