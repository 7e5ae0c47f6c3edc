#include <iostream>

#include "apps/common/exit_codes.hpp"
#include "apps/learn/options.hpp"

int main(int argc, char** argv) {
  return bilevel_app::guarded("bilevel-learn", std::cout, std::cerr, [argc, argv] {
    return bilevel_app::learn::run(bilevel_app::learn::parse(argc, argv), std::cout, std::cerr);
  });
}
