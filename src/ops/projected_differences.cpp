#include "bilevel/ops/projected_differences.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "kernels/projected_args.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* what = "projected differences";

/// zeta of one reference image into zeta[2][H][W].
template <class T>
void put_field(const Shape& s, std::span<const double> reference, double eta, std::span<T> zeta) {
  const std::size_t width = static_cast<std::size_t>(s.w), size = reference.size();
  for (std::size_t e = 0; e < size; ++e) {
    const double x = (e + 1) % width == 0 ? 0 : reference[e + 1] - reference[e],
                 y = e + width < size ? reference[e + width] - reference[e] : 0;
    const double length = std::hypot(eta, x, y);
    zeta[e] = static_cast<T>(x / length);
    zeta[size + e] = static_cast<T>(y / length);
  }
}

}  // namespace

template <class T>
ProjectedDifferences<T>::ProjectedDifferences(Context& context, const Shape& images,
                                              std::span<const double> reference, double eta)
    : images_(images), zeta_(context, {images.n, 2, images.h, images.w}) {
  const std::size_t size = Shape{1, 1, images.h, images.w}.count(),
                    all = size * static_cast<std::size_t>(images.n);
  if (reference.size() != size && reference.size() != all)
    throw ShapeError("the reference has " + std::to_string(reference.size()) + " pixels, images " +
                     std::to_string(size) + " (" + images.str() +
                     "); give one for all of them, or one each.");
  for (double v : reference)
    if (!std::isfinite(v)) throw ConfigError("the reference has pixels that are not finite.");
  if (!(eta > 0) || !std::isfinite(eta)) throw ConfigError("eta of a reference must be positive and finite.");
  std::vector<T> field(2 * all);
  for (std::size_t i = 0; i < static_cast<std::size_t>(images.n); ++i)
    put_field<T>(images, reference.subspan(reference.size() == all ? i * size : 0, size), eta,
                 std::span(field).subspan(2 * i * size, 2 * size));
  zeta_.upload(context, field);
}

template <class T>
double ProjectedDifferences<T>::norm2() const {
  return (images_.h > 1 ? 4 : 0) + (images_.w > 1 ? 4 : 0);
}

template <class T>
void ProjectedDifferences<T>::apply(Context& context, const Active& active, View<const T> x,
                                    View<T> z) const {
  require_operand(context, domain(), x, what);
  require_operand(context, range(), z, what);
  run(context, active, x, z, false);
}
template <class T>
void ProjectedDifferences<T>::adjoint(Context& context, const Active& active, View<const T> z,
                                      View<T> x) const {
  require_operand(context, range(), z, what);
  require_operand(context, domain(), x, what);
  run(context, active, z, x, true);
}

template <class T>
void ProjectedDifferences<T>::run(Context& context, const Active& active, View<const T> in, View<T> out,
                                  bool adjoint) const {
  require_active(active, images_.n, what);
  const kernels::Table<T>& kernel = kernel_table<T>(context);
  (adjoint ? kernel.projected_adjoint : kernel.projected_forward)(
      stream_of(context), {active, images_.c, images_.h, images_.w, zeta_.view().device_data(),
                           in.device_data(), out.device_data()});
}

template class BILEVEL_API ProjectedDifferences<float>;
template class BILEVEL_API ProjectedDifferences<double>;

}  // namespace v0
}  // namespace bilevel
