#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/model/term.hpp"
#include "ops/host_images.hpp"

namespace bilevel {
inline namespace v0 {

OwnPart::~OwnPart() = default;
template <class T>
OperatorTerm<T>::~OperatorTerm() = default;
template class BILEVEL_API OperatorTerm<float>;
template class BILEVEL_API OperatorTerm<double>;
template <class T>
Term<T>::~Term() = default;
template class BILEVEL_API Term<float>;
template class BILEVEL_API Term<double>;

namespace {

constexpr const char* what = "a term of the host";

}  // namespace

template <class T>
HostTerm<T>::HostTerm(const Shape& images, std::vector<Segment> segments, Functions functions)
    : shape_(images), segments_(std::move(segments)), functions_(std::move(functions)) {
  const Functions& f = functions_;
  if (!f.value_and_gradient || !f.hessian_product || !f.mixed || !f.constants)
    throw ConfigError(
        "a term of the host needs four functions: value_and_gradient, hessian_product, mixed and "
        "constants.");
  for (const Segment& s : segments_)
    for (double v : s.initial_values()) values_.push_back(v);
}

template <class T>
void HostTerm<T>::bind(std::span<const double> values) {
  if (values.size() != values_.size())
    throw ShapeError(std::string(what) + " has " + std::to_string(values_.size()) + " values, not " +
                     std::to_string(values.size()) + ".");
  values_.assign(values.begin(), values.end());
}

template <class T>
void HostTerm<T>::value_and_gradient(Context& context, const Active& active, View<const T> x,
                                     View<T> gradient, Scalars value) const {
  require_operand(context, shape_, x, what);
  require_operand(context, shape_, gradient, what);
  HostImages<T> at(context, x), out(context, gradient);
  std::vector<double> values = download<double>(context, value);
  for (const std::size_t i : open_images(context, active, shape_.n, what))
    values[i] = functions_.value_and_gradient(values_, at[i], out[i]);
  upload<T>(context, out.values, gradient);
  upload<double>(context, values, value);
}

template <class T>
void HostTerm<T>::hessian_product(Context& context, const Active& active, View<const T> x, View<const T> p,
                                  View<T> product) const {
  require_operand(context, shape_, x, what);
  require_operand(context, shape_, p, what);
  require_operand(context, shape_, product, what);
  HostImages<T> at(context, x), from(context, p), out(context, product);
  for (const std::size_t i : open_images(context, active, shape_.n, what))
    functions_.hessian_product(values_, at[i], from[i], out[i]);
  upload<T>(context, out.values, product);
}

template <class T>
void HostTerm<T>::mixed_adjoint(Context& context, const Active& active, View<const T> x, View<const T> q,
                                View<double> sums) const {
  require_operand(context, shape_, x, what);
  require_operand(context, shape_, q, what);
  HostImages<T> at(context, x), with(context, q);
  std::vector<double> out = download<double>(context, sums);
  std::vector<T> column(shape_.image());
  for (const std::size_t i : open_images(context, active, shape_.n, what)) {
    const std::span<const T> to = with[i];
    for (std::size_t j = 0; j < values_.size(); ++j) {
      functions_.mixed(values_, j, at[i], column);
      double sum = 0;
      for (std::size_t e = 0; e < column.size(); ++e) sum += static_cast<double>(column[e]) * to[e];
      out[j * static_cast<std::size_t>(shape_.n) + i] = sum;
    }
  }
  upload<double>(context, out, sums);
}

template <class T>
void HostTerm<T>::mixed_forward(Context& context, const Active& active, View<const T> x,
                                std::span<const double> direction, View<T> out) const {
  require_operand(context, shape_, x, what);
  require_operand(context, shape_, out, what);
  HostImages<T> at(context, x), sum(context, out);
  std::vector<T> column(shape_.image());
  for (const std::size_t i : open_images(context, active, shape_.n, what)) {
    const std::span<T> to = sum[i];
    std::fill(to.begin(), to.end(), T(0));
    for (std::size_t j = 0; j < values_.size(); ++j) {
      if (direction[j] == 0) continue;
      functions_.mixed(values_, j, at[i], column);
      for (std::size_t e = 0; e < column.size(); ++e) to[e] += static_cast<T>(direction[j] * column[e]);
    }
  }
  upload<T>(context, sum.values, out);
}

template class BILEVEL_API HostTerm<float>;
template class BILEVEL_API HostTerm<double>;

}  // namespace v0
}  // namespace bilevel
