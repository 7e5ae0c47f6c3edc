#include "apps/bench/mri.hpp"

#include "apps/bench/arrays.hpp"

namespace bilevel_app::bench {

using namespace bilevel;

template <class T>
Mri<T>::Mri(Arrays<T>& arrays)
    : ones_(arrays.context(), {2, 1, arrays.size(), arrays.size()}),
      dual_(arrays.context(), {4 * arrays.n(), 1, arrays.size(), arrays.size()}) {
  fill<T>(arrays.context(), ones_.view(), T(1));
  fill<float>(arrays.context(), dual_.view(), 0.1F);
}

template class Mri<float>;
template class Mri<double>;

}  // namespace bilevel_app::bench
