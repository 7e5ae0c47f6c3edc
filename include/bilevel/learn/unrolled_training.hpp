#pragma once

#include <memory>
#include <string>

#include "bilevel/learn/unrolled_hypergradient.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// theta <- P(theta - a z), or a step of Adam (Kingma and Ba 2015, algorithm 1) by the same z, then P.
enum class UnrolledUpdate { gradient, adam };
BILEVEL_API const char* name_of(UnrolledUpdate update);
/// "gradient", "adam". Throws ConfigError for another name.
BILEVEL_API UnrolledUpdate unrolled_update(const std::string& name);

struct BILEVEL_API UnrolledTrainingOptions {
  UnrolledOptions unrolled;
  UnrolledUpdate update = UnrolledUpdate::adam;

  void validate() const;  ///< as UnrolledOptions::validate()
};

/// Training as of unrolled networks, to compare with: K steps of a lower-level method from the same start and
/// of the same length for every theta (that of the first theta unless it is set), their derivative, and a
/// step of length a = schedule.step0 whatever comes of it. It descends on f_K, whose minimisers are not those
/// of f, as long as a is short and L does not outgrow the lower level's step. No step is certified: records
/// have an infinite omega, the status "uncertified", the loss f_K, and the enclosure of f that the distance
/// measured at x^K gives (one gradient more). Of the end everything is certified, whatever the limits: f is
/// enclosed to a relative 1e-4, as far as rounding and schedule.max_rounds let it be, and omega bounds the
/// error of z, there that of f. Where |P(theta - z) - theta| <= schedule.tolerance of f_K the run ends, as
/// stationary if that is so of f with omega added, otherwise with the status accuracy_limit. Of the options,
/// schedule.epsilon0, delta0 and nu (of the end), step0, max_rounds and tolerance, the solvers (of the end)
/// and the limits count. Throws ConfigError for options outside their range.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_unrolled(const UnrolledTrainingOptions& own,
                                                             const UpperOptions& options,
                                                             const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
