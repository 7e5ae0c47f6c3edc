#include <concepts>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy, const Parameters& parameters,
                                       const RegulariserSum& regularisers, std::span<const double> sampling,
                                       bool mixed) {
  auto energy = std::make_unique<ComposedEnergy<T>>(context, noisy, parameters, regularisers, sampling);
  if constexpr (std::same_as<T, double>)
    if (mixed) energy->keep_single_precision(context);
  return energy;
}

template <class T>
std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy, const Parameters& parameters,
                                       const RegulariserSum& regularisers, const BlurKernel& kernel) {
  auto blur = std::make_shared<const Blur<T>>(context, noisy.shape(), kernel);
  return std::make_unique<ComposedEnergy<T>>(context, std::move(blur), noisy, parameters, regularisers);
}

template <class T>
std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy, const DenoiseModel& model,
                                       std::span<const double> sampling, bool mixed) {
  if (noisy.shape().c != model.channels)
    throw ConfigError("the model is of images with " + std::to_string(model.channels) +
                      " channel(s), not of " + noisy.shape().str() + ".");
  std::vector<Segment> fixed = model.parameters;
  for (Segment& s : fixed) s.learned = false;
  if (!model.blur) return make_energy<T>(context, noisy, Parameters(fixed), model.options, sampling, mixed);
  if (!sampling.empty() || mixed)
    throw ConfigError("a model that deblurs needs every pixel, and is not kept in single precision.");
  return make_energy<T>(context, noisy, Parameters(fixed), model.options, *model.blur);
}

#define BILEVEL_INSTANTIATE(T)                                                                              \
  template BILEVEL_API std::unique_ptr<Energy<T>> make_energy(                                              \
      Context&, View<const T>, const Parameters&, const RegulariserSum&, std::span<const double>, bool);    \
  template BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context&, View<const T>, const Parameters&,   \
                                                              const RegulariserSum&, const BlurKernel&);    \
  template BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context&, View<const T>, const DenoiseModel&, \
                                                              std::span<const double>, bool);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
