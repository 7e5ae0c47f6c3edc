#pragma once

#include <iosfwd>

#include "apps/bench/options.hpp"

namespace bilevel_app::bench {

/// Measures and reports; returns the exit code.
int run(Options options, std::ostream& out);

}  // namespace bilevel_app::bench
