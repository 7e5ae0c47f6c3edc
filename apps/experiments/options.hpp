#pragma once

#include <iosfwd>
#include <string>
#include <variant>
#include <vector>

#include "apps/common/common_options.hpp"

namespace bilevel_app::experiments {

struct ListOptions {};

struct RunOptions {
  CommonOptions common;  ///< device, threads, seed, quiet, json
  std::vector<std::string> names, data;
  std::string out = "experiments-out";
  bool quick = false;
};

struct ReportOptions {
  std::string folder;
};

/// One command; a text is printed as it is (help, version).
struct Options {
  std::variant<std::string, ListOptions, RunOptions, ReportOptions> command;
};

/// Reads the command line. Throws ConfigError with one sentence.
Options parse(int argc, const char* const* argv);

/// Runs the command and returns its exit code; results go to `out`, progress to `err`.
int run(const Options& options, std::ostream& out, std::ostream& err);

}  // namespace bilevel_app::experiments
