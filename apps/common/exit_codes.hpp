#pragma once

#include <functional>
#include <iosfwd>
#include <string>

namespace bilevel_app {

/// What the commands return.
enum ExitCode {
  exit_ok = 0,
  exit_usage = 2,
  exit_data = 3,
  exit_numerical = 4,
  exit_device = 5,
  exit_interrupted = 130
};

/// `text` as one line that ends with a full stop.
std::string sentence(std::string text);

/// Runs `body` and returns its exit code. What it throws becomes one sentence "PROGRAM: ..." on `err` and a
/// code: ConfigError 2, IoError, ShapeError and what the file system reports 3, DeviceError and exhausted
/// memory, threads or other means of the system 5, everything else 4. A result that cannot be written to
/// `out` is an error too (3).
int guarded(const std::string& program, std::ostream& out, std::ostream& err,
            const std::function<int()>& body);

}  // namespace bilevel_app
