#pragma once

namespace bilevel::kernels {

enum class Potential : int { charbonnier = 0, huber_c2 = 1 };

}  // namespace bilevel::kernels
