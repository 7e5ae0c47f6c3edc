#include <iostream>

#include "apps/common/exit_codes.hpp"
#include "apps/mri/options.hpp"

int main(int argc, char** argv) {
  return bilevel_app::guarded("bilevel-mri", std::cout, std::cerr, [argc, argv] {
    return bilevel_app::mri::run(bilevel_app::mri::parse(argc, argv), std::cout, std::cerr);
  });
}
