#pragma once

#include <string>

namespace bilevel_app {

// What help says of all regularisers.

/// Those without a potential to choose: "h1 and tikhonov".
std::string quadratic_names();
/// First weights: "alpha=0.05 (tv2 0.02, ...)", those that differ from the first one's in brackets.
std::string first_weights();

}  // namespace bilevel_app
