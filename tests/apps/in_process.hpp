#pragma once

#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {

/// A command of a program in this process.
template <class Parse, class Run>
Outcome called(const char* program, const std::vector<std::string>& arguments, Parse parse, Run run) {
  std::vector<const char*> argv{program};
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  std::ostringstream out, err;
  const int code = bilevel_app::guarded(
      program, out, err, [&] { return run(parse(static_cast<int>(argv.size()), argv.data()), out, err); });
  return {code, out.str(), err.str()};
}
/// On the CPU with one thread, or on the device of the tests.
template <class Parse, class Run>
Outcome in_process(const char* program, const std::vector<std::string>& arguments, Parse parse, Run run) {
  return called(program, on_device_or_one_thread(arguments), parse, run);
}

}  // namespace bilevel_test
