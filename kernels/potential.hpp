#pragma once

namespace bilevel::kernels {

enum class Potential : int { charbonnier = 0, huber_c2 = 1, quadratic = 2 };

}  // namespace bilevel::kernels
