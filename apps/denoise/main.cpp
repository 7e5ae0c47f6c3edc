#include <iostream>

#include "apps/common/exit_codes.hpp"
#include "apps/denoise/options.hpp"

int main(int argc, char** argv) {
  return bilevel_app::guarded("bilevel-denoise", std::cout, std::cerr, [argc, argv] {
    return bilevel_app::denoise::run(bilevel_app::denoise::parse(argc, argv), std::cout, std::cerr);
  });
}
