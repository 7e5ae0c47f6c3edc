#pragma once

#include "apps/mri/options.hpp"
#include "tests/apps/in_process.hpp"
#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {

inline Outcome mri_here(const std::vector<std::string>& arguments) {
  return in_process("bilevel-mri", arguments, bilevel_app::mri::parse, bilevel_app::mri::run);
}

}  // namespace bilevel_test
