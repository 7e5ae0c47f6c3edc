#include "bilevel/ops/blur.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <string>

#include "device/fft.hpp"
#include "kernels/blur_args.hpp"
#include "kernels/spectrum_args.hpp"
#include "ops/operands.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* of_blur = "blur";
constexpr double unit = std::numeric_limits<double>::epsilon() / 2;
using Complex = std::complex<double>;

std::size_t index(int a) { return static_cast<std::size_t>(a); }

/// exp(-2 pi i j / n), correctly rounded up to a bit.
std::vector<Complex> roots_of_unity(int n) {
  std::vector<Complex> roots(index(n));
  for (int j = 0; j < n; ++j) {
    const long double angle = 2 * std::numbers::pi_v<long double> * j / n;
    roots[index(j)] = {static_cast<double>(std::cos(angle)), static_cast<double>(-std::sin(angle))};
  }
  return roots;
}

/// k^[k,l] = sum_{a,b} k[a,b] exp(-2 pi i (k (a-centre)/H + l (b-centre)/W)) on the torus H x W, for l <=
/// W/2, row by row. |error| <= (height + width + 8) u sum|k|.
std::vector<Complex> spectrum_of(const BlurKernel& kernel, int height, int width) {
  const std::vector<Complex> down = roots_of_unity(height), across = roots_of_unity(width);
  const int columns = width / 2 + 1;
  const auto place = [](int frequency, int tap, int centre, int size) {
    const long long turns = static_cast<long long>(frequency) * (tap - centre) % size;
    return static_cast<std::size_t>(turns < 0 ? turns + size : turns);
  };
  std::vector<Complex> rows(index(kernel.height) * index(columns)), out(index(height) * index(columns));
  for (int a = 0; a < kernel.height; ++a)
    for (int l = 0; l < columns; ++l) {
      Complex& sum = rows[index(a) * index(columns) + index(l)];
      for (int b = 0; b < kernel.width; ++b)
        sum += kernel.values[index(a) * index(kernel.width) + index(b)] *
               across[place(l, b, kernel.width / 2, width)];
    }
  for (int k = 0; k < height; ++k)
    for (int a = 0; a < kernel.height; ++a) {
      const Complex turn = down[place(k, a, kernel.height / 2, height)];
      const double re = turn.real(), im = turn.imag();
      const Complex* from = rows.data() + index(a) * index(columns);
      Complex* to = out.data() + index(k) * index(columns);
      for (int l = 0; l < columns; ++l)
        to[l] +=
            Complex(re * from[l].real() - im * from[l].imag(), re * from[l].imag() + im * from[l].real());
    }
  return out;
}

/// count[tap][p]: outputs i that read pixel p through this tap, of `size` pixels mirrored at both ends.
std::vector<double> readers(int taps, int size) {
  std::vector<double> count(index(taps) * index(size));
  for (int tap = 0; tap < taps; ++tap)
    for (int i = 0; i < size; ++i) {
      const int p = i - tap + taps / 2;
      count[index(tap) * index(size) + index(p < 0 ? -1 - p : p >= size ? 2 * size - 1 - p : p)] += 1;
    }
  return count;
}

/// Largest column sum of the convolution with |k|, from above.
double largest_column(const BlurKernel& kernel, int height, int width) {
  const std::vector<double> down = readers(kernel.height, height), across = readers(kernel.width, width);
  std::vector<double> rows(index(kernel.height) * index(width));  // of each row of taps
  for (std::size_t a = 0; a < index(kernel.height); ++a)
    for (std::size_t b = 0; b < index(kernel.width); ++b)
      for (std::size_t c = 0; c < index(width); ++c)
        rows[a * index(width) + c] +=
            std::abs(kernel.values[a * index(kernel.width) + b]) * across[b * index(width) + c];
  double largest = 0;
  std::vector<double> sums(index(width));
  for (std::size_t r = 0; r < index(height); ++r) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::size_t a = 0; a < index(kernel.height); ++a)
      for (std::size_t c = 0; c < index(width); ++c)
        sums[c] += down[a * index(height) + r] * rows[a * index(width) + c];
    largest = std::max(largest, *std::max_element(sums.begin(), sums.end()));
  }
  return largest * (1 + (kernel.height + kernel.width + 8) * unit);
}

void require_kernel(const BlurKernel& kernel, const Shape& images) {
  const std::string size = std::to_string(kernel.height) + "x" + std::to_string(kernel.width);
  if (kernel.height < 1 || kernel.width < 1 || kernel.height % 2 == 0 || kernel.width % 2 == 0)
    throw ConfigError("a blur kernel of " + size +
                      " has no centre; give it odd sizes, for example by a row or column of zeros.");
  if (kernel.values.size() != index(kernel.height) * index(kernel.width))
    throw ShapeError("a blur kernel of " + size + " needs as many values, not " +
                     std::to_string(kernel.values.size()) + ".");
  if (!std::all_of(kernel.values.begin(), kernel.values.end(), [](double v) { return std::isfinite(v); }))
    throw ConfigError("the blur kernel of " + size + " holds values that are not finite; correct them.");
  if (images.n < 1 || images.c < 1 || images.h < 1 || images.w < 1)
    throw ShapeError("a blur needs images [N,C,H,W] of at least one pixel, not " + images.str() + ".");
  if (kernel.height > images.h || kernel.width > images.w)
    throw ShapeError("the blur kernel of " + size + " is larger than the images " + images.str() +
                     "; cut it down or use larger images.");
  if (checked_bytes(images, 1) > std::numeric_limits<int>::max() / 16)
    throw ShapeError("a blur of " + images.str() +
                     " has too many points on the torus of twice the size; use smaller batches.");
}

}  // namespace

BlurKernel gaussian_kernel(double sigma) {
  if (!(sigma > 0 && sigma <= 1000))
    throw ConfigError("a Gaussian kernel of standard deviation " + std::to_string(sigma) +
                      " cannot be; use more than 0 and at most 1000 pixels.");
  const int radius = static_cast<int>(4 * sigma + 0.5), size = 2 * radius + 1;
  std::vector<double> weights;
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) {
    weights.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
    sum += weights.back();
  }
  BlurKernel kernel{size, size, {}};
  for (const double row : weights)
    for (const double column : weights) kernel.values.push_back(row / sum * (column / sum));
  return kernel;
}

template <class T>
struct Blur<T>::Impl {
  Impl(Context& context, const Shape& s, const BlurKernel& kernel) : owner(&context.impl()), images(s) {
    const int height = 2 * s.h, width = 2 * s.w;
    fft = make_fft<T>(context, {s.n * s.c, height, width}, FftKind::real_to_complex);
    const SpectrumOrder order = fft->order();
    const int columns = fft->spectrum_columns();
    shape = {s.n, s.c, height, columns, width, true, order.row == 1};
    const std::vector<Complex> spectrum = spectrum_of(kernel, height, width);
    std::vector<T> values(2 * spectrum.size());
    double largest = 0, sum = 0;
    for (std::size_t k = 0; k < index(height); ++k)
      for (std::size_t l = 0; l < index(columns); ++l) {
        const Complex m = spectrum[k * index(columns) + l];
        const std::size_t place = k * order.row + l * order.column;
        values[2 * place] = static_cast<T>(m.real());
        values[2 * place + 1] = static_cast<T>(m.imag());
        largest = std::max(largest, std::abs(m));
      }
    one = Tensor<std::uint8_t>(context, {1, 1, 1, 1}, std::vector<std::uint8_t>{1});
    zero = Tensor<std::int32_t>(context, {1, 1, 1, 1}, std::vector<std::int32_t>{0});
    multiplier = Tensor<T>(context, {1, 1, 1, static_cast<int>(values.size())}, values);
    for (const double v : kernel.values) sum += std::abs(v);
    const double terms = static_cast<double>(kernel.values.size()) + 8;
    sum *= 1 + terms * unit;
    const double error = (kernel.height + kernel.width + 8) * unit * sum;  // of the spectrum
    largest = largest * (1 + 4 * unit) + error;
    norm2 = (1 + 8 * unit) * std::min(sum * largest_column(kernel, s.h, s.w), 4 * largest * largest);
    if (!std::isfinite(norm2) || (largest > 0 && !std::isfinite(static_cast<T>(largest))))
      throw ConfigError("the values of the blur kernel are too large to be computed with; scale it down.");
    const double unit_of_t = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
    rounding = 2 * largest * (20 * std::log2(4.0 * s.h * s.w) + 9) + 2 * error / unit_of_t;
  }

  /// z = fold of C (or C^T) of the extension.
  void convolve(Context& context, const Active& active, View<const T> x, View<T> z, bool adjoint) const {
    if (&context.impl() != owner)
      throw ConfigError("a blur of " + images.str() +
                        " was given another context than it was planned with; make one for this context.");
    require_active(active, images.n, of_blur);
    require_operand(context, images, x, of_blur);
    require_operand(context, images, z, of_blur);
    if (active.count == 0) return;
    Frame frame(context);
    T* torus = frame.view<T>({images.n, images.c, 2 * images.h, 2 * images.w}).device_data();
    const kernels::Table<T>& k = kernel_table<T>(context);
    k.torus_extend(stream_of(context), {{one.view().device_data(), zero.view().device_data(), 1},
                                        active.mask,
                                        images.n,
                                        images.c,
                                        images.h,
                                        images.w,
                                        !adjoint,
                                        x.device_data(),
                                        torus});
    kernels::SpectrumArgs<T> pass;
    pass.pass = kernels::SpectrumPass::multiply;
    pass.shape = shape;
    pass.active = active;
    pass.scale = fft->scale();
    pass.data = multiplier.view().device_data();
    pass.conjugate = adjoint;
    fft->filter(context, torus, torus, pass);
    k.torus_fold(stream_of(context), {active, images.c, images.h, images.w, adjoint, torus, z.device_data()});
  }

  const Context::Impl* owner;
  Shape images;
  std::unique_ptr<Fft<T>> fft;  // of the torus, one array per channel
  kernels::SpectrumShape shape;
  Tensor<T> multiplier;
  Tensor<std::uint8_t> one;  // mask and index of a batch of one image
  Tensor<std::int32_t> zero;
  double norm2 = 0, rounding = 0;
};

template <class T>
Blur<T>::Blur(Context& context, const Shape& images, const BlurKernel& kernel) {
  require_kernel(kernel, images);
  impl_ = std::make_unique<Impl>(context, images, kernel);
}
template <class T>
Blur<T>::~Blur() = default;

template <class T>
Shape Blur<T>::domain() const {
  return impl_->images;
}
template <class T>
Shape Blur<T>::range() const {
  return impl_->images;
}
template <class T>
void Blur<T>::apply(Context& context, const Active& active, View<const T> x, View<T> z) const {
  impl_->convolve(context, active, x, z, false);
}
template <class T>
void Blur<T>::adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const {
  impl_->convolve(context, active, z, x, true);
}
template <class T>
double Blur<T>::norm2() const {
  return impl_->norm2;
}
template <class T>
double Blur<T>::rounding() const {
  return impl_->rounding;
}

template class BILEVEL_API Blur<float>;
template class BILEVEL_API Blur<double>;

}  // namespace v0
}  // namespace bilevel
