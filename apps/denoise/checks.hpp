#pragma once

#include <cstdint>
#include <iosfwd>

#include "apps/common/common_options.hpp"
#include "apps/common/image_data.hpp"
#include "apps/denoise/hypergradient_checks.hpp"
#include "apps/denoise/laboratory.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// Gradient, Hessian product, mixed derivative, its adjoint and the hypergradient against differences, and
/// certificates against tight solves, and every method for hypergradients (see check_hypergradients), at the
/// parameters' first values; random directions from the seed.
/// `make`: another energy than that of `options`. After a signal the list is incomplete. Throws what energies
/// and solvers throw.
Findings run_checks(bilevel::Context& context, const ImageBatch& batch, const bilevel::Parameters& parameters,
                    const bilevel::RegulariserSum& options, std::uint64_t seed, const EnergyMaker& make = {});

/// Prints both tables (with --json as JSON; numbers that are not finite are null) and returns the exit code:
/// 4 when a check failed.
int report_checks(const Findings& found, const ImageBatch& batch, const CommonOptions& options,
                  std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::denoise
