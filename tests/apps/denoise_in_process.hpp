#pragma once

#include "apps/denoise/options.hpp"
#include "tests/apps/in_process.hpp"

namespace bilevel_test {

inline Outcome denoise_here(const std::vector<std::string>& arguments) {
  return in_process("bilevel-denoise", arguments, bilevel_app::denoise::parse, bilevel_app::denoise::run);
}

}  // namespace bilevel_test
