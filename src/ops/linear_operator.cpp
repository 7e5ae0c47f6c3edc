#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
LinearOperator<T>::~LinearOperator() = default;

template <class T>
void LinearOperator<T>::normal(Context& context, const Active& active, View<const T> x, View<T> out) const {
  Frame frame(context);
  const View<T> z = frame.view<T>(range());
  apply(context, active, x, z);
  adjoint(context, active, z, out);
}

template class BILEVEL_API LinearOperator<float>;
template class BILEVEL_API LinearOperator<double>;

}  // namespace v0
}  // namespace bilevel
