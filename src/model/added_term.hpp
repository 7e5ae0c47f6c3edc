#pragma once

// What a term of one's own does with its part once it has it, behind the terms that are complete.

#include "device/backend.hpp"
#include "kernels/join_args.hpp"
#include "kernels/krylov_args.hpp"
#include "model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// Rounding of a computed part: unit (reading |x| + writing |part| + still).
struct PartRounding {
  double reading = 0, writing = 1, still = 0;
};

/// g += part, with the sums.
template <class T>
void add_gradient(Context& context, const Active& active, View<const T> x, View<const T> part, Scalars value,
                  const PartRounding& rounding, double unit, View<T> g, const GradientSums& sums) {
  Frame frame(context);
  const auto row = [&] { return frame.view<double>({x.shape().n, 1, 1, 1}); };
  const Scalars norm2 = row(), still = row();
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const std::size_t size = x.shape().image();
  kernel.dot(stream_of(context),
             {active, size, part.device_data(), part.device_data(), false, norm2.device_data()});
  fill<double>(context, still, unit * rounding.still);
  kernel.join(stream_of(context),
              {active, size, x.device_data(), part.device_data(), g.device_data(), sums.value.device_data(),
               sums.norm2.device_data(), sums.rounding.device_data(), value.device_data(),
               norm2.device_data(), still.device_data(), unit, rounding.reading, rounding.writing, 1});
}

/// product += part, inner = <p, product>.
template <class T>
void add_product(Context& context, const Active& active, View<const T> p, View<const T> part, View<T> product,
                 Scalars inner) {
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const std::size_t size = p.shape().image();
  kernel.combine(stream_of(context), {active, size, product.device_data(), part.device_data(), 1, 1, nullptr,
                                      nullptr, product.device_data()});
  kernel.dot(stream_of(context),
             {active, size, p.device_data(), product.device_data(), false, inner.device_data()});
}

/// With `add` out += part, else out is the part already; norm2 = |out|^2.
template <class T>
void add_forward(Context& context, const Active& active, View<const T> part, bool add, View<T> out,
                 Scalars norm2) {
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  const std::size_t size = out.shape().image();
  if (add)
    kernel.combine(stream_of(context), {active, size, out.device_data(), part.device_data(), 1, 1, nullptr,
                                        nullptr, out.device_data()});
  kernel.dot(stream_of(context),
             {active, size, out.device_data(), out.device_data(), false, norm2.device_data()});
}

}  // namespace v0
}  // namespace bilevel
