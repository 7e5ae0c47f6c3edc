#pragma once

#include <span>
#include <string>
#include <vector>

#include "bilevel/io/image_file.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel_app::denoise {

/// Filters c_k as the energy uses them, in the order of falling b_k |c_k|_2 (the weight of the filter at norm
/// 1): it does not change when c_k and nu_k are multiplied and b_k divided by the same number, nor does the
/// energy.
struct RankedFilters {
  int count = 0, size = 0;
  std::vector<std::size_t> number;  ///< of the filter at each rank
  std::vector<double> strength;     ///< b_k |c_k|_2 at each rank
  std::vector<double> taps;         ///< [rank][size][size]
};

/// Of a field of experts at theta; `zero_mean`: the mean of each filter is subtracted; `prefix`: what the
/// names of its parameters begin with.
RankedFilters ranked_filters(const bilevel::Parameters& parameters, std::span<const double> theta,
                             bool zero_mean, const std::string& prefix = {});

/// Tiles in rows, first rank at the upper left, every tap a square of pixels. Grey is zero; each tile has a
/// contrast of its own, its largest tap being light: c_k and -c_k, which give the same energy, look the same.
bilevel::HostImage filters_image(const RankedFilters& filters);

}  // namespace bilevel_app::denoise
