#include "bilevel/ops/host_operator.hpp"

#include <cmath>
#include <utility>

#include "bilevel/core/error.hpp"
#include "ops/host_images.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
HostOperator<T>::HostOperator(const Shape& domain, const Shape& range, Map apply, Map adjoint,
                              const Constants& constants)
    : domain_(domain),
      range_(range),
      apply_(std::move(apply)),
      adjoint_(std::move(adjoint)),
      constants_(constants) {
  if (!apply_ || !adjoint_) throw ConfigError("an operator of the host needs two functions, A and A^T.");
  if (domain.n != range.n)
    throw ShapeError("an operator maps " + std::to_string(domain.n) + " images to as many, not to " +
                     std::to_string(range.n) + ".");
  for (double c : {constants.norm2, constants.rounding, constants.least2})
    if (!(c >= 0) || !std::isfinite(c))
      throw ConfigError("norm2, rounding and least2 of an operator must be finite and not negative.");
}

template <class T>
void HostOperator<T>::apply(Context& context, const Active& active, View<const T> x, View<T> z) const {
  require_operand(context, domain_, x, "operator of the host (image)");
  require_operand(context, range_, z, "operator of the host (result)");
  run(context, active, apply_, x, z);
}
template <class T>
void HostOperator<T>::adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const {
  require_operand(context, range_, z, "adjoint of the host (image)");
  require_operand(context, domain_, x, "adjoint of the host (result)");
  run(context, active, adjoint_, z, x);
}

template <class T>
void HostOperator<T>::run(Context& context, const Active& active, const Map& map, View<const T> from,
                          View<T> to) {
  HostImages<T> in(context, from), out(context, to);
  for (const std::size_t image : open_images(context, active, from.shape().n, "an operator of the host"))
    map(in[image], out[image]);
  upload<T>(context, out.values, to);
}

template class BILEVEL_API HostOperator<float>;
template class BILEVEL_API HostOperator<double>;

}  // namespace v0
}  // namespace bilevel
