#include "model/fourier_term.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/unknown.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/underflow.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
FourierData<T>::~FourierData() = default;

namespace {

/// Data and regulariser, in k-space and on K x, as dual blocks F1(E x) + F2(K x), the ridge as primal one;
/// the norm of both is at most (|E|^2 + |K|^2)^(1/2). w holds E* u, the arrays of K and u.
template <class T>
class FourierSplit final : public ProximalForm<T> {
 public:
  FourierSplit(const FourierTerm<T>& data, const AnalysisRegulariser<T>& regulariser)
      : data_(data), regulariser_(regulariser) {}

  ProximalConstants constants() const override {
    const TvConstants c = regulariser_.tv_constants();
    const double steepest = std::max({data_.most_weight_alone(), regulariser_.alpha() * c.curvature, 1e-12});
    return {regulariser_.xi(), 1 / steepest, std::sqrt(data_.fourier().most_coil_power() + c.norm2)};
  }
  Shape dual_shape() const override {
    const Shape s = data_.shape();
    const int columns = static_cast<int>(data_.fourier().rows()) / s.h;
    return {s.n, 1, s.h, (1 + regulariser_.directions()) * s.c * s.w + 2 * data_.fourier().coils() * columns};
  }
  void dual_step(Context& context, const Active& active, View<const T> x, double inverse_step,
                 View<T> w) const override {
    data_.fourier().dual_step(context, active, x, data_.data(), inverse_step,
                              block(w, static_cast<std::size_t>(1 + regulariser_.directions())),
                              {block(w, 0), data_.shape()});
    regulariser_.table(context).pdhg_dual(stream_of(context), {regulariser_.model(), active, x.shape().n,
                                                               x.device_data(), inverse_step, block(w, 1)});
  }
  void primal_step(Context& context, const Active& active, View<const T> w, double tau, double theta,
                   View<T> x, View<T> extrapolated) const override {
    regulariser_.table(context).pdhg_primal(
        stream_of(context), {regulariser_.model(), active, x.shape().n, block(w, 1), block(w, 0), nullptr, -1,
                             0, tau, theta, x.device_data(), extrapolated.device_data()});
  }

 private:
  template <class U>
  auto* block(View<U> w, std::size_t k) const {
    return w.device_data() + k * data_.shape().count();
  }
  const FourierTerm<T>& data_;
  const AnalysisRegulariser<T>& regulariser_;
};

}  // namespace

template <class T>
FourierTerm<T>::FourierTerm(Context& context, const Shape& images, std::span<const std::complex<T>> kspace,
                            const SamplingPattern& pattern, const CoilMaps& maps)
    : pattern_(pattern), fourier_(context, images, maps), coils_(maps.coils) {
  const std::size_t each = fourier_.frequencies() * static_cast<std::size_t>(maps.coils);
  if (pattern.height() != images.h || pattern.width() != images.w)
    throw ShapeError("the sampling pattern has " + std::to_string(pattern.height()) + "x" +
                     std::to_string(pattern.width()) + " frequencies, the images have " +
                     std::to_string(images.h) + "x" + std::to_string(images.w) + " pixels.");
  if (kspace.size() != each * static_cast<std::size_t>(images.n))
    throw ShapeError("k-space holds " + std::to_string(kspace.size()) + " values, " +
                     std::to_string(images.n) + " images of " + std::to_string(maps.coils) + " coils have " +
                     std::to_string(each * static_cast<std::size_t>(images.n)) + ".");
  data_norm_.assign(static_cast<std::size_t>(images.n), 0);
  for (std::size_t e = 0; e < kspace.size(); ++e)
    data_norm_[e / each] += std::norm(std::complex<double>(kspace[e]));
  for (double& norm : data_norm_) {
    if (!std::isfinite(norm))
      throw ConfigError(std::string("k-space holds values that are not finite, or too large for ") +
                        (sizeof(T) == 4 ? "single" : "double") + " precision.");
    norm = std::sqrt(norm) * (1 + 1e-12);
  }
  map_values_.assign(maps.values.begin(), maps.values.end());
  y_ = fourier_.upload_data(context, kspace);
}

template <class T>
void FourierTerm<T>::bind(Context& context, const Parameters& p, std::span<const double> theta) {
  std::vector<double> s = p.values("s", theta);
  if (s.size() != groups())
    throw ShapeError("parameter 's' has " + std::to_string(s.size()) + " entries, the pattern " +
                     std::to_string(groups()) + " groups.");
  const double most = pattern_.map() == SamplingMap::rational ? 0.999999 : 1;
  for (double e : s)
    if (!(e >= 0 && e <= most))
      throw ConfigError("sampling parameter " + std::to_string(e) + " lies outside [0,1].");
  entry_ = p.entry("s");
  s_ = std::move(s);
  weights_ = pattern_.weights(s_);
  least_weight_ = extreme_pair(weights_, false);
  most_weight_ = extreme_pair(weights_, true);
  fourier_.set_weights(context, weights_);
}

template <class T>
double FourierTerm<T>::extreme_pair(std::span<const double> w, bool largest) const {
  const int h = shape().h, wd = shape().w;
  double out = largest ? 0 : std::numeric_limits<double>::infinity();
  for (int k = 0; k < h; ++k)
    for (int l = 0; l < wd; ++l) {
      double e = w[static_cast<std::size_t>(k * wd + l)];
      if (shape().c == 1 && !fourier_.has_maps())
        e = 0.5 * (e + w[static_cast<std::size_t>((h - k) % h * wd + (wd - l) % wd)]);
      out = largest ? std::max(out, e) : std::min(out, e);
    }
  return out;
}
template <class T>
double FourierTerm<T>::most_weight_alone() const {
  return *std::max_element(weights_.begin(), weights_.end());
}
template <class T>
double FourierTerm<T>::hidden_weight() const {
  return 2 * (4 + 2 * fourier_.coils()) * (1 + fourier_.most_coil_power()) *
         std::sqrt(static_cast<double>(std::numeric_limits<T>::min()));
}
template <class T>
double FourierTerm<T>::transform() const {
  return 10 * std::max(1.0, std::log2(static_cast<double>(fourier_.frequencies())));
}

/// The transforms add up to H W numbers per entry, log2(H W) times, on both sides of weights and maps.
template <class T>
UnderflowParts FourierTerm<T>::underflow(double unit) const {
  const double pixels = static_cast<double>(fourier_.frequencies()), power = 1 + fourier_.most_coil_power();
  const double weight = 1 + most_weight_alone();
  return {
      8 * fourier_.coils() * pixels * transform() * power * weight,
      (transform() + 4 + 2 * fourier_.coils()) * power * weight * fourier_.coils(),
      unit * (transform() + 1) * hidden_weight() * *std::max_element(data_norm_.begin(), data_norm_.end())};
}

template <class T>
GradientStart<T> FourierTerm<T>::gradient(Context& context, Frame& frame, const Active& active,
                                          View<const T> x, View<T> out) const {
  const View<double> sums = frame.view<double>({fourier_.coils(), 3, shape().n, 1});
  fourier_.gradient(context, active, x, y_, out, sums);
  const double power = fourier_.most_coil_power();
  return {nullptr,          nullptr,     sums.device_data(),
          fourier_.coils(), transform(), most_weight_alone() * power + hidden_weight(),
          std::sqrt(power)};
}

template <class T>
HessianStart<T> FourierTerm<T>::hessian(Context& context, const Active& active, View<const T> p,
                                        View<T> product) const {
  fourier_.normal(context, active, p, product);
  return {true, nullptr};
}

template <class T>
DiagonalStart<T> FourierTerm<T>::diagonal() const {
  return {fourier_.mean_weight(), fourier_.coil_power().device_data()};
}

template <class T>
std::vector<BlockConstant> FourierTerm<T>::blocks() const {
  if (entry_ < 0) return {};
  return {{static_cast<std::size_t>(entry_), fourier_.most_coil_power() * pattern_.slope_bound(s_)}};
}
template <class T>
std::vector<std::size_t> FourierTerm<T>::block_ends() const {
  if (entry_ < 0) return {};
  return {static_cast<std::size_t>(entry_) + groups()};
}

template <class T>
int FourierTerm<T>::mixed_sums() const {
  return entry_ < 0 ? 0 : static_cast<int>(fourier_.rows());
}
template <class T>
void FourierTerm<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x, View<const T> q,
                                   double* sums) const {
  if (entry_ >= 0)
    fourier_.mixed(context, active, x, q, y_, false,
                   {sums, {static_cast<int>(fourier_.rows()), shape().n, 1, 1}});
}

/// (B_s^T q)_k = sum_j dw_j/ds_k Re conj(E q)_j (E x - y)_j.
template <class T>
void FourierTerm<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  if (entry_ < 0) return;
  const std::vector<double> per_group = pattern_.adjoint(s_, fourier_.to_frequencies(sums.rows, sums.image));
  std::copy(per_group.begin(), per_group.end(), z.begin() + entry_);
}

template <class T>
bool FourierTerm<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                   std::span<const double> direction, View<T> out) const {
  if (entry_ < 0) return false;
  const auto own = direction.subspan(static_cast<std::size_t>(entry_), groups());
  fourier_.set_direction(context, pattern_.forward(s_, own));
  fourier_.weigh(context, active, x, y_, out);
  return true;
}

template <class T>
int FourierTerm<T>::bound_sums() const {
  return entry_ < 0 ? 0 : 1 + 2 * static_cast<int>(fourier_.rows());
}
template <class T>
void FourierTerm<T>::bound(Context& context, const Active& active, View<const T> x, View<const T> q,
                           const BallInputs& ball, double* sums) const {
  if (entry_ < 0) return;
  const int n = shape().n;
  copy<double>(context, ball.gradient, {sums, {n, 1, 1, 1}});
  fourier_.mixed(context, active, x, q, y_, true,
                 {sums + n, {2 * static_cast<int>(fourier_.rows()), n, 1, 1}});
}

/// With R_j = sum_c |(E x - y)_j|^2, Q_j = sum_c |(E q)_j|^2 and the norm |f|_P^2 = sum_j w_j sum_c
/// |(E f)_j|^2 + xi |f|^2 <= <f, A f>: what is bounded by a column norm of diag(dw) sqrt(R) times |E f| is
/// also bounded by the one of sqrt(R/(w + xi/power)) times |f|_P, and |f|_P <= sqrt(mu) times the bound on
/// |f|, because both come from A f = u with |u| <= mu |f|_bound. The smaller of the two, as a factor of |f|.
/// Likewise |e|_P^2 <= <e, Abar e> <= |grad Phi(x~)| epsilon.
template <class T>
std::vector<BlockBound> FourierTerm<T>::directional(const ImageSums& sums, const Ball& ball,
                                                    double xi) const {
  if (entry_ < 0) return {};
  const double slack = 1 + 64 * ball.unit, power = std::sqrt(fourier_.most_coil_power());
  const double gradient = sums[0], epsilon = ball.epsilon;
  const ImageSums rows = sums.from(1);
  const std::vector<double> r2 = fourier_.to_frequencies(rows.rows, sums.image),
                            q2 = fourier_.to_frequencies(rows.from(fourier_.rows()).rows, sums.image);
  const double share = xi / fourier_.most_coil_power(), root = std::sqrt(ball.mu);
  const double plain_r = pattern_.norm_bound(s_, r2), plain_q = pattern_.norm_bound(s_, q2);
  double norm_r = 0;
  for (double e : r2) norm_r += e;
  // rounding of E x - y and of E q, and |dw d| <= slope |d|
  const double rounding = transform() * ball.unit, slope = pattern_.slope_bound(s_);
  const double off_r = (rounding + 4 * ball.unit) * (std::sqrt(norm_r) + data_norm_[sums.image]),
               off_q = rounding * power * ball.norm_q;
  return {
      {static_cast<std::size_t>(entry_),
       slack * std::min(power * plain_r, root * pattern_.norm_bound(s_, r2, share)) + power * slope * off_r,
       fourier_.most_coil_power() * slope,
       slack * std::min(epsilon * power * plain_q,
                        std::sqrt(gradient * epsilon) * pattern_.norm_bound(s_, q2, share)) +
           epsilon * power * slope * off_q,
       std::numeric_limits<double>::infinity(), (plain_r + slope * off_r) * off_q + plain_q * off_r}};
}

template <class T>
std::unique_ptr<ProximalForm<T>> FourierTerm<T>::split(const AnalysisRegulariser<T>& regulariser) const {
  return std::make_unique<FourierSplit<T>>(*this, regulariser);
}

template <class T>
std::unique_ptr<DataTerm<float>> FourierTerm<T>::single(Context& context) const {
  if constexpr (std::same_as<T, double>) {
    const std::vector<std::complex<float>> none(static_cast<std::size_t>(shape().n) * fourier_.frequencies() *
                                                static_cast<std::size_t>(coils_));
    auto term =
        std::make_unique<FourierTerm<float>>(context, shape(), none, pattern_, CoilMaps{coils_, map_values_});
    const std::vector<double> y = download(context, y_);
    term->y_.upload(context, std::vector<float>(y.begin(), y.end()));
    term->data_norm_ = data_norm_;
    return term;
  } else {
    return nullptr;
  }
}

template <class T>
std::vector<double> FourierTerm<T>::residual_powers(Context& context, View<const T> x) const {
  if (x.shape().c > shape().c)
    return residual_powers(context, first_channels<T>(context, x, shape().c).view());
  const int n = shape().n;
  Frame frame(context);
  ActiveSet all(context, frame, n);
  const View<double> sums = frame.view<double>({2 * static_cast<int>(fourier_.rows()), n, 1, 1});
  fourier_.mixed(context, all.active(), x, x, y_, true, sums);
  const std::vector<double> rows = download(context, sums);
  std::vector<double> out(fourier_.frequencies(), 0);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const std::vector<double> image = fourier_.to_frequencies(rows, i);
    for (std::size_t j = 0; j < out.size(); ++j) out[j] += image[j];
  }
  return out;
}

template <class T>
double FourierTerm<T>::mean_diagonal(Context& context) const {
  double power = 1;
  if (fourier_.has_maps()) {
    power = 0;
    for (T e : download(context, fourier_.coil_power()))
      power += e / static_cast<double>(shape().h) / shape().w;
  }
  return fourier_.mean_weight() * power;
}

template <class T>
void FourierTerm<T>::zero_filled(Context& context, const Active& active, View<T> x) const {
  require_same(shape(), x.shape(), "zero-filled reconstruction");
  Frame frame(context);
  const View<T> zero = frame.view<T>(shape());
  fill<T>(context, zero, T(0));
  static_cast<void>(gradient(context, frame, active, zero, x));
  kernel_table<T>(context).combine(stream_of(context), {active, shape().image(), x.device_data(), nullptr, -1,
                                                        0, nullptr, nullptr, x.device_data()});
}

template class BILEVEL_API FourierData<float>;
template class BILEVEL_API FourierData<double>;
template class FourierTerm<float>;
template class FourierTerm<double>;

}  // namespace v0
}  // namespace bilevel
