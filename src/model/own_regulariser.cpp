#include "model/own_regulariser.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <utility>

#include "bilevel/core/error.hpp"
#include "model/added_term.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr double unknown = std::numeric_limits<double>::infinity();

/// Throws ConfigError for constants that bound nothing; gives mixed_norm as many entries as there are values.
TermConstants checked(TermConstants c, std::size_t values) {
  const auto good = [](double v) { return v >= 0 && std::isfinite(v); };
  for (double v :
       {c.lipschitz, c.hessian_lipschitz, c.rounding, c.rounding_still, c.product_rounding, c.mixed_rounding})
    if (!good(v)) throw ConfigError("the constants of a term must be finite and not negative.");
  if (c.mixed_lipschitz.size() != values ||
      !std::all_of(c.mixed_lipschitz.begin(), c.mixed_lipschitz.end(), good))
    throw ConfigError("a term needs one finite mixed_lipschitz for each of its " + std::to_string(values) +
                      " values.");
  if (c.mixed_norm.empty()) c.mixed_norm.assign(values, unknown);
  if (c.mixed_norm.size() != values)
    throw ConfigError("a term has " + std::to_string(c.mixed_norm.size()) + " entries of mixed_norm for " +
                      std::to_string(values) + " values.");
  return c;
}

}  // namespace

template <class T>
OwnRegulariser<T>::OwnRegulariser(std::shared_ptr<Term<T>> term, const Shape& images, std::string prefix)
    : term_(std::move(term)), images_(images), prefix_(std::move(prefix)) {
  require_same(images_, term_->shape(), "a term (its images and those of the energy)");
}

template <class T>
void OwnRegulariser<T>::bind(Context&, const Parameters& parameters, std::span<const double> theta) {
  std::vector<Number> numbers;
  std::vector<double> t;
  for (const Segment& s : term_->segments()) {
    const std::string name = prefix_ + s.name;
    const std::vector<double> values = parameters.values(name, theta);
    const int first = parameters.entry(name);
    for (std::size_t k = 0; k < values.size(); ++k) {
      Number number{values[k], 0, first < 0 ? -1 : first + static_cast<int>(k)};
      if (first >= 0) {
        const auto j = static_cast<std::size_t>(number.entry);
        number.slope = transform_slope(parameters.learned(j).transform, theta[j]);
      }
      numbers.push_back(number);
      t.push_back(number.value);
    }
  }
  term_->bind(t);
  constants_ = checked(term_->constants(), t.size());
  many_ = parameters.size() > measured_columns;
  numbers_ = std::move(numbers);
}

template <class T>
RegulariserConstants OwnRegulariser<T>::constants() const {
  return {constants_.lipschitz, constants_.hessian_lipschitz};
}

template <class T>
UnderflowParts OwnRegulariser<T>::underflow() const {
  const double power = 8 * (1 + constants_.lipschitz + constants_.rounding);
  return {power, power, 0};
}

template <class T>
std::string OwnRegulariser<T>::values() const {
  std::string text;
  std::size_t k = 0;
  for (const Segment& s : term_->segments()) {
    text +=
        (text.empty() ? "" : ", ") + prefix_ + s.name + " " +
        (s.shape.empty() ? std::to_string(numbers_[k].value) : "(" + std::to_string(s.size()) + " numbers)");
    k += s.size();
  }
  return text.empty() ? "a term without parameters" : text;
}

template <class T>
void OwnRegulariser<T>::gradient(Context& context, const Active& active, View<const T> x, View<T> g,
                                 const GradientSums& sums, const GradientStart<T>&,
                                 const Roundoff& roundoff) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(images_);
  const Scalars value = frame.view<double>({images_.n, 1, 1, 1});
  term_->value_and_gradient(context, active, x, term, value);
  add_gradient<T>(context, active, x, term, value, {constants_.rounding, 1, constants_.rounding_still},
                  roundoff.unit, g, sums);
}

template <class T>
void OwnRegulariser<T>::linearise(Context& context, const Active&, View<const T> x, const float*, T* weights,
                                  T*, const DiagonalStart<T>&) const {
  copy<T>(context, x, {weights, images_});
}

template <class T>
void OwnRegulariser<T>::hessian(Context& context, const Active& active, const T* weights, View<const T> p,
                                View<T> product, Scalars inner, const HessianStart<T>&) const {
  Frame frame(context);
  const View<T> term = frame.view<T>(images_);
  term_->hessian_product(context, active, {weights, images_}, p, term);
  add_product<T>(context, active, p, term, product, inner);
}

template <class T>
std::vector<BlockConstant> OwnRegulariser<T>::blocks() const {
  std::vector<BlockConstant> out;
  for (std::size_t j = 0; j < numbers_.size(); ++j)
    if (numbers_[j].entry >= 0)
      out.push_back({static_cast<std::size_t>(numbers_[j].entry),
                     constants_.mixed_lipschitz[j] * std::abs(numbers_[j].slope)});
  return out;
}
template <class T>
std::vector<std::size_t> OwnRegulariser<T>::block_ends() const {
  std::vector<std::size_t> ends;
  for (const Number& n : numbers_)
    if (n.entry >= 0) ends.push_back(static_cast<std::size_t>(n.entry) + 1);
  return ends;
}

template <class T>
void OwnRegulariser<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x,
                                      View<const T> q, double* sums) const {
  if (numbers_.empty()) return;
  term_->mixed_adjoint(context, active, x, q, {sums, {mixed_sums(), images_.n, 1, 1}});
}
template <class T>
void OwnRegulariser<T>::mixed(const ImageSums& sums, std::span<double> z) const {
  for (std::size_t j = 0; j < numbers_.size(); ++j)
    if (numbers_[j].entry >= 0) z[static_cast<std::size_t>(numbers_[j].entry)] = numbers_[j].slope * sums[j];
}

template <class T>
void OwnRegulariser<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                      std::span<const double> direction, View<T> out, Scalars norm2,
                                      bool add) const {
  std::vector<double> t;
  for (const Number& n : numbers_) t.push_back(n.forward(direction));
  Frame frame(context);
  const View<T> term = add ? frame.view<T>(images_) : out;
  term_->mixed_forward(context, active, x, t, term);
  add_forward<T>(context, active, term, add, out, norm2);
}

/// With D = A - A~ of this term, |D| <= L_H epsilon: u = -D q moves f by f2 = A^^{-1} u, so mu |f2| <= |u|
/// and, as <f2, A^ f2> <= |u|^2 / mu, its energy norm by sqrt 2 |u| / mu. Of e alone the mean Hessian
/// changes by half of it. What is not known in the energy norm is infinite.
template <class T>
TermBound OwnRegulariser<T>::directional(const ImageSums&, const Ball& ball) const {
  const double change = constants_.hessian_lipschitz * ball.epsilon;
  const double along = change == 0 ? 0 : unknown;
  TermBound out{change * ball.norm_q,
                std::sqrt(2.0) * (1 + 1e-15) * change * ball.norm_q,
                change * ball.norm_v,
                along,
                change * ball.norm_v * ball.norm_q,
                0.5 * change * ball.epsilon * ball.norm_q,
                {}};
  for (std::size_t j = 0; j < numbers_.size(); ++j) {
    if (numbers_[j].entry < 0) continue;
    const double slope = std::abs(numbers_[j].slope), lipschitz = slope * constants_.mixed_lipschitz[j];
    out.blocks.push_back({static_cast<std::size_t>(numbers_[j].entry), slope * constants_.mixed_norm[j],
                          lipschitz, lipschitz * ball.epsilon * ball.norm_q, lipschitz == 0 ? 0 : unknown,
                          slope * ball.unit * constants_.mixed_rounding * ball.norm_q});
  }
  return out;
}

template <class T>
bool OwnRegulariser<T>::knows_columns() const {
  return std::all_of(constants_.mixed_norm.begin(), constants_.mixed_norm.end(),
                     [](double norm) { return norm >= 0 && std::isfinite(norm); });
}

template <class T>
std::unique_ptr<Regulariser<float>> OwnRegulariser<T>::single(Context&) const {
  if constexpr (std::same_as<T, double>)
    if (std::shared_ptr<Term<float>> twin = term_->single())
      return std::make_unique<OwnRegulariser<float>>(std::move(twin), images_, prefix_);
  throw ConfigError(
      "a term of one's own is not kept in single precision unless it has single(); compute in "
      "double.");
}

template class OwnRegulariser<float>;
template class OwnRegulariser<double>;

}  // namespace v0
}  // namespace bilevel
