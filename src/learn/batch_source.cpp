#include "bilevel/learn/batch_source.hpp"

#include <algorithm>
#include <utility>

#include "bilevel/core/error.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

Shape batch_shape(const Shape& images, int batch) {
  if (batch < 1 || images.n < 1 || images.n % batch != 0)
    throw ConfigError("minibatches of " + std::to_string(batch) + " do not divide " +
                      std::to_string(images.n) + " images; use a divisor of their number.");
  return {batch, images.c, images.h, images.w};
}

}  // namespace

template <class T>
BatchSource<T>::~BatchSource() = default;
template class BILEVEL_API BatchSource<float>;
template class BILEVEL_API BatchSource<double>;

template <class T>
ImageBatches<T>::ImageBatches(Context& context, const Shape& images, int batch, std::vector<T> y,
                              std::vector<T> truth, const MakeEnergy& make_energy,
                              const Parameters& parameters, Penalty penalty)
    : shape_(images),
      y_(std::move(y)),
      truth_(std::move(truth)),
      loaded_y_(context, batch_shape(images, batch)),
      loaded_truth_(context, batch_shape(images, batch)) {
  require_count(images.count(), y_.size(), "minibatches (data)");
  require_count(images.count(), truth_.size(), "minibatches (true images)");
  std::vector<int> first(static_cast<std::size_t>(batch));
  for (int i = 0; i < batch; ++i) first[static_cast<std::size_t>(i)] = i;
  load(context, first);
  problem_ = std::make_unique<BilevelProblem<T>>(make_energy(std::as_const(loaded_y_).view()),
                                                 std::as_const(loaded_truth_).view(), parameters,
                                                 std::move(penalty));
}

template <class T>
void ImageBatches<T>::load(Context& context, std::span<const int> batch) {
  require_count(static_cast<std::size_t>(loaded_y_.shape().n), batch.size(), "minibatch (images)");
  const auto upload_to = [&](Tensor<T>& loaded, const std::vector<T>& of) {
    staging_.clear();
    for (const int i : batch) {
      const std::span<const T> values = image(of, i);
      staging_.insert(staging_.end(), values.begin(), values.end());
    }
    loaded.upload(context, staging_);
  };
  upload_to(loaded_y_, y_);
  upload_to(loaded_truth_, truth_);
}

template <class T>
void ImageBatches<T>::start(int i, std::span<T> x) const {
  require_count(problem_->energy().shape().image(), x.size(), "start of an image");
  const std::span<const T> y = image(y_, i);
  std::fill(std::copy(y.begin(), y.end(), x.begin()), x.end(), T(0));
}

template <class T>
std::span<const T> ImageBatches<T>::image(const std::vector<T>& of, int i) const {
  if (i < 0 || i >= shape_.n)
    throw ShapeError("image " + std::to_string(i) + " of " + std::to_string(shape_.n) + " is asked for.");
  return std::span(of).subspan(static_cast<std::size_t>(i) * shape_.image(), shape_.image());
}

template class BILEVEL_API ImageBatches<float>;
template class BILEVEL_API ImageBatches<double>;

}  // namespace v0
}  // namespace bilevel
