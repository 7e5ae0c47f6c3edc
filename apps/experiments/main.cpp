#include <iostream>

#include "apps/common/exit_codes.hpp"
#include "apps/experiments/options.hpp"

int main(int argc, char** argv) {
  return bilevel_app::guarded("bilevel-experiments", std::cout, std::cerr, [argc, argv] {
    return bilevel_app::experiments::run(bilevel_app::experiments::parse(argc, argv), std::cout, std::cerr);
  });
}
