#pragma once

#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "apps/mri/options.hpp"
#include "tests/apps/mri_test_support.hpp"

namespace bilevel_test {

/// A command of bilevel-mri in this process, on the CPU with one thread or the device of the tests.
inline Outcome mri_here(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = on_device_or_one_thread(arguments);
  all.insert(all.begin(), "bilevel-mri");
  std::vector<const char*> argv;
  for (const std::string& a : all) argv.push_back(a.c_str());
  std::ostringstream out, err;
  const int code = bilevel_app::guarded("bilevel-mri", out, err, [&] {
    return bilevel_app::mri::run(bilevel_app::mri::parse(static_cast<int>(argv.size()), argv.data()), out,
                                 err);
  });
  return {code, out.str(), err.str()};
}

}  // namespace bilevel_test
