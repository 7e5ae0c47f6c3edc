#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/core/tensor.hpp"
#include "bilevel/model/bilevel_problem.hpp"

namespace bilevel {
inline namespace v0 {

/// A training set of N images in the memory of the host, of which one minibatch I is on the device.
template <class T>
class BILEVEL_API BatchSource {
 public:
  virtual ~BatchSource();
  virtual int images() const = 0;  ///< N, a multiple of |I|
  /// That of the minibatch loaded last, f_I(theta) = 1/|I| sum_{i in I} g_i(xhat_i(theta)) + J(theta); |I|
  /// never changes.
  virtual const BilevelProblem<T>& problem() const = 0;
  /// Puts the data of the images `batch` (|I| of them, all different) where those of the last ones were; what
  /// is bound to problem() stays so. Enqueues uploads: it neither waits nor allocates on the device.
  virtual void load(Context&, std::span<const int> batch) = 0;
  /// Writes where the lower level of an image starts, C H W numbers of the unknown.
  virtual void start(int image, std::span<T> x) const = 0;
};

/// Pairs of data y_i and true images t_i, all of one shape, for the squared error 1/2 |xhat_i - t_i|^2 over
/// the channels of t_i. The lower level starts at y_i, with zeros in further channels of the unknown.
template <class T>
class BILEVEL_API ImageBatches final : public BatchSource<T> {
 public:
  /// The energy of images y [|I|,C,H,W] on the device that stay where they are while their values change; it
  /// must read them at every use and keep nothing of them.
  using MakeEnergy = std::function<std::unique_ptr<Energy<T>>(View<const T> y)>;

  /// `images` [N,C,H,W] is the shape of y and truth. Throws ConfigError unless `batch` = |I| divides N,
  /// ShapeError for arrays of another size, and what BilevelProblem throws.
  ImageBatches(Context& context, const Shape& images, int batch, std::vector<T> y, std::vector<T> truth,
               const MakeEnergy& make_energy, const Parameters& parameters, Penalty penalty = {});

  int images() const override { return shape_.n; }
  const BilevelProblem<T>& problem() const override { return *problem_; }
  void load(Context&, std::span<const int> batch) override;
  void start(int image, std::span<T> x) const override;

 private:
  std::span<const T> image(const std::vector<T>& of, int i) const;

  Shape shape_;
  std::vector<T> y_, truth_, staging_;
  Tensor<T> loaded_y_, loaded_truth_;
  std::unique_ptr<BilevelProblem<T>> problem_;
};

}  // namespace v0
}  // namespace bilevel
