#pragma once

#include "bilevel/ops/wavelet.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/inverse_diagonal += an estimate of the diagonal of W^T diag(m) W, m >= 0 being there as 1/m
/// [n][c][h][w], infinite where m is 0: sum_j m_j times the squares of the taps that lead to pixel p from
/// coefficient j, level by level, for the squares (W_jp)^2. They are the same for one level and for Haar's
/// wavelet, where the paths from a coefficient to a pixel do not meet; sum_p is m_j for all. One launch a
/// level.
template <class T>
void add_diagonal(Context&, const Active&, const Wavelet<T>& w, const T* reciprocal, T* inverse_diagonal);

}  // namespace v0
}  // namespace bilevel
