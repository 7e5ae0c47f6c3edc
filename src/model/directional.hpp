#pragma once

#include "model/term.hpp"
#include "model/tv_constants.hpp"

namespace bilevel {
inline namespace v0 {

/// What a term alpha R(K x) and its ridge add to directional bounds, from the sums of the bound kernel; the
/// blocks are alpha, nu and xi, with respect to these values. `moduli`: how many R adds up.
TermBound value_bounds(const TvConstants& constants, const TvOptions& options, const TvValues& values,
                       const ImageSums& sums, const Ball& ball, double moduli);

}  // namespace v0
}  // namespace bilevel
