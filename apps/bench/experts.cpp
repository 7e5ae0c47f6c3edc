#include "apps/bench/experts.hpp"

#include <random>

#include "apps/bench/arrays.hpp"

namespace bilevel_app::bench {

using namespace bilevel;

namespace {

/// Taps of noise around zero, then the weights, then the smoothings.
template <class T>
std::vector<T> parameters(int filters, int taps) {
  std::mt19937_64 random(11);
  std::vector<T> values;
  for (int k = 0; k < filters * taps; ++k)
    values.push_back(static_cast<T>(0.3 * (static_cast<double>(random() >> 11) * 0x1p-53 - 0.5)));
  values.insert(values.end(), static_cast<std::size_t>(filters), T(0.05));
  values.insert(values.end(), static_cast<std::size_t>(filters), T(0.1));
  return values;
}

}  // namespace

template <class T>
Experts<T>::Experts(Arrays<T>& arrays)
    : maps_store_(arrays.context(), {arrays.n() * filters, 1, arrays.size(), arrays.size()}),
      parameters_(arrays.context(), {1, 1, 1, filters * (taps + 2)}, parameters<T>(filters, taps)),
      dual_store_(arrays.context(), {arrays.n() * filters, 1, arrays.size(), arrays.size()}),
      sums_store_(arrays.context(), {(sum_rows + 1) * filters, arrays.n(), 1, 1}),
      maps_(maps_store_.view().device_data()),
      taps_(parameters_.view().device_data()),
      dual_(dual_store_.view().device_data()),
      sums_(sums_store_.view().device_data()),
      constants_(sums_ + sum_rows * filters * arrays.n()) {
  Context& context = arrays.context();
  fill<T>(context, maps_store_.view(), T(0.3));
  fill<float>(context, dual_store_.view(), 0.1F);
  fill<double>(context, sums_store_.view(), 1);
}

template <class T>
kernels::ExpertsModel<T> Experts<T>::model(const Arrays<T>& arrays) const {
  return {arrays.size(),
          arrays.size(),
          filters,
          size,
          kernels::Padding::symmetric,
          kernels::Potential::charbonnier,
          T(0.01),
          taps_,
          taps_ + filters * taps,
          taps_ + filters * (taps + 1)};
}

template class Experts<float>;
template class Experts<double>;

}  // namespace bilevel_app::bench
