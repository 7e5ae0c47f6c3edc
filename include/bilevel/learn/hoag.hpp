#pragma once

#include <memory>
#include <string>

#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// Accuracies of iteration k = 1, 2, ...: epsilon0 / k^2, epsilon0 / k^3, epsilon0 0.9^k, or as fine as can
/// be.
enum class HoagSchedule { quadratic, cubic, geometric, exact };
BILEVEL_API const char* name_of(HoagSchedule schedule);
/// "quadratic", "cubic", "geometric", "exact". Throws ConfigError for another name.
BILEVEL_API HoagSchedule hoag_schedule(const std::string& name);

struct BILEVEL_API HoagOptions {
  HoagSchedule schedule = HoagSchedule::quadratic;
  double epsilon0 = 0.1;  ///< Euclidean distance of reconstructions, and residual of linear systems
  /// As the code published with the paper does it (hoag.py of 2016), to reproduce its numbers: a step is
  /// taken twice unless it is rejected, the first of the two ends inside [-6, 6]; whether to reject it is
  /// decided before it is taken, from the values at the last two theta; accuracies are relative,
  ///   |grad Phi(x~)| <= epsilon_k |grad Phi(x_0)| e^{min theta - min theta_0},  |A q - grad g| <= epsilon_k
  ///   |grad g|,
  /// with epsilon_k one iteration late. The bounds of Parameters still hold.
  bool published_code = false;

  void validate() const;  ///< ConfigError unless epsilon0 is positive and finite
};

/// HOAG (Pedregosa 2016, algorithm 1): gradient steps theta <- P(theta - z/L) whose accuracies follow a
/// schedule, whatever z is. With the step length D and the values g of the loss at x~,
///   g_k <= g_{k-1} + epsilon_k/4 + 5/4 epsilon_{k-1} D - L D^2:  L <- 0.95 L,
///   else g_k >= 1.2 g_{k-1}:  the step is taken back, L <- 2 L, and accuracies are halved from then on;
/// first L = |z| / sqrt(p), 1 where |z| <= 1e-3. A decrease of the loss is not certified, and as L only falls
/// while values allow it, steps may become too long and theta oscillate; what is said of the
/// end is: it counts as stationary when |P(theta - z) - theta| + omega <= schedule.tolerance of the options,
/// for which omega is computed where the first term is below. Of the options, this tolerance, the solvers and
/// the limits count.
template <class T>
BILEVEL_API std::unique_ptr<UpperOptimiser<T>> make_hoag(const HoagOptions& hoag, const UpperOptions& options,
                                                         const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
