#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bilevel/model/parameters.hpp"
#include "bilevel/ops/wavelet.hpp"

namespace bilevel {
inline namespace v0 {

/// rho_nu(r): sqrt(r^2 + nu^2); r^2/nu - r^3/(3 nu^2) for r <= nu and r - nu/3 beyond; r^2/2, without nu.
enum class TvPotential { charbonnier, huber_c2, quadratic };
BILEVEL_API const char* potential_name(TvPotential potential);
/// Throws ConfigError for a name other than charbonnier, huber_c2.
BILEVEL_API TvPotential potential_from(const std::string& name);

/// K x, with differences that would reach over the border zero (Neumann): (Dx, Dy), forward differences to
/// the right and down; (Dxx, Dyy, sqrt 2 Dxy), Dxx = -Dx^T Dx; x itself.
enum class TvDifferences { first, second, none };

/// alpha R(x), R(x) = sum over pixels of rho_nu(|K x|) (smoothed total variation, also of second order, H1,
/// Tikhonov): potential, under one modulus for all components of a pixel, real and imaginary part of complex
/// images and the channels of colour among them (isotropic: vectorial total variation), or one for each;
/// where the ridge xi/2 |x|^2 stands: beside alpha R(x), or inside alpha (R(x) + xi/2 |x|^2). Differences
/// none are for the quadratic potential, which is isotropic.
struct TvOptions {
  TvPotential potential = TvPotential::charbonnier;
  bool isotropic = true;
  bool xi_inside_alpha = false;
  TvDifferences differences = TvDifferences::first;

  bool smoothed() const { return potential != TvPotential::quadratic; }  ///< whether R depends on a nu
  bool operator==(const TvOptions&) const = default;
};

/// Parameters alpha, nu (without one for the quadratic potential) and xi with the defaults of the apps: alpha
/// and nu learned on a log scale, first 0.05 and 0.01, nu >= 1e-6 (second differences 1e-4), xi 0.001 fixed.
BILEVEL_API Parameters tv_parameters(const TvOptions& options = {});

/// What a filter sees beyond the border: the image reflected about its edge, edge pixels repeated, or nothing
/// (responses only where the filter fits inside).
enum class FilterPadding { symmetric, valid };
BILEVEL_API const char* padding_name(FilterPadding padding);
/// Throws ConfigError for a name other than symmetric, valid.
BILEVEL_API FilterPadding padding_from(const std::string& name);

/// A field of experts, sum_k b_k sum_p rho_{nu_k}((C_k x)_p), C_k the cross-correlation with filter k. Of
/// complex images R(Re x) + R(Im x): the same filters on real and imaginary part, without a modulus.
struct ExpertsOptions {
  FilterPadding padding = FilterPadding::symmetric;
  TvPotential potential = TvPotential::charbonnier;
  bool zero_mean = true;  ///< the energy uses c_k - mean(c_k)
};

/// First filters: the cosine basis without its constant, scaled to norm 1; independent normal taps, zero
/// mean, norm 1; or the two differences of total variation followed by the cosine basis, nearly switched off.
enum class FilterInit { dct, random, tv };

/// Segments weight [K], smoothing [K] (both on a log scale, smoothings at least 1e-3), filters [K,size,size]
/// and the fixed ridge mu = 1e-3. For FilterInit::tv the first two filters start with `alpha` and `nu`, the
/// others with weight 3e-4 and smoothing 0.01; otherwise all start with `alpha` and `nu`. Throws ConfigError
/// for a number of filters outside [1,64] or a size other than 3, 5, 7, 9, 11.
BILEVEL_API Parameters experts_parameters(int filters, int size, FilterInit init, double alpha, double nu,
                                          std::uint64_t seed = 0);

/// alpha sum_j rho_nu(|(W x)_j|), W an orthogonal wavelet transform (ops/wavelet.hpp), the modulus over the
/// channels of a coefficient.
struct WaveletSparsity {
  WaveletOptions wavelet = {};
  TvPotential potential = TvPotential::charbonnier;
};
/// Parameters alpha, nu and xi, first as for total variation.
BILEVEL_API Parameters wavelet_parameters(const WaveletSparsity& options = {});

/// alpha sum_p rho_nu(|(K x)_p|), K = (I - zeta zeta^T) D of ops/projected_differences.hpp: total variation
/// that a jump of x along one of the reference does not pay for; both channels under one modulus.
struct DirectionalTv {
  TvPotential potential = TvPotential::charbonnier;  ///< not quadratic
  double eta = 1e-2;                                 ///< jumps of the reference that count as edges
  std::span<const double> reference = {};            ///< [H,W], or [N,H,W]; read when an energy is made
};
/// Parameters alpha, nu and xi, first as for total variation.
BILEVEL_API Parameters directional_parameters(const DirectionalTv& options = {});

/// Total generalised variation of second order (Bredies, Kunisch and Pock 2010), jointly in u = (x, v1, v2),
/// [N,3C,H,W] with C = 1 or 2 channels of x first:
///   alpha1 sum_p rho_nu(|(D x - v)_p|) + alpha0 sum_p rho_nu(|(E v)_p|) + xi/2 |x|^2 + xi_v/2 |v|^2,
/// D x = (x_{r,c+1} - x_{r,c}, x_{r+1,c} - x_{r,c}), zero where it would reach over the border, E v = (Bx v1,
/// By v2, (By v1 + Bx v2)/sqrt 2) with B = -D^T, each under one modulus for all channels. The data term is
/// one of x. Strongly convex with xi_v alone for constant v and affine x, so that xi_v must be positive, and
/// bounds are as loose as it is small. Stands alone, not in sums.
struct TgvOptions {
  TvPotential potential = TvPotential::charbonnier;  ///< not quadratic
};
/// Parameters alpha1 and alpha0, learned on a log scale, first 0.05 and 0.1; nu 0.002, xi and xi_v 0.001
/// fixed. (E v is small against D x, so that a nu that suits total variation is too large here; learned, it
/// falls to where nothing can be certified.)
BILEVEL_API Parameters tgv_parameters(const TgvOptions& options = {});

/// The kind of a regulariser: of differences (see catalogue.hpp), a field of experts, wavelets, total
/// generalised variation, directional total variation.
using RegulariserOptions =
    std::variant<TvOptions, ExpertsOptions, WaveletSparsity, TgvOptions, DirectionalTv>;

class OwnPart;

/// A sum of regularisers; one converts to it. Those of one's own (term.hpp) come after the others.
struct BILEVEL_API RegulariserSum {
  std::vector<RegulariserOptions> parts;
  std::vector<std::shared_ptr<OwnPart>> own = {};

  RegulariserSum(RegulariserOptions one = TvOptions{}) : parts{one} {}
  RegulariserSum(TvOptions one) : parts{one} {}
  RegulariserSum(ExpertsOptions one) : parts{one} {}
  RegulariserSum(WaveletSparsity one) : parts{one} {}
  RegulariserSum(TgvOptions one) : parts{one} {}
  RegulariserSum(DirectionalTv one) : parts{one} {}
  explicit RegulariserSum(std::vector<RegulariserOptions> all,
                          std::vector<std::shared_ptr<OwnPart>> more = {})
      : parts(std::move(all)), own(std::move(more)) {}
};

/// The parameters of a sum from those of its parts: names of the second begin with "2.", those of the third
/// with "3.", ..., and the ridge, xi or mu, is that of the first alone. Throws ConfigError without parts.
BILEVEL_API Parameters joined_parameters(const std::vector<Parameters>& parts);
/// What the names of part k of a sum, counted from 0, begin with.
BILEVEL_API std::string part_prefix(std::size_t k);

}  // namespace v0
}  // namespace bilevel
