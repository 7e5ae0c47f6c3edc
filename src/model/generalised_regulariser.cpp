#include "model/generalised_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/directional.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {

Parameters tgv_parameters(const TgvOptions&) {
  return Parameters({{"alpha1", Transform::exp, 0.05, 1e-8, 1e3, true},
                     {"alpha0", Transform::exp, 0.1, 1e-8, 1e3, true},
                     {"nu", Transform::exp, 0.002, 1e-6, 1e2, false},
                     {"xi", Transform::exp, 1e-3, 1e-10, 1e2, false},
                     {"xi_v", Transform::exp, 1e-3, 1e-10, 1e2, false}});
}

namespace {

constexpr const char* names[] = {"alpha1", "alpha0", "nu", "xi", "xi_v"};

/// |K|^2 and r_K^2 of D x - v and of E v: (|D| |x| + |v|)^2 <= 9 |u|^2, |E|^2 <= |D|^2, and the Gram matrices
/// of the rows of a pixel. What rounding does to D x - v beyond that of the result is |D x|, to E v |By v1| +
/// |Bx v2| and the rounding of 1/sqrt 2.
constexpr double norms2[] = {9, 8}, rows2[] = {4, 3}, readings[] = {3, 8};

/// |(D x - v, E v)|^2 <= the largest eigenvalue of (8, sqrt 8; sqrt 8, 9).
double joint_norm2() { return (17 + std::sqrt(33.0)) / 2; }

}  // namespace

template <class T>
GeneralisedRegulariser<T>::GeneralisedRegulariser(const TgvOptions& options, const Shape& images)
    : options_(options), images_(images) {
  if (options.potential == TvPotential::quadratic)
    throw ConfigError("total generalised variation has the potential charbonnier or huber_c2.");
}

template <class T>
void GeneralisedRegulariser<T>::bind(Context&, const Parameters& parameters, std::span<const double> theta) {
  std::array<Number, 5> numbers{};
  for (std::size_t k = 0; k < numbers.size(); ++k)
    numbers[k] = weight_at(parameters, theta, names[k], k == kNu);
  require_smoothing<T>(numbers[kNu].value, names[kNu]);
  numbers_ = numbers;
}

template <class T>
std::string GeneralisedRegulariser<T>::values() const {
  std::string text;
  for (std::size_t k = 0; k < numbers_.size(); ++k)
    text += (k > 0 ? ", " : "") + std::string(names[k]) + " " + std::to_string(number(k));
  return text;
}

template <class T>
TvOptions GeneralisedRegulariser<T>::potential() const {
  TvOptions out;
  out.potential = options_.potential;
  return out;
}
template <class T>
TvValues GeneralisedRegulariser<T>::values_of(std::size_t g) const {
  return {number(groups[g].alpha), number(kNu), number(groups[g].ridge)};
}

/// Of one group, as of a term alone.
template <class T>
TvConstants GeneralisedRegulariser<T>::constants_of(std::size_t g) const {
  const bool huber = options_.potential == TvPotential::huber_c2;
  const double alpha = number(groups[g].alpha), nu = number(kNu);
  TvConstants c{};
  c.norm2 = norms2[g];
  c.row_norm = std::sqrt(rows2[g]);
  c.curvature = kernels::steepest(static_cast<kernels::Potential>(options_.potential), nu);
  const double change = (huber ? 2.0 : 48.0 / (25 * std::sqrt(5.0))) / (nu * nu);  // l_2
  c.hessian_lipschitz = alpha * change * c.norm2 * c.row_norm;
  c.mixed_lipschitz = {c.curvature * c.norm2, alpha / nu * c.norm2 * c.curvature, 1};
  c.reading = readings[g];
  return c;
}

/// Bounds of the sum of both groups: of each, or of the joint norm and the larger weight.
template <class T>
RegulariserConstants GeneralisedRegulariser<T>::constants() const {
  const TvConstants a = constants_of(0), b = constants_of(1);
  const double joint = joint_norm2() * std::max(a.hessian_lipschitz / a.norm2, b.hessian_lipschitz / b.norm2);
  return {steepest(), std::min(a.hessian_lipschitz + b.hessian_lipschitz, joint)};
}
template <class T>
double GeneralisedRegulariser<T>::steepest() const {
  const double l = constants_of(0).curvature, a = number(kAlpha1), b = number(kAlpha0);
  return l * std::min(norms2[0] * a + norms2[1] * b, joint_norm2() * std::max(a, b));
}

/// mu = min(mu of data + xi, xi_v), as both groups are convex; L the largest eigenvalue of the norms of the
/// blocks, (data + xi + 8 a, sqrt 8 a; sqrt 8 a, xi_v + a + 8 b), a = alpha_1 l_1, b = alpha_0 l_1.
template <class T>
Convexity GeneralisedRegulariser<T>::with(const Convexity& data) const {
  const double l = constants_of(0).curvature, a = l * number(kAlpha1), b = l * number(kAlpha0);
  const double x = data.lipschitz + number(kXi) + 8 * a, v = number(kXiV) + a + 8 * b;
  const double largest = (x + v) / 2 + std::hypot((x - v) / 2, std::sqrt(8.0) * a);
  return {std::min(data.mu + number(kXi), number(kXiV)), largest * (1 + 1e-15)};
}

/// As of second differences (src/model/analysis_regulariser.cpp).
template <class T>
UnderflowParts GeneralisedRegulariser<T>::underflow() const {
  const double bent = (number(kAlpha1) + number(kAlpha0)) * (1 + constants_of(0).curvature);
  return {32 * (1 + bent) + number(kXiV), 500 * bent + number(kXiV)};
}

/// The roundings of a product (kernels/decision_args.hpp) of each group, with those of its differences and
/// of one component more, less what L, at least that of the larger group, covers.
template <class T>
double GeneralisedRegulariser<T>::product_rounding() const {
  double sum = 0, most = 0;
  for (std::size_t g = 0; g < 2; ++g) {
    const TvConstants c = constants_of(g);
    const double own = number(groups[g].alpha) * c.curvature;
    sum += own * (64 * c.norm2 + c.reading * std::sqrt(c.norm2));
    most = std::max(most, own * c.norm2);
  }
  return std::max(0.0, sum - 56 * most);
}

template <class T>
kernels::AnalysisModel GeneralisedRegulariser<T>::model() const {
  return {images_.h,
          images_.w,
          static_cast<kernels::Potential>(options_.potential),
          kernels::Stencil::generalised,
          number(kAlpha1),
          number(kNu),
          number(kXi),
          images_.c,
          number(kAlpha0),
          number(kXiV)};
}
template <class T>
const kernels::AnalysisKernels<T>& GeneralisedRegulariser<T>::table(Context& context) const {
  return kernel_table<T>(context).analysis[static_cast<int>(kernels::Stencil::generalised)];
}

template <class T>
void GeneralisedRegulariser<T>::gradient(Context& context, const Active& active, View<const T> u, View<T> g,
                                         const GradientSums& sums, const GradientStart<T>& start,
                                         const Roundoff& roundoff) const {
  table(context).gradient(stream_of(context),
                          gradient_args<T>(model(), active, images_.n, u, g, sums, start, roundoff));
}

template <class T>
void GeneralisedRegulariser<T>::linearise(Context& context, const Active& active, View<const T> u,
                                          const float* dual, T* weights, T* inverse_diagonal,
                                          const DiagonalStart<T>& start) const {
  table(context).linearise(stream_of(context), {model(), active, images_.n, u.device_data(), dual, weights,
                                                inverse_diagonal, start.mean, start.map, start.before});
}

template <class T>
void GeneralisedRegulariser<T>::hessian(Context& context, const Active& active, const T* weights,
                                        View<const T> p, View<T> product, Scalars inner,
                                        const HessianStart<T>& start) const {
  table(context).hessian(stream_of(context),
                         {model(), active, images_.n, weights, p.device_data(), product.device_data(),
                          inner.device_data(), start.add, start.sampling});
}

template <class T>
void GeneralisedRegulariser<T>::dual(Context& context, const Active& active, const T* u, const T* d,
                                     const double* step, float* dual) const {
  table(context).dual(stream_of(context), {model(), active, images_.n, u, d, step, dual});
}

template <class T>
std::vector<BlockConstant> GeneralisedRegulariser<T>::blocks() const {
  const TvConstants a = constants_of(0), b = constants_of(1);
  const std::array<double, 5> lipschitz = {a.mixed_lipschitz[0], b.mixed_lipschitz[0],
                                           steepest() / number(kNu), 1, 1};
  std::vector<BlockConstant> out;
  for (std::size_t k = 0; k < numbers_.size(); ++k)
    if (numbers_[k].entry >= 0)
      out.push_back({static_cast<std::size_t>(numbers_[k].entry), lipschitz[k] * numbers_[k].slope});
  return out;
}
template <class T>
std::vector<std::size_t> GeneralisedRegulariser<T>::block_ends() const {
  std::vector<std::size_t> ends;
  for (const Number& n : numbers_)
    if (n.entry >= 0) ends.push_back(static_cast<std::size_t>(n.entry) + 1);
  return ends;
}

template <class T>
void GeneralisedRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> u,
                                              View<const T> q, double* sums) const {
  const auto row = [&](int k) { return sums + k * images_.n; };
  table(context).mixed_adjoint(
      stream_of(context),
      {model(), active, u.device_data(), q.device_data(), row(0), row(1), row(2), {row(3), row(4), row(5)}});
}

/// Each group: B_alpha^T q = S_w, B_nu^T q = alpha/nu S_nu, B_xi^T q = <u,q>.
template <class T>
void GeneralisedRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  const double nu = number(kNu);
  const std::array<double, 5> column = {
      sums[0], sums[3], number(kAlpha1) / nu * sums[1] + number(kAlpha0) / nu * sums[4], sums[2], sums[5]};
  for (std::size_t k = 0; k < numbers_.size(); ++k)
    if (numbers_[k].entry >= 0)
      z[static_cast<std::size_t>(numbers_[k].entry)] = numbers_[k].slope * column[k];
}

template <class T>
void GeneralisedRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> u,
                                              std::span<const double> direction, View<T> out, Scalars norm2,
                                              bool add) const {
  const auto forward = [&](std::size_t k) { return numbers_[k].forward(direction); };
  const double smoothing = forward(kNu) / number(kNu);
  table(context).mixed_forward(
      stream_of(context), {model(), active, u.device_data(), forward(kAlpha1), number(kAlpha1) * smoothing,
                           forward(kXi), out.device_data(), norm2.device_data(), add, forward(kAlpha0),
                           number(kAlpha0) * smoothing, forward(kXiV)});
}

template <class T>
void GeneralisedRegulariser<T>::bound(Context& context, const Active& active, View<const T> u,
                                      View<const T> q, View<const T> v, const BallInputs& ball, double mu,
                                      double* sums) const {
  table(context).bound(stream_of(context),
                       {model(), active, u.device_data(), q.device_data(), v ? v.device_data() : nullptr,
                        ball.epsilon.device_data(), ball.gradient.device_data(), mu, std::sqrt(rows2[0]),
                        norms2[0], sums, images_.n, std::sqrt(rows2[1]), norms2[1]});
}

/// The bounds of both groups add up (TermBound); both have a part in nu.
template <class T>
TermBound GeneralisedRegulariser<T>::directional(const ImageSums& sums, const Ball& ball) const {
  const double moduli = static_cast<double>(images_.h) * images_.w;
  TermBound out;
  std::array<BlockBound, 5> of_values{};
  for (std::size_t g = 0; g < 2; ++g) {
    TvConstants c = constants_of(g);
    c.mu = ball.mu;
    const TermBound own =
        value_bounds(c, potential(), values_of(g), sums.from(g * kernels::analysis_bound_sums), ball, moduli);
    out.add(own);
    const std::array<std::size_t, 3> places = {groups[g].alpha, kNu, groups[g].ridge};
    for (std::size_t k = 0; k < 3; ++k) of_values[places[k]].add(own.blocks[k]);
  }
  for (std::size_t k = 0; k < numbers_.size(); ++k)
    if (numbers_[k].entry >= 0) out.blocks.push_back(of_values[k].of(numbers_[k]));
  return out;
}

template <class T>
std::unique_ptr<Regulariser<float>> GeneralisedRegulariser<T>::single(Context&) const {
  return std::make_unique<GeneralisedRegulariser<float>>(options_, images_);
}

template class GeneralisedRegulariser<float>;
template class GeneralisedRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
