#pragma once

#include <string>

namespace bilevel_app::bench {

struct Options {
  std::string device = "auto";
  int size = 1024;         ///< side of the images, pixels
  int images = 0;          ///< 0: 16 on a GPU, 1 on the CPU
  bool use_double = true;  ///< --precision
  bool use_float = true;
  double min_time = 0.2;  ///< seconds per line
  std::string json;       ///< file of JSON lines; empty: none
  bool list = false;      ///< the names of the kernels alone
  std::string text;       ///< what --help or --version print; empty: measure
};

/// Throws ConfigError for unknown options and values outside their range.
Options parse(int argc, const char* const* argv);

}  // namespace bilevel_app::bench
