#include "bilevel/model/energy.hpp"

#include <numeric>

namespace bilevel {
inline namespace v0 {

template <class T>
Energy<T>::~Energy() = default;

template <class T>
std::vector<std::size_t> Energy<T>::blocks() const {
  std::vector<std::size_t> ends(parameters());
  std::iota(ends.begin(), ends.end(), std::size_t{1});
  return ends;
}

template class BILEVEL_API Energy<float>;
template class BILEVEL_API Energy<double>;

template <class T>
ProximalForm<T>::~ProximalForm() = default;
template class BILEVEL_API ProximalForm<float>;
template class BILEVEL_API ProximalForm<double>;

}  // namespace v0
}  // namespace bilevel
