#pragma once

#include <cstdint>
#include <vector>

#include "bilevel/core/scalars.hpp"

namespace bilevel::testing_support {

/// The listed images whose mask is set, of a batch of `n`, in the order of the list. Two downloads.
inline std::vector<int> active_images(Context& context, const Active& active, int n) {
  const auto index =
      download<std::int32_t>(context, View<const std::int32_t>(active.index, {active.count, 1, 1, 1}));
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(n), 1);
  if (active.mask != nullptr)
    mask = download<std::uint8_t>(context, View<const std::uint8_t>(active.mask, {n, 1, 1, 1}));
  std::vector<int> images;
  for (const std::int32_t image : index)
    if (mask[static_cast<std::size_t>(image)] != 0) images.push_back(image);
  return images;
}

}  // namespace bilevel::testing_support
