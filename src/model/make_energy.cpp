#include <concepts>

#include "bilevel/core/error.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel {
inline namespace v0 {

template <class T>
std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy, const Parameters& parameters,
                                       const RegulariserOptions& options, std::span<const double> sampling,
                                       bool mixed) {
  const auto kept = [&](auto energy) -> std::unique_ptr<Energy<T>> {
    if constexpr (std::same_as<T, double>)
      if (mixed) energy->keep_single_precision(context);
    return energy;
  };
  if (const auto* tv = std::get_if<TvOptions>(&options))
    return kept(std::make_unique<TvEnergy<T>>(context, noisy, parameters, *tv, sampling));
  if (!sampling.empty())
    throw ConfigError("a field of experts denoises whole images and fills in nothing; use total variation.");
  return kept(
      std::make_unique<FieldOfExperts<T>>(context, noisy, parameters, std::get<ExpertsOptions>(options)));
}

template <class T>
std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy, const DenoiseModel& model,
                                       std::span<const double> sampling, bool mixed) {
  std::vector<Segment> fixed = model.parameters;
  for (Segment& s : fixed) s.learned = false;
  auto energy = make_energy<T>(context, noisy, Parameters(fixed), model.options, sampling, mixed);
  energy->bind({});
  return energy;
}

#define BILEVEL_INSTANTIATE(T)                                                                               \
  template BILEVEL_API std::unique_ptr<Energy<T>> make_energy(                                               \
      Context&, View<const T>, const Parameters&, const RegulariserOptions&, std::span<const double>, bool); \
  template BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context&, View<const T>, const DenoiseModel&,  \
                                                              std::span<const double>, bool);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace v0
}  // namespace bilevel
