#include "apps/bench/arrays.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "apps/bench/timing.hpp"
#include "bilevel/core/error.hpp"
#include "kernels/analysis_args.hpp"

namespace bilevel_app::bench {

using namespace bilevel;

namespace {

constexpr std::size_t shift = 64;  // between the parts of the noise that the slots get

template <class T>
std::vector<T> noise(std::size_t count) {
  std::mt19937_64 random(7);
  std::vector<T> v(count);
  for (T& e : v) e = static_cast<T>(static_cast<double>(random() >> 11) * 0x1p-53);
  return v;
}

Shape flat(std::size_t count) { return {1, static_cast<int>(count / 64), 1, 64}; }

}  // namespace

template <class T>
Arrays<T>::Arrays(Context& context, int images, int size)
    : context_(context),
      n_(images),
      size_(size),
      image_(static_cast<std::size_t>(size) * static_cast<std::size_t>(size)),
      stride_((image_ * static_cast<std::size_t>(images) + 63) / 64 * 64),
      frame_(context),
      slab_(context, {slot_count, static_cast<int>(stride_ / 64), 1, 64}),
      noise_(context, flat(stride_ + slot_count * shift), noise<T>(stride_ + slot_count * shift)),
      rows_(frame_.view<double>({row_count, images, 1, 1})),
      flags_(frame_.view<std::uint8_t>({2, images, 1, 1})),
      states_(frame_.view<std::uint8_t>({images, 1, 1, static_cast<int>(sizeof(kernels::LbfgsState))})),
      active_(context, frame_, images) {}

template <class T>
kernels::AnalysisModel Arrays<T>::model() const {
  return {size_, size_, kernels::Potential::charbonnier, kernels::Stencil::gradient, 0.05, 0.01, 0.01};
}

template <class T>
const Experts<T>& Arrays<T>::experts() {
  if (!experts_) experts_ = std::make_unique<Experts<T>>(*this);
  return *experts_;
}

template <class T>
Mri<T>& Arrays<T>::mri() {
  if (!mri_) mri_ = std::make_unique<Mri<T>>(*this);
  return *mri_;
}

template <class T>
const std::int32_t* Arrays<T>::labels() {
  const Shape row{1, 1, 1, static_cast<int>(image_)};
  if (!labels_.view()) labels_ = Tensor<std::int32_t>(context_, row, std::vector<std::int32_t>(image_, 0));
  return labels_.view().device_data();
}

template <class T>
kernels::CgState Arrays<T>::cg_state() {
  return {row(row_rz),    row(row_rr),         row(row_pap),   row(row_beta), row(row_target),
          row(row_slope), row(row_iterations), active_.mask(), HUGE_VAL};
}

template <class T>
void Arrays<T>::reset() {
  active_.reset(context_);
  fill<double>(context_, rows_, 1);
  const auto set = [this](int k, double value) {
    fill<double>(context_, View<double>(row(k), {n_, 1, 1, 1}), value);
  };
  for (const int k : {row_target, row_slope, row_iterations}) set(k, 0);
  set(row_pap, 1e30);
  set(constant_zero, 0);
  set(constant_half, 0.5);
  set(constant_small, 1e-3);
  upload<std::uint8_t>(context_, std::vector<std::uint8_t>(flags_.shape().count(), 0), flags_);

  kernels::LbfgsState l;
  std::memset(&l, 0, sizeof(l));
  l.filled = kernels::lbfgs_memory;
  for (int k = 0; k < kernels::lbfgs_memory; ++k) {
    l.sy[k][k] = l.yy[k][k] = 1;
    l.on_s[k] = l.on_y[k] = 1e-9;
  }
  l.on_g = -1;
  l.gradient_step = true;
  l.step = 1e-3;
  std::vector<std::uint8_t> bytes(sizeof(l) * static_cast<std::size_t>(n_));
  for (int i = 0; i < n_; ++i)
    std::memcpy(bytes.data() + sizeof(l) * static_cast<std::size_t>(i), &l, sizeof(l));
  upload<std::uint8_t>(context_, bytes, states_);

  for (int k = 0; k < slot_count; ++k) {
    T* from = noise_.view().device_data() + static_cast<std::size_t>(k) * shift;
    copy<T>(context_, View<const T>(from, flat(stride_)), View<T>(slot(k), flat(stride_)));
  }
  fill<float>(context_, View<float>(dual(0), flat(stride_)), 0.1F);
  fill<float>(context_, View<float>(dual(1), flat(stride_)), 0.1F);
  table().analysis[0].linearise(
      stream(), {model(), active(), n_, slot(slot_x), nullptr, slot(slot_weights), slot(slot_weights + 3)});
}

template <class T>
template <class V>
void Arrays<T>::require_finite(const std::string& name, const V* array) {
  kernel_table<V>(context_).dot(stream(), {active(), image_, array, array, false, row(0)});
  for (const double sum : fetch(context_, View<const double>(row(0), {n_, 1, 1, 1})).wait(context_))
    if (!std::isfinite(sum))
      throw Error(name + ": the arrays hold numbers that are not finite after the repeated launches.");
}

template <class T>
void Arrays<T>::verify(const std::string& name) {
  const View<std::uint8_t> mask(active_.mask(), {n_, 1, 1, 1});
  const auto open = download<std::uint8_t>(context_, mask);
  const auto frozen = std::count(open.begin(), open.end(), 0);
  if (frozen > 0)
    throw Error(name + ": " + std::to_string(frozen) + " of " + std::to_string(n_) +
                " images were frozen while it was timed, so the time is too short.");
  for (const double value : fetch(context_, rows_).wait(context_))
    if (!std::isfinite(value))
      throw Error(name + ": its results per image are not finite after the repeated launches.");
  for (int k = 0; k < slot_dual; ++k) require_finite<T>(name, slot(k));
  for (int k = 0; k < 2; ++k) require_finite<float>(name, dual(k));
}

template <class T>
double Arrays<T>::copy_time(double bytes, double min_time) {
  for (const auto& [size, seconds] : copies_)
    if (size == bytes) return seconds;
  constexpr int half = slot_count / 2;
  const auto count = static_cast<std::size_t>(bytes / (2 * sizeof(T))) / 64 * 64;
  const std::size_t elements = std::min(std::max<std::size_t>(count, 64), half * stride_);
  const View<const T> source(slot(0), flat(elements));
  const View<T> target(slot(half), flat(elements));
  const Timing t = time_launches(context_, min_time, [&] { copy<T>(context_, source, target); });
  const double seconds = t.seconds * bytes / (2.0 * sizeof(T) * static_cast<double>(elements));
  copies_.emplace_back(bytes, seconds);
  return seconds;
}

template class Arrays<float>;
template class Arrays<double>;

}  // namespace bilevel_app::bench
