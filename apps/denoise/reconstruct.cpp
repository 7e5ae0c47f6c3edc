#include "apps/denoise/reconstruct.hpp"

#include <cmath>

#include "apps/common/interrupt.hpp"
#include "apps/common/upper_options.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

/// The values in another precision; the source is released.
template <class To, class From>
std::vector<To> converted(std::vector<From>&& values) {
  if constexpr (std::is_same_v<To, From>) {
    return std::move(values);
  } else {
    std::vector<To> result(values.begin(), values.end());
    std::vector<From>().swap(values);
    return result;
  }
}

template <class T>
Reconstruction solve(Context& context, const DenoiseModel& model, const std::string& precision,
                     const std::string& solver, double tolerance, const Shape& shape,
                     std::span<const double> mask, std::vector<double>& pixels) {
  Tensor<T> y(context, shape);
  {
    if (!mask.empty())
      for (std::size_t k = 0; k < pixels.size(); ++k) pixels[k] *= mask[k % mask.size()];
    const std::vector<T> values = converted<T>(std::move(pixels));
    y.upload(context, values);
    context.synchronise();
  }
  pixels = std::vector<double>();
  const auto energy = make_energy<T>(context, y.view(), model, mask, precision == "mixed");
  Tensor<T> x = start_from<T>(context, y.view(), energy->shape());
  const double root = std::sqrt(static_cast<double>(shape.image()));
  SolveRequest<T> request;
  request.tolerance = tolerance * root;
  request.decided = [](Context&, View<const T>, std::span<const double>) { return interrupted(); };
  const SolveReport report = make_minimiser<T>(in_precision(lower_solver(solver, model.options), precision))
                                 ->minimise(context, *energy, request, x.view());
  y = Tensor<T>();
  pixels = converted<double>(download<T>(context, first_channels<T>(context, x.view(), shape.c)));
  return {report.certificate.at(0) / root, report.status, report.work, report.message};
}

}  // namespace

Reconstruction reconstruct(Context& context, const DenoiseModel& model, const std::string& precision,
                           const std::string& solver, double tolerance, int height, int width,
                           std::span<const double> mask, std::vector<double>& pixels) {
  const Shape shape{1, model.channels, height, width};
  if (precision == "float")
    return solve<float>(context, model, precision, solver, tolerance, shape, mask, pixels);
  return solve<double>(context, model, precision, solver, tolerance, shape, mask, pixels);
}

}  // namespace bilevel_app::denoise
