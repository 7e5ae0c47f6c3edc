#pragma once

#include <span>

#include "bilevel/io/image_file.hpp"

namespace bilevel_app {

/// Small arrays [count][height][width] with signs as pictures beside each other, enlarged to some 56 pixels:
/// zero is grey, the largest magnitude of each is near white or black as its sign says, gaps are white.
bilevel::HostImage tile_image(int count, int height, int width, std::span<const double> values);

}  // namespace bilevel_app
