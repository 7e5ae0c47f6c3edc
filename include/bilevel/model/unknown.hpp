#pragma once

#include "bilevel/core/context.hpp"
#include "bilevel/core/tensor.hpp"

namespace bilevel {
inline namespace v0 {

/// A start for minimisers: the images [N,C,H,W] in the first channels of an unknown, zeros in the others, of
/// which total generalised variation has some. Allocates. Throws ShapeError when the images are not of the
/// unknown's number and size, or have more channels.
template <class T>
BILEVEL_API Tensor<T> start_from(Context& context, View<const T> images, const Shape& unknown);

/// Back: the first channels of an unknown. Allocates. Throws ShapeError when it has fewer.
template <class T>
BILEVEL_API Tensor<T> first_channels(Context& context, View<const T> unknown, int channels);

}  // namespace v0
}  // namespace bilevel
