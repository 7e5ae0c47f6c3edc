#include "bilevel/ops/wavelet.hpp"

#include <algorithm>
#include <string>

#include "kernels/krylov_args.hpp"
#include "kernels/wavelet_args.hpp"
#include "ops/operands.hpp"
#include "ops/wavelet_diagonal.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* of_wavelet = "wavelet transform";

/// Name, taps and sum |h|, rounded up.
struct Filter {
  const char* name;
  int taps;
  double sum;
};
constexpr Filter filters[] = {{"haar", 2, 1.4143}, {"db2", 4, 1.6731}, {"db4", 8, 1.8655}};
const Filter& table_of(WaveletFilter filter) { return filters[static_cast<int>(filter)]; }

/// [H,1] is taken as [1,H].
kernels::WaveletLevel finest(const Shape& s, const WaveletOptions& options, const Active& active) {
  kernels::WaveletLevel level;
  level.active = active;
  level.taps = table_of(options.filter).taps;
  level.channels = s.c;
  level.height = s.w == 1 ? 1 : s.h;
  level.width = s.w == 1 ? s.h : s.w;
  level.pitch = level.width;
  level.plane = static_cast<std::size_t>(s.h) * static_cast<std::size_t>(s.w);
  return level;
}
int halved(int side) { return side == 1 ? 1 : side / 2; }

/// visit(level, coarse) for levels 1 to `levels`, where `coarse` is scratch for the approximation, or null
/// for the last, which stands among the coefficients.
template <class T, class Visit>
void visit_levels(Frame& frame, int n, kernels::WaveletLevel level, int levels, bool keep,
                  const Visit& visit) {
  for (int l = 1; l <= levels; ++l) {
    const int height = halved(level.height), width = level.width / 2;
    T* coarse = nullptr;
    if (l < levels) coarse = frame.view<T>({n, level.channels, height, width}).device_data();
    level.coarse_pitch = coarse ? width : level.pitch;
    level.coarse_plane =
        coarse ? static_cast<std::size_t>(height) * static_cast<std::size_t>(width) : level.plane;
    level.keep_approximation = coarse || keep;
    visit(level, coarse);
    level.height = height;
    level.width = width;
  }
}

}  // namespace

WaveletFilter wavelet_filter(const std::string& name) {
  for (const WaveletFilter f : {WaveletFilter::haar, WaveletFilter::db2, WaveletFilter::db4})
    if (name == name_of(f)) return f;
  throw ConfigError("the wavelet '" + name + "' is unknown; use haar, db2 or db4.");
}
const char* name_of(WaveletFilter filter) { return table_of(filter).name; }

void WaveletOptions::validate() const {
  if (levels < 1)
    throw ConfigError("a wavelet transform of " + std::to_string(levels) +
                      " levels does nothing; ask for at least 1.");
}

template <class T>
int Wavelet<T>::possible_levels(const Shape& images) {
  if (images.h < 1 || images.w < 1) return 0;
  const int sides = (images.h == 1 ? 0 : images.h) | (images.w == 1 ? 0 : images.w);
  int levels = 0;
  while (sides != 0 && (sides >> levels) % 2 == 0) ++levels;
  return levels;
}

template <class T>
Wavelet<T>::Wavelet(const Shape& images, const WaveletOptions& options)
    : shape_(images), options_(options), levels_(std::min(options.levels, possible_levels(images))) {
  options.validate();
  checked_bytes(images, sizeof(T));
  if (images.n < 1 || images.c < 1 || levels_ < 1)
    throw ShapeError("a wavelet transform halves the sides of its images, which " + images.str() +
                     " does not allow; crop or pad them to multiples of " +
                     std::to_string(1 << std::min(options.levels, 30)) + ", or to even sides for one level.");
}
template <class T>
Wavelet<T>::~Wavelet() = default;

template <class T>
Shape Wavelet<T>::approximation() const {
  Shape s = shape_;
  for (int l = 0; l < levels_; ++l) {
    s.h = halved(s.h);
    s.w = halved(s.w);
  }
  return s;
}

template <class T>
void Wavelet<T>::apply(Context& context, const Active& active, View<const T> x, View<T> z) const {
  require_active(active, shape_.n, of_wavelet);
  require_operand(context, shape_, x, of_wavelet);
  require_operand(context, shape_, z, of_wavelet);
  Frame frame(context);
  const T* fine = x.device_data();
  visit_levels<T>(frame, shape_.n, finest(shape_, options_, active), levels_, options_.keep_approximation,
                  [&](const kernels::WaveletLevel& level, T* coarse) {
                    kernel_table<T>(context).wavelet_analyse(
                        stream_of(context),
                        {level, fine, coarse ? coarse : z.device_data(), z.device_data()});
                    fine = coarse;
                  });
}

template <class T>
void Wavelet<T>::adjoint(Context& context, const Active& active, View<const T> z, View<T> x) const {
  require_active(active, shape_.n, of_wavelet);
  require_operand(context, shape_, z, of_wavelet);
  require_operand(context, shape_, x, of_wavelet);
  Frame frame(context);
  std::vector<kernels::WaveletSynthesiseArgs<T>> steps;
  T* fine = x.device_data();
  visit_levels<T>(frame, shape_.n, finest(shape_, options_, active), levels_, options_.keep_approximation,
                  [&](const kernels::WaveletLevel& level, T* coarse) {
                    steps.push_back({level, coarse ? coarse : z.device_data(), z.device_data(), fine});
                    fine = coarse;
                  });
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    kernel_table<T>(context).wavelet_synthesise(stream_of(context), *step);
}

template <class T>
void add_diagonal(Context& context, const Active& active, const Wavelet<T>& w, const T* reciprocal,
                  T* inverse_diagonal) {
  Frame frame(context);
  std::vector<kernels::WaveletSynthesiseArgs<T>> steps;
  T* fine = nullptr;
  visit_levels<T>(frame, w.domain().n, finest(w.domain(), w.options(), active), w.levels(),
                  w.options().keep_approximation, [&](const kernels::WaveletLevel& level, T* coarse) {
                    steps.push_back({level, coarse ? coarse : reciprocal, reciprocal, fine, true, !coarse});
                    fine = coarse;
                  });
  steps.front().inverse = inverse_diagonal;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    kernel_table<T>(context).wavelet_synthesise(stream_of(context), *step);
}
template void add_diagonal(Context&, const Active&, const Wavelet<float>&, const float*, float*);
template void add_diagonal(Context&, const Active&, const Wavelet<double>&, const double*, double*);

template <class T>
void Wavelet<T>::normal(Context& context, const Active& active, View<const T> x, View<T> out) const {
  if (!options_.keep_approximation) return LinearOperator<T>::normal(context, active, x, out);
  require_active(active, shape_.n, of_wavelet);
  require_operand(context, shape_, x, of_wavelet);
  require_operand(context, shape_, out, of_wavelet);
  kernel_table<T>(context).combine(stream_of(context), {active, shape_.image(), x.device_data(), nullptr, 1,
                                                        0, nullptr, nullptr, out.device_data()});
}

template <class T>
double Wavelet<T>::rounding() const {
  const Filter& f = table_of(options_.filter);
  const int passes = shape_.h == 1 || shape_.w == 1 ? 1 : 2;
  return 1.001 * levels_ * passes * (f.taps + 1) * f.sum;  // 1.001: products of errors
}

template class BILEVEL_API Wavelet<float>;
template class BILEVEL_API Wavelet<double>;

}  // namespace v0
}  // namespace bilevel
