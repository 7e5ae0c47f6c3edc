#include "bilevel/model/composed_energy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"
#include "device/backend.hpp"
#include "kernels/decision_args.hpp"
#include "model/analysis_regulariser.hpp"
#include "model/checks.hpp"
#include "model/cross_entropy_regulariser.hpp"
#include "model/experts_regulariser.hpp"
#include "model/fourier_term.hpp"
#include "model/generalised_regulariser.hpp"
#include "model/image_channels.hpp"
#include "model/no_data.hpp"
#include "model/operator_data.hpp"
#include "model/operator_regulariser.hpp"
#include "model/own_regulariser.hpp"
#include "model/pointwise_data.hpp"
#include "model/shifted_data.hpp"
#include "model/underflow.hpp"
#include "model/weighted_ridge_regulariser.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
struct ComposedEnergy<T>::Impl {
  Context& context;
  Parameters parameters;
  std::unique_ptr<DataTerm<T>> data;
  std::vector<std::unique_ptr<Regulariser<T>>> regularisers = {};
  std::unique_ptr<ProximalForm<T>> split = {};
  std::vector<double> theta = {};
  bool bound = false;
  double unit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;  // of the bound on rounding
  std::unique_ptr<ComposedEnergy<float>> single = {};

  void add(const RegulariserSum& sum);
  void add_operator(const RegulariserOptions& part, const std::string& prefix);
  void add_own(const std::shared_ptr<OwnPart>& part, const std::string& prefix);
  void add_own(const std::vector<std::shared_ptr<OwnPart>>& parts);  ///< beside the ridge alone
  void finish();
  void bind_terms(std::span<const double> values);
  void require_read() const;
  Shape shape() const { return data->shape(); }
  std::size_t images() const { return static_cast<std::size_t>(shape().n); }
  double ridge() const { return regularisers.front()->ridge(); }
  Convexity convexity() const;
  double mu() const { return convexity().mu; }
  Roundoff roundoff() const;
  bool bounds_columns() const;
  template <class F>
  int total(F count) const {
    int sum = count(*data);
    for (const auto& r : regularisers) sum += count(*r);
    return sum;
  }
  /// What the blocks of all terms hold, in the order of theta.
  template <class Block>
  static void sort(std::vector<Block>& blocks) {
    std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.first < b.first; });
  }
};

namespace {

void require_size(const Shape& s) {
  if (s.image() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ShapeError("an image of shape " + s.str() + " has more than 2^31 pixels.");
}

void require_images(const Shape& s, bool complex, const char* what) {
  if ((s.c != 1 && s.c != 3 && !(complex && s.c == 2)) || s.n < 1 || s.h < 1 || s.w < 1)
    throw ShapeError(std::string(what) + " works on images [N,1,H,W], of colour [N,3,H,W], not on " +
                     s.str() + ".");
  require_size(s);
}

/// Throws ConfigError for a regulariser that does not know the channels of colour images.
void require_channels(const RegulariserSum& sum, const Shape& images) {
  if (images.c != 3) return;
  if (!std::all_of(sum.parts.begin(), sum.parts.end(), takes_colour))
    throw ConfigError(
        "colour images [N,3,H,W] take isotropic total variation of first differences (tv), h1, tikhonov and "
        "sums of these; compute one channel after the other with other regularisers.");
}

}  // namespace

template <class T>
Convexity ComposedEnergy<T>::Impl::convexity() const {
  Convexity c{data->mu(), data->lipschitz()};
  for (const auto& r : regularisers) c = r->with(c);
  return c;
}

template <class T>
void ComposedEnergy<T>::Impl::add(const RegulariserSum& sum) {
  if (sum.parts.empty() && sum.own.empty()) throw ConfigError("an energy needs a regulariser.");
  require_channels(sum, shape());
  for (const RegulariserOptions& part : sum.parts)
    if (const auto* tgv = std::get_if<TgvOptions>(&part)) {
      if (sum.parts.size() + sum.own.size() > 1)
        throw ConfigError(
            "total generalised variation stands alone, as its unknown is not an image; leave the other parts "
            "of the sum out.");
      regularisers.push_back(std::make_unique<GeneralisedRegulariser<T>>(*tgv, shape()));
      data = std::make_unique<ImageChannels<T>>(std::move(data));
      return;
    }
  for (std::size_t k = 0; k < sum.parts.size(); ++k) {
    const std::string prefix = part_prefix(k);
    if (const auto* tv = std::get_if<TvOptions>(&sum.parts[k])) {
      if (tv->xi_inside_alpha && !data->pointwise())
        throw ConfigError("xi inside alpha is for denoising; leave it out for other data.");
      regularisers.push_back(std::make_unique<AnalysisRegulariser<T>>(*tv, shape(), k == 0, prefix));
    } else if (const auto* experts = std::get_if<ExpertsOptions>(&sum.parts[k])) {
      regularisers.push_back(
          std::make_unique<ExpertsRegulariser<T>>(context, *experts, shape(), parameters, k == 0, prefix));
    } else {
      if (k == 0) regularisers.push_back(AnalysisRegulariser<T>::ridge_alone(shape()));
      add_operator(sum.parts[k], prefix);
    }
  }
  if (sum.parts.empty()) return add_own(sum.own);
  for (std::size_t k = 0; k < sum.own.size(); ++k) add_own(sum.own[k], part_prefix(sum.parts.size() + k));
}

template <class T>
void ComposedEnergy<T>::Impl::add_own(const std::vector<std::shared_ptr<OwnPart>>& parts) {
  regularisers.push_back(AnalysisRegulariser<T>::ridge_alone(shape()));
  for (std::size_t k = 0; k < parts.size(); ++k) add_own(parts[k], part_prefix(k));
}

template <class T>
void ComposedEnergy<T>::Impl::add_operator(const RegulariserOptions& part, const std::string& prefix) {
  const auto make = [&](const auto& options) {
    regularisers.push_back(std::make_unique<OperatorRegulariser<T>>(context, shape(), options, prefix));
  };
  if (const auto* sparse = std::get_if<WaveletSparsity>(&part)) return make(*sparse);
  make(std::get<DirectionalTv>(part));
}

template <class T>
void ComposedEnergy<T>::Impl::add_own(const std::shared_ptr<OwnPart>& part, const std::string& prefix) {
  if (const auto term = std::dynamic_pointer_cast<Term<T>>(part))
    regularisers.push_back(std::make_unique<OwnRegulariser<T>>(term, shape(), prefix));
  else if (const auto* samples = dynamic_cast<const CrossEntropyTerm<T>*>(part.get()))
    regularisers.push_back(std::make_unique<CrossEntropyRegulariser<T>>(context, *samples, shape(), prefix));
  else if (dynamic_cast<const WeightedRidge<T>*>(part.get()))
    regularisers.push_back(std::make_unique<WeightedRidgeRegulariser<T>>(context, shape(), prefix));
  else if (const auto* k = dynamic_cast<const OperatorTerm<T>*>(part.get()))
    regularisers.push_back(std::make_unique<OperatorRegulariser<T>>(k->k(), k->potential(), prefix));
  else
    throw ConfigError("a regulariser of one's own is missing, or of another precision than the energy.");
}

template <class T>
void ComposedEnergy<T>::Impl::finish() {
  if (regularisers.size() == 1 && regularisers.front()->analysis())
    split = data->split(*regularisers.front()->analysis());
}

template <class T>
void ComposedEnergy<T>::Impl::bind_terms(std::span<const double> values) {
  data->bind(context, parameters, values);
  for (const auto& r : regularisers) r->bind(context, parameters, values);
  const Convexity c = convexity();
  double hessian_lipschitz = 0;
  std::string text;
  for (const auto& r : regularisers) {
    hessian_lipschitz += r->constants().hessian_lipschitz;
    text += (text.empty() ? "" : ", ") + r->values();
  }
  if (!(c.mu > 0) || !std::isfinite(c.lipschitz) || !std::isfinite(hessian_lipschitz))
    throw ConfigError(text + " do not give a strongly convex energy with finite constants.");
}

/// Every entry of theta belongs to a block of a term.
template <class T>
void ComposedEnergy<T>::Impl::require_read() const {
  std::vector<BlockConstant> blocks = data->blocks();
  std::vector<std::size_t> ends = data->block_ends();
  for (const auto& r : regularisers) {
    for (const BlockConstant& b : r->blocks()) blocks.push_back(b);
    for (std::size_t end : r->block_ends()) ends.push_back(end);
  }
  sort(blocks);
  std::sort(ends.begin(), ends.end());
  std::size_t next = 0;
  for (std::size_t k = 0; k < ends.size() && blocks[k].first == next; ++k) next = ends[k];
  if (next < parameters.size())
    throw ConfigError("parameter '" + parameters.learned(next).name +
                      "' belongs to no term of the energy; fix it or leave it out.");
  if (ends.size() == parameters.size() && ends.size() <= measured_columns) return;
  for (const auto& r : regularisers)
    if (!r->knows_columns())
      throw ConfigError("a term of one's own needs finite mixed_norm where theta has arrays or more than " +
                        std::to_string(measured_columns) + " entries.");
}

template <class T>
Roundoff ComposedEnergy<T>::Impl::roundoff() const {
  if (!(unit > 0)) return {};
  UnderflowParts parts = data->underflow(unit);
  for (const auto& r : regularisers) {
    const UnderflowParts own = r->underflow();
    parts.products += own.products;
    parts.norms += own.norms;
  }
  return {unit, underflow_bound<T>(shape().image(), unit, parts.products, parts.norms) + parts.beside};
}

template <class T>
bool ComposedEnergy<T>::Impl::bounds_columns() const {
  return data->bounds_columns() || std::any_of(regularisers.begin(), regularisers.end(),
                                               [](const auto& r) { return r->bounds_columns(); });
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(Context& context, View<const T> y, const Parameters& parameters,
                                  const RegulariserSum& regularisers, std::span<const double> sampling)
    : impl_(new Impl{context, parameters, nullptr}) {
  const bool experts =
      !regularisers.parts.empty() && std::holds_alternative<ExpertsOptions>(regularisers.parts[0]);
  const char* what = experts ? "a field of experts" : "smoothed total variation";
  require_images(y.shape(), false, what);
  require_view(y.shape(), y, experts ? "field of experts (data)" : "smoothed total variation (data)");
  impl_->data = std::make_unique<PointwiseData<T>>(context, y, sampling);
  impl_->add(regularisers);
  impl_->finish();
  bind(parameters.initial());
  impl_->require_read();
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(Context& context, const Shape& images,
                                  std::span<const std::complex<T>> kspace, const SamplingPattern& pattern,
                                  const Parameters& parameters, const RegulariserSum& regularisers,
                                  const CoilMaps& maps)
    : impl_(new Impl{context, parameters, nullptr}) {
  impl_->data = std::make_unique<FourierTerm<T>>(context, images, kspace, pattern, maps);
  impl_->add(regularisers);
  impl_->finish();
  bind(parameters.initial());
  impl_->require_read();
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(Context& context, std::shared_ptr<const LinearOperator<T>> a,
                                  View<const T> y, const Parameters& parameters,
                                  const RegulariserSum& regularisers)
    : impl_(new Impl{context, parameters, nullptr}) {
  impl_->data = std::make_unique<OperatorData<T>>(std::move(a), y);
  require_images(shape(), true, "an energy with an operator");
  impl_->add(regularisers);
  impl_->finish();
  bind(parameters.initial());
  impl_->require_read();
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(Context& context, std::shared_ptr<const LinearOperator<T>> a,
                                  std::shared_ptr<const LinearOperator<T>> shift, View<const T> y,
                                  const Parameters& parameters, std::vector<std::shared_ptr<OwnPart>> terms)
    : impl_(new Impl{context, parameters, nullptr}) {
  impl_->data = std::make_unique<ShiftedData<T>>(context, std::move(a), std::move(shift), y);
  impl_->add_own(terms);
  impl_->finish();
  bind(parameters.initial());
  impl_->require_read();
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(Context& context, const Shape& unknown, const Parameters& parameters,
                                  std::vector<std::shared_ptr<OwnPart>> terms)
    : impl_(new Impl{context, parameters, nullptr}) {
  if (unknown.n < 1 || unknown.c < 1 || unknown.h < 1 || unknown.w < 1)
    throw ShapeError("an energy without data needs an unknown with elements, not " + unknown.str() + ".");
  require_size(unknown);
  impl_->data = std::make_unique<NoData<T>>(unknown);
  impl_->add_own(terms);
  impl_->finish();
  bind(parameters.initial());
  impl_->require_read();
}

template <class T>
ComposedEnergy<T>::ComposedEnergy(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <class T>
ComposedEnergy<T>::~ComposedEnergy() = default;

template <class T>
const Energy<float>* ComposedEnergy<T>::single_precision() const {
  return impl_->single.get();
}
template <class T>
const ProximalForm<T>* ComposedEnergy<T>::proximal() const {
  return impl_->split.get();
}
template <class T>
Shape ComposedEnergy<T>::shape() const {
  return impl_->shape();
}
template <class T>
Shape ComposedEnergy<T>::images() const {
  return impl_->data->inner().shape();
}
template <class T>
const Parameters* ComposedEnergy<T>::layout() const {
  return &impl_->parameters;
}
template <class T>
std::size_t ComposedEnergy<T>::parameters() const {
  return impl_->parameters.size();
}
template <class T>
double ComposedEnergy<T>::value(const std::string& name) const {
  return impl_->parameters.value(name, impl_->theta);
}
template <class T>
double ComposedEnergy<T>::ridge() const {
  return impl_->ridge();
}
template <class T>
const FourierData<T>* ComposedEnergy<T>::fourier() const {
  return dynamic_cast<const FourierTerm<T>*>(&impl_->data->inner());
}

template <class T>
std::vector<std::size_t> ComposedEnergy<T>::blocks() const {
  std::vector<std::size_t> ends = impl_->data->block_ends();
  for (const auto& r : impl_->regularisers)
    for (std::size_t end : r->block_ends()) ends.push_back(end);
  std::sort(ends.begin(), ends.end());
  return ends;
}

template <class T>
void ComposedEnergy<T>::bind(std::span<const double> theta) {
  Impl& m = *impl_;
  if (theta.size() != parameters())
    throw ShapeError("theta has " + std::to_string(theta.size()) + " entries, the model " +
                     std::to_string(parameters()) + ".");
  try {
    m.bind_terms(theta);
    if (m.single) m.single->bind(theta);
  } catch (...) {
    if (m.bound) m.bind_terms(m.theta);
    throw;
  }
  m.theta.assign(theta.begin(), theta.end());
  m.bound = true;
}

template <class T>
Curvature ComposedEnergy<T>::curvature() const {
  const Impl& m = *impl_;
  const Convexity convexity = m.convexity();
  Curvature out{
      convexity.mu, convexity.lipschitz, 0, {}, m.data->product_rounding() / kernels::product_roundings};
  std::vector<BlockConstant> blocks = m.data->blocks();
  for (const auto& r : m.regularisers) {
    out.hessian_lipschitz += r->constants().hessian_lipschitz;
    out.operator_rounding += r->product_rounding() / kernels::product_roundings;
    for (const BlockConstant& b : r->blocks()) blocks.push_back(b);
  }
  Impl::sort(blocks);
  for (const BlockConstant& b : blocks) out.mixed_lipschitz.push_back(b.lipschitz);
  return out;
}

template <class T>
void ComposedEnergy<T>::value_and_gradient(Context& context, const Active& active, View<const T> x,
                                           View<T> gradient, const GradientSums& sums) const {
  EnergyViews<T>{*this}.gradient(x, gradient, sums);
  const Impl& m = *impl_;
  Frame frame(context);
  GradientStart<T> start = m.data->gradient(context, frame, active, x, gradient);
  Roundoff roundoff = m.roundoff();
  for (const auto& r : m.regularisers) {
    r->gradient(context, active, x, gradient, sums, start, roundoff);
    start = {};
    roundoff.underflow = 0;
  }
}

template <class T>
int ComposedEnergy<T>::weight_arrays() const {
  int sum = 0;
  for (const auto& r : impl_->regularisers) sum += r->weight_arrays();
  return sum;
}
template <class T>
int ComposedEnergy<T>::dual_arrays() const {
  int sum = 0;
  for (const auto& r : impl_->regularisers) sum += r->dual_arrays();
  return sum;
}

template <class T>
void ComposedEnergy<T>::linearise(Context& context, const Active& active, View<const T> x,
                                  View<const float> dual, View<T> weights, View<T> inverse_diagonal) const {
  EnergyViews<T>{*this}.linearisation(x, dual, weights, inverse_diagonal);
  const Impl& m = *impl_;
  const std::size_t each = shape().count();
  Frame frame(context);
  DiagonalStart<T> start = m.data->diagonal();
  const float* zeta = dual.device_data();
  T* planes = weights.device_data();
  for (const auto& r : m.regularisers) {
    if (r != m.regularisers.front()) {
      const View<T> before = frame.view<T>(shape());
      copy<T>(context, inverse_diagonal, before);
      start = {0, nullptr, before.device_data()};
    }
    r->linearise(context, active, x, zeta, planes, inverse_diagonal.device_data(), start);
    planes += static_cast<std::size_t>(r->weight_arrays()) * each;
    if (zeta) zeta += static_cast<std::size_t>(r->dual_arrays()) * each;
  }
}

template <class T>
void ComposedEnergy<T>::hessian_product(Context& context, const Active& active, View<const T> weights,
                                        View<const T> p, View<T> product, Scalars inner) const {
  EnergyViews<T>{*this}.product(weights, p, product, inner);
  const Impl& m = *impl_;
  HessianStart<T> start = m.data->hessian(context, active, p, product);
  const T* planes = weights.device_data();
  for (const auto& r : m.regularisers) {
    r->hessian(context, active, planes, p, product, inner, start);
    start = {true, nullptr};
    planes += static_cast<std::size_t>(r->weight_arrays()) * shape().count();
  }
}

template <class T>
void ComposedEnergy<T>::start_dual(Context& context, const Active& active, View<const T> x,
                                   View<float> dual) const {
  require_view(shape(), x, "dual field (point)");
  EnergyViews<T>{*this}.dual_field(dual);
  float* zeta = dual.device_data();
  for (const auto& r : impl_->regularisers) {
    r->dual(context, active, x.device_data(), nullptr, nullptr, zeta);
    zeta += static_cast<std::size_t>(r->dual_arrays()) * shape().count();
  }
}

template <class T>
void ComposedEnergy<T>::update_dual(Context& context, const Active& active, View<const T> x, View<const T> d,
                                    Scalars step, View<float> dual) const {
  EnergyViews<T>{*this}.dual_step(x, d, step, dual);
  float* zeta = dual.device_data();
  for (const auto& r : impl_->regularisers) {
    r->dual(context, active, x.device_data(), d.device_data(), step.device_data(), zeta);
    zeta += static_cast<std::size_t>(r->dual_arrays()) * shape().count();
  }
}

template <class T>
int ComposedEnergy<T>::mixed_sums() const {
  return impl_->total([](const auto& term) { return term.mixed_sums(); });
}

/// The rows of the regularisers, then those of the data.
template <class T>
void ComposedEnergy<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                      View<const T> q, View<double> sums) const {
  EnergyViews<T>{*this}.mixed_adjoint(x, q, sums);
  double* out = sums.device_data();
  for (const auto& r : impl_->regularisers) {
    r->mixed_adjoint(context, active, x, q, out);
    out += static_cast<std::size_t>(r->mixed_sums()) * impl_->images();
  }
  impl_->data->mixed_adjoint(context, active, x, q, out);
}

template <class T>
std::vector<double> ComposedEnergy<T>::mixed(std::span<const double> sums) const {
  require_sums(mixed_sums(), shape().n, sums, 0, "sums of the mixed derivative");
  const Impl& m = *impl_;
  const std::size_t n = m.images(), p = parameters();
  std::vector<double> out(n * p);
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<double> z = std::span(out).subspan(i * p, p);
    ImageSums rows{sums, n, i};
    for (const auto& r : m.regularisers) {
      r->mixed(rows, z);
      rows = rows.from(static_cast<std::size_t>(r->mixed_sums()));
    }
    m.data->mixed(rows, z);
  }
  return out;
}

template <class T>
void ComposedEnergy<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                      std::span<const double> direction, View<T> out, Scalars norm2) const {
  EnergyViews<T>{*this}.mixed_forward(x, direction, out, norm2);
  bool add = impl_->data->mixed_forward(context, active, x, direction, out);
  for (const auto& r : impl_->regularisers) {
    r->mixed_forward(context, active, x, direction, out, norm2, add);
    add = true;
  }
}

template <class T>
int ComposedEnergy<T>::bound_sums() const {
  return impl_->total([](const auto& term) { return term.bound_sums(); });
}

template <class T>
void ComposedEnergy<T>::directional_sums(Context& context, const Active& active, View<const T> x,
                                         View<const T> q, View<const T> v, const BallInputs& ball,
                                         View<double> sums) const {
  EnergyViews<T>{*this}.directional(x, q, v, ball, sums);
  double* out = sums.device_data();
  for (const auto& r : impl_->regularisers) {
    r->bound(context, active, x, q, v, ball, impl_->mu(), out);
    out += static_cast<std::size_t>(r->bound_sums()) * impl_->images();
  }
  impl_->data->bound(context, active, x, q, ball, out);
}

template <class T>
DirectionalBound ComposedEnergy<T>::directional(std::span<const double> sums, int image, double epsilon,
                                                double norm_q, double norm_v) const {
  require_sums(bound_sums(), shape().n, sums, image, "sums of the directional bounds");
  const Impl& m = *impl_;
  // Rounding of the terms, and of adding them up: at most 64 + pixels/1024 additions one after the other.
  const double additions = 64 + static_cast<double>(shape().image()) / 1024;
  const Ball ball{m.mu(), epsilon, norm_q, norm_v,
                  std::numeric_limits<T>::epsilon() / 2 + additions * 0x1p-53 / 16};
  TermBound sum;
  std::vector<BlockBound> blocks;
  ImageSums rows{sums, m.images(), static_cast<std::size_t>(image)};
  for (const auto& r : m.regularisers) {
    const TermBound d = r->directional(rows, ball);
    sum.add(d);
    blocks.insert(blocks.end(), d.blocks.begin(), d.blocks.end());
    rows = rows.from(static_cast<std::size_t>(r->bound_sums()));
  }
  DirectionalBound out;
  out.hessian_q = sum.hessian_q;
  out.energy_q = sum.energy_q;
  out.hessian_v = sum.hessian_v;
  out.energy_v = sum.energy_v;
  out.hessian_vq = sum.hessian_vq;
  out.hessian_qe = sum.hessian_qe;
  out.linearisation = sum.linearisation;
  const std::vector<BlockBound> of_data = m.data->directional(rows, ball, m.ridge());
  blocks.insert(blocks.end(), of_data.begin(), of_data.end());
  Impl::sort(blocks);
  const bool bounded = m.bounds_columns();
  for (const BlockBound& b : blocks) {
    out.mixed_q.push_back(b.mixed_q);
    out.energy_mixed.push_back(b.energy_mixed);
    out.rounding.push_back(b.rounding);
    if (!bounded) continue;
    out.norm_mixed.push_back(b.norm_mixed);
    out.mixed_lipschitz.push_back(b.lipschitz);
  }
  return out;
}

template <class T>
double ComposedEnergy<T>::mean_stiffness(Context& context, View<const T> x) const {
  const Impl& m = *impl_;
  const Shape s = shape();
  Frame frame(context);
  ActiveSet all(context, frame, s.n);
  const View<T> weights = frame.view<T>({s.n * weight_arrays(), s.c, s.h, s.w}), inverse = frame.view<T>(s);
  linearise(context, all.active(), x, {}, weights, inverse);
  const Shape images = this->images();
  const std::vector<T> values = download(context, inverse);
  double sum = 0;
  for (std::size_t e = 0; e < values.size(); ++e)
    if (e % s.image() < images.image()) sum += 1 / static_cast<double>(values[e]);
  double data = (fourier() ? fourier()->mean_diagonal(context) : m.data->diagonal().mean) + m.ridge();
  double left_out = 0;
  const T* planes = weights.device_data();
  for (const auto& r : m.regularisers) {
    const double mean = r->mean_left_out(context, planes);
    if (mean >= 0 && r == m.regularisers.front()) data = 1;
    left_out += std::max(0.0, mean);
    planes += static_cast<std::size_t>(r->weight_arrays()) * s.count();
  }
  return (std::max(0.0, sum / static_cast<double>(images.count()) - data) + left_out) /
         m.regularisers.front()->diagonal();
}

template <class T>
double ComposedEnergy<T>::symbol(double laplacian) const {
  return impl_->regularisers.front()->symbol(laplacian);
}

template class BILEVEL_API ComposedEnergy<float>;

template <class T>
void ComposedEnergy<T>::keep_single_precision(Context& context) requires std::same_as<T, double> {
  using Single = typename ComposedEnergy<float>::Impl;
  auto twin = std::unique_ptr<Single>(new Single{context, impl_->parameters, impl_->data->single(context)});
  for (const auto& r : impl_->regularisers) twin->regularisers.push_back(r->single(context));
  twin->unit = 0;
  twin->finish();
  std::unique_ptr<ComposedEnergy<float>> single(new ComposedEnergy<float>(std::move(twin)));
  single->bind(impl_->theta);
  impl_->single = std::move(single);
}

template class BILEVEL_API ComposedEnergy<double>;

}  // namespace v0
}  // namespace bilevel
