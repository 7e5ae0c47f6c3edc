#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "apps/common/common_options.hpp"
#include "apps/common/image_data.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// A relative error, or a ratio of error to bound, and what it may be at most.
struct Verdict {
  std::string what;
  double measured = 0, limit = 0;
  /// Of differences: their own relative error, known without the derivative; what is smaller goes unseen.
  double resolution = 0;
  bool passed() const { return measured <= limit; }  ///< a NaN does not
};

/// Makes the energy of noisy images that is checked.
using EnergyMaker = std::function<std::unique_ptr<bilevel::Energy<double>>(
    bilevel::Context&, bilevel::View<const double> noisy)>;

/// Gradient, Hessian product, mixed derivative, its adjoint and the hypergradient against differences, and
/// certificates against tight solves, at the parameters' first values; random directions from the seed.
/// `make`: another energy than that of `options`. After a signal the list is incomplete. Throws what energies
/// and solvers throw.
std::vector<Verdict> run_checks(bilevel::Context& context, const ImageBatch& batch,
                                const bilevel::Parameters& parameters, const bilevel::RegulariserSum& options,
                                std::uint64_t seed, const EnergyMaker& make = {});

/// Prints the list (with --json as JSON; numbers that are not finite are null) and returns the exit code: 4
/// when a check failed.
int report_checks(const std::vector<Verdict>& list, const ImageBatch& batch, const CommonOptions& options,
                  std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::denoise
