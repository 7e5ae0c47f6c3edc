#pragma once

#include <fstream>
#include <iosfwd>
#include <string>
#include <vector>

#include "apps/bench/options.hpp"
#include "apps/bench/timing.hpp"
#include "bilevel/core/device.hpp"

namespace bilevel_app::bench {

/// The device copy of one array to another and the multiply-add loop, in one precision.
struct Limits {
  std::string precision;
  double copy_bytes_per_second, fma_flops_per_second;
};

struct Line {
  std::string kind;  ///< "kernel", "iteration" or "fft"
  std::string name, variant;
  double pixels, bytes, flops;  ///< of one call; flops 0: not stated
  Timing timing;
  double copy_seconds;  ///< of a device copy that moves as many bytes
};

/// Table on `out`, JSON lines in a file. A run is begin(), then per precision limits() and its lines.
class Report {
 public:
  /// Opens the file of --json. Throws IoError.
  Report(std::ostream& out, const std::string& json);

  void begin(const bilevel::Device& device, const Options& options);
  void limits(const Limits& limits);
  void line(const Line& line);
  /// Prints the table of a precision.
  void end_precision();
  /// Throws IoError when the JSON lines could not be written.
  void close();

 private:
  void write(const std::string& json_line);

  std::ostream& out_;
  std::string path_;
  std::ofstream file_;
  Limits limits_{};
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace bilevel_app::bench
