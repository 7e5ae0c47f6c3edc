#include "model/operator_regulariser.hpp"

#include <cmath>
#include <concepts>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/ops/projected_differences.hpp"
#include "kernels/join_args.hpp"
#include "kernels/krylov_args.hpp"
#include "ops/wavelet_diagonal.hpp"

namespace bilevel {
inline namespace v0 {

Parameters wavelet_parameters(const WaveletSparsity& options) {
  TvOptions potential;
  potential.potential = options.potential;
  return tv_parameters(potential);
}

/// Rounding of K x, which is not relative to it, hides what a smaller nu would do.
Parameters directional_parameters(const DirectionalTv&) {
  std::vector<Segment> segments = tv_parameters().segments();
  for (Segment& s : segments)
    if (s.name == "nu") s.lower = 1e-4;
  return Parameters(std::move(segments));
}

namespace {

TvOptions itself(TvPotential potential) { return {potential, true, false, TvDifferences::none}; }

template <class T>
std::shared_ptr<const LinearOperator<T>> required(std::shared_ptr<const LinearOperator<T>> k) {
  if (!k) throw ConfigError("a regulariser needs an operator, none is given.");
  if (!kernels::takes(kernels::Stencil::identity, k->range().c))
    throw ShapeError("a regulariser takes operators to one to four channels, not to " + k->range().str() +
                     "; put more of them one below the other.");
  return k;
}

}  // namespace

template <class T>
OperatorRegulariser<T>::OperatorRegulariser(std::shared_ptr<const LinearOperator<T>> k, TvPotential potential,
                                            std::string prefix)
    : k_(required(std::move(k))),
      of_(itself(potential), k_->range(), std::move(prefix), {k_->norm2(), k_->rounding()}),
      copies_(static_cast<int>((k_->range().image() + k_->domain().image() - 1) / k_->domain().image())) {}

template <class T>
OperatorRegulariser<T>::OperatorRegulariser(Context&, const Shape& images, const WaveletSparsity& options,
                                            std::string prefix)
    : OperatorRegulariser(std::make_shared<Wavelet<T>>(images, options.wavelet), options.potential, prefix) {
  transform_ = static_cast<const Wavelet<T>*>(k_.get());
  twin_ = [=](Context& c) {
    return std::make_unique<OperatorRegulariser<float>>(c, images, options, prefix);
  };
}

/// Keeps a copy of the reference for its twin.
template <class T>
OperatorRegulariser<T>::OperatorRegulariser(Context& context, const Shape& images,
                                            const DirectionalTv& options, std::string prefix)
    : OperatorRegulariser(
          std::make_shared<ProjectedDifferences<T>>(context, images, options.reference, options.eta),
          options.potential, prefix) {
  if constexpr (std::same_as<T, double>)
    twin_ = [=, kept = std::vector<double>(options.reference.begin(), options.reference.end())](Context& c) {
      return std::make_unique<OperatorRegulariser<float>>(
          c, images, DirectionalTv{options.potential, options.eta, kept}, prefix);
    };
}

template <class T>
View<const T> OperatorRegulariser<T>::transformed(Context& context, Frame& frame, const Active& active,
                                                  View<const T> x) const {
  const View<T> z = frame.view<T>(k_->range());
  k_->apply(context, active, x, z);
  return z;
}

template <class T>
void OperatorRegulariser<T>::add_adjoint(Context& context, Frame& frame, const Active& active,
                                         View<const T> f, View<T> out) const {
  const View<T> term = frame.view<T>(k_->domain());
  k_->adjoint(context, active, f, term);
  kernel_table<T>(context).combine(
      stream_of(context), {active, k_->domain().image(), out.device_data(), term.device_data(), 1, 1, nullptr,
                           nullptr, out.device_data()});
}

/// The flux alpha psi(z) is the gradient of 1/2 |z - y|^2 + alpha R(z) at y = z. What rounding of K x, by
/// rounding() u |x|, does to it follows by alpha l_1.
template <class T>
void OperatorRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                      const GradientSums& sums, const GradientStart<T>&,
                                      const Roundoff& roundoff) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, x);
  const View<T> flux = frame.view<T>(k_->range()), term = frame.view<T>(k_->domain());
  const auto row = [&] { return frame.view<double>({x.shape().n, 1, 1, 1}); };
  const GradientSums own{row(), row(), row()};
  of_.gradient(context, active, z, flux, own, {z.device_data()}, {roundoff.unit, 0});
  k_->adjoint(context, active, flux, term);
  const double norm = std::sqrt(k_->norm2()), steep = of_.alpha() * of_.curvature();
  kernel_table<T>(context).join(
      stream_of(context), {active, x.shape().image(), x.device_data(), term.device_data(), g.device_data(),
                           sums.value.device_data(), sums.norm2.device_data(), sums.rounding.device_data(),
                           own.value.device_data(), own.norm2.device_data(), own.rounding.device_data(),
                           roundoff.unit, norm * steep * k_->rounding(), k_->rounding() + norm, norm});
}

template <class T>
UnderflowParts OperatorRegulariser<T>::underflow() const {
  const UnderflowParts of = of_.underflow();
  const double entries = static_cast<double>(std::max(k_->domain().image(), k_->range().image()));
  const double power = (1 + k_->norm2()) * (1 + of_.alpha() * (1 + of_.curvature()));
  const double times = k_->rounding() + 8;
  return {of.products * power + 8 * entries * times * power, of.norms * power + times * power, 0};
}

/// K^T M K p, |M| <= alpha l_1, rounds in K and in K^T, and is added.
template <class T>
double OperatorRegulariser<T>::product_rounding() const {
  const double norm = std::sqrt(k_->norm2());
  return of_.alpha() * of_.curvature() * norm * (2 * k_->rounding() + 2 * norm);
}

template <class T>
void OperatorRegulariser<T>::linearise(Context& context, const Active& active, View<const T> x,
                                       const float* dual, T* weights, T* inverse_diagonal,
                                       const DiagonalStart<T>&) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, x);
  T* reciprocal = frame.view<T>(k_->range()).device_data();  // of the diagonal of M
  of_.linearise(context, active, z, dual, weights, reciprocal, {0});
  if (transform_) add_diagonal(context, active, *transform_, reciprocal, inverse_diagonal);
}

template <class T>
void OperatorRegulariser<T>::hessian(Context& context, const Active& active, const T* weights,
                                     View<const T> p, View<T> product, Scalars inner,
                                     const HessianStart<T>&) const {
  Frame frame(context);
  const View<const T> kp = transformed(context, frame, active, p);
  const View<T> flux = frame.view<T>(k_->range());
  fill<T>(context, flux, T(0));
  of_.hessian(context, active, weights, kp, flux, inner, {true});
  add_adjoint(context, frame, active, flux, product);
  kernel_table<T>(context).dot(stream_of(context), {active, p.shape().image(), p.device_data(),
                                                    product.device_data(), false, inner.device_data()});
}

template <class T>
void OperatorRegulariser<T>::dual(Context& context, const Active& active, const T* x, const T* d,
                                  const double* step, float* dual) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, {x, k_->domain()});
  const T* kd = d ? transformed(context, frame, active, {d, k_->domain()}).device_data() : nullptr;
  of_.dual(context, active, z.device_data(), kd, step, dual);
}

template <class T>
void OperatorRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                           View<const T> q, double* sums) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, x), kq = transformed(context, frame, active, q);
  of_.mixed_adjoint(context, active, z, kq, sums);
}

template <class T>
void OperatorRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                           std::span<const double> direction, View<T> out, Scalars norm2,
                                           bool add) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, x);
  const View<T> flux = frame.view<T>(k_->range());
  of_.mixed_forward(context, active, z, direction, flux, norm2, false);
  if (add)
    add_adjoint(context, frame, active, flux, out);
  else
    k_->adjoint(context, active, flux, out);
  kernel_table<T>(context).dot(stream_of(context), {active, x.shape().image(), out.device_data(),
                                                    out.device_data(), false, norm2.device_data()});
}

template <class T>
void OperatorRegulariser<T>::bound(Context& context, const Active& active, View<const T> x, View<const T> q,
                                   View<const T> v, const BallInputs& ball, double mu, double* sums) const {
  Frame frame(context);
  const View<const T> z = transformed(context, frame, active, x), kq = transformed(context, frame, active, q);
  of_.bound(context, active, z, kq, v ? transformed(context, frame, active, v) : View<const T>(), ball, mu,
            sums);
  // row 9 is |x|^2, of the image
  kernel_table<T>(context).dot(stream_of(context), {active, x.shape().image(), x.device_data(),
                                                    x.device_data(), false, sums + 9 * x.shape().n});
}

template <class T>
std::unique_ptr<Regulariser<float>> OperatorRegulariser<T>::single(Context& context) const {
  if (!twin_)
    throw ConfigError(
        "an energy with an operator of its own is not kept in single precision; compute in double.");
  return twin_(context);
}

template class OperatorRegulariser<float>;
template class OperatorRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
