#include <iostream>

#include "apps/bench/run.hpp"
#include "apps/common/exit_codes.hpp"

int main(int argc, char** argv) {
  return bilevel_app::guarded("bilevel-bench", std::cout, std::cerr, [argc, argv] {
    const bilevel_app::bench::Options options = bilevel_app::bench::parse(argc, argv);
    if (options.text.empty()) return bilevel_app::bench::run(options, std::cout);
    std::cout << options.text;
    return static_cast<int>(bilevel_app::exit_ok);
  });
}
