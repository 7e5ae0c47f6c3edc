#pragma once

#include <type_traits>

#include "bilevel/core/shape.hpp"

namespace bilevel {
inline namespace v0 {

/// A contiguous array on a device, passed by value. It does not own its memory and host code cannot
/// dereference it; `device_data()` is for kernels and device libraries.
template <class T>
class View {
 public:
  View() = default;
  View(T* data, Shape shape) : data_(data), shape_(shape) {}
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) View(const View<U>& other)
      : data_(other.device_data()), shape_(other.shape()) {}  // NOLINT: conversion to const

  T* device_data() const { return data_; }
  const Shape& shape() const { return shape_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  T* data_ = nullptr;
  Shape shape_{0, 0, 0, 0};
};

}  // namespace v0
}  // namespace bilevel
