#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "kernels/spectrum_args.hpp"
#include "tests/kernels/tv_scales.hpp"

namespace bilevel::testing_support {

using Numbers = std::vector<double>;

/// Launches on one batch of which image 1 is frozen; arrays cross as vectors of double.
template <class T>
class KernelLab {
 public:
  explicit KernelLab(int n, const std::string& device = test_device("cpu-guarded:2"))
      : n_(n), context_(Device::open(device)) {
    std::vector<std::uint8_t> mask;
    std::vector<std::int32_t> index;
    for (int i = 0; i < n; ++i) {
      mask.push_back(frozen(i) ? 0 : 1);
      index.push_back(i);
    }
    mask_ = Tensor<std::uint8_t>(context_, {n, 1, 1, 1}, mask);
    index_ = Tensor<std::int32_t>(context_, {n, 1, 1, 1}, index);
  }

  static bool frozen(int image) { return image == 1; }
  int n() const { return n_; }
  Active active() { return {mask_.view().device_data(), index_.view().device_data(), n_}; }
  const kernels::Stream& stream() { return stream_of(context_); }
  const kernels::Table<T>& table() { return kernel_table<T>(context_); }

  template <class V = T>
  Tensor<V> put(const Numbers& values) {
    return Tensor<V>(context_, {1, 1, 1, static_cast<int>(values.size())},
                     std::vector<V>(values.begin(), values.end()));
  }
  template <class V>
  Numbers get(const Tensor<V>& tensor) {
    const std::vector<V> values = download(context_, tensor);
    return Numbers(values.begin(), values.end());
  }

 private:
  int n_;
  Context context_;
  Tensor<std::uint8_t> mask_;
  Tensor<std::int32_t> index_;
};

template <class V>
V* at(Tensor<V>& tensor) {
  return tensor.view().device_data();
}

/// Part `i` of `parts` equal ones.
inline Numbers part_of(const Numbers& batch, int parts, int i) {
  const auto size = static_cast<std::ptrdiff_t>(batch.size()) / parts;
  return Numbers(batch.begin() + i * size, batch.begin() + (i + 1) * size);
}
/// Entry i of each row of n.
inline Numbers column_of(const Numbers& rows, int n, int i) {
  Numbers out;
  for (std::size_t e = static_cast<std::size_t>(i); e < rows.size(); e += static_cast<std::size_t>(n))
    out.push_back(rows[e]);
  return out;
}

}  // namespace bilevel::testing_support
