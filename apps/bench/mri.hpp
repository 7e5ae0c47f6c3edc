#pragma once

#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"

namespace bilevel_app::bench {

template <class T>
class Arrays;

/// What the kernels of magnetic resonance need beside the images: weights of 1, so that launches in place can
/// be repeated, and a dual field of complex images.
template <class T>
class Mri {
 public:
  explicit Mri(Arrays<T>& arrays);

  const T* ones() const { return ones_.view().device_data(); }  ///< two images
  float* dual() { return dual_.view().device_data(); }

 private:
  bilevel::Tensor<T> ones_;
  bilevel::Tensor<float> dual_;
};

}  // namespace bilevel_app::bench
