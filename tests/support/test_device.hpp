#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace bilevel::testing_support {

/// The device tests run on: environment BILEVEL_TEST_DEVICE if set and not empty, else `fallback`.
/// Tests about the CPU itself (threads, instruction sets, guarded memory) open theirs by name.
inline std::string test_device(const std::string& fallback) {
  const char* name = std::getenv("BILEVEL_TEST_DEVICE");
  return name != nullptr && *name != '\0' ? name : fallback;
}

/// BILEVEL_TEST_DEVICE names a CUDA device.
inline bool on_cuda() { return test_device("cpu").rfind("cuda", 0) == 0; }

/// Devices on which a result must have the bits of a first run on test_device(): `cpu`, or the device of
/// BILEVEL_TEST_DEVICE alone, for a second run.
inline std::vector<std::string> repeat_devices(const std::vector<std::string>& cpu) {
  return test_device("").empty() ? cpu : std::vector<std::string>{test_device("")};
}

/// Number of random trials: `full`, or an eighth of it on CUDA, whose emulator is 20 to 200 times slower.
inline int repetitions(int full) { return on_cuda() ? std::max(1, full / 8) : full; }

/// Kernel bodies, values of BILEVEL_CPU_OVERRIDES: hand-tuned where there are any, or all generic. On CUDA
/// the shape of the images chooses.
inline std::vector<const char*> override_choices() {
  return on_cuda() ? std::vector<const char*>{"on"} : std::vector<const char*>{"on", "off"};
}

}  // namespace bilevel::testing_support
