#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/energy.hpp"
#include "bilevel/solve/report.hpp"

namespace bilevel {
inline namespace v0 {

/// What a lower-level solve is asked for. A tolerance belongs to a call, never to a solver.
template <class T>
struct SolveRequest {
  double tolerance = 1e-3;                 ///< bound on |x_i - xhat_i| to be certified, per image
  std::span<const double> per_image = {};  ///< N tolerances instead of one
  bool joint = false;                      ///< bound on the norm over the whole batch instead
  int max_iterations = 10000;              ///< outer iterations; reaching it is a status
  int check_every = 4;       ///< iterations between looks of the host; does not change any result
  std::uint64_t budget = 0;  ///< operator applications to one image; 0: none
  /// Called between iterations with the current points and their certificates (N, possibly infinite); true
  /// ends the solve with status `decided`. Empty: never.
  std::function<bool(Context&, View<const T> x, std::span<const double> certificate)> decided = {};

  /// Throws ConfigError unless the tolerances are positive and the caps at least 1.
  void validate(int images) const;
};

/// Minimises a batch of energies from a warm start, in place. All stop by the same certificate, measured at
/// the returned point: |x - xhat| <= ((1 + 1e-6) |grad| + rounding) / mu, xhat the minimiser for data and
/// parameters in double (GradientSums::rounding). A norm or bound that is not finite is never certified.
/// Scratch comes from the context's workspace: a second solve of the same shape allocates nothing. Throws
/// ShapeError for another shape of x, ConfigError for an energy whose mu or L is not positive and finite.
template <class T>
class BILEVEL_API Minimiser {
 public:
  virtual ~Minimiser();
  virtual const char* name() const = 0;
  virtual SolveReport minimise(Context&, const Energy<T>&, const SolveRequest<T>&, View<T> x) const = 0;
};

/// "newton" (primal-dual Newton with Jacobi-preconditioned CG, the default), "gradient-descent",
/// "heavy-ball", "fista", "fista-restart", "lbfgs", "pdhg" (for energies with proximal()); with T = double
/// also "mixed:" before any of these, which works in single precision where the tolerance allows it,
/// certifies in double, and needs an energy with single_precision(). Throws ConfigError for another name.
template <class T>
BILEVEL_API std::unique_ptr<Minimiser<T>> make_minimiser(const std::string& name = "newton");

}  // namespace v0
}  // namespace bilevel
