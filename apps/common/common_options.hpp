#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "bilevel/core/device.hpp"
#include "bilevel/model/model_file.hpp"

namespace CLI {
class App;
}

namespace bilevel_app {

/// Options that mean the same in every command.
struct CommonOptions {
  std::string device = "auto";
  int threads = 0;  ///< 0: the device's choice
  std::string precision = "double";
  std::uint64_t seed = 0;
  std::string config;
  bool quiet = false, verbose = false, json = false;
};

/// Adds --device, --threads, --precision (with `mixed` or without), --config, --quiet, --verbose, --json and,
/// where random numbers are used, --seed.
void add_common_options(CLI::App& command, CommonOptions& options, bool random, bool mixed = true);

/// What a command line asks for: a text (help, version), or one of the commands.
struct ParsedCommand {
  std::string text;
  CLI::App* command = nullptr;
};
/// Adds --help and --version to a program and its commands and reads the command line. `commands` names them
/// ("train or apply"), `example` ends the help of the program. Throws ConfigError with one sentence.
ParsedCommand parse_command(CLI::App& program, int argc, const char* const* argv, const std::string& commands,
                            const std::string& example);

/// A seed as models and checkpoints keep it: a number, or its digits above 2^63 - 1.
bilevel::OptionValue seed_value(std::uint64_t seed);

/// Sets what the file of --config says and the command line does not: lines "name = value" with the names of
/// the long options, optionally below [command]; UTF-8, with or without a byte order mark. Throws IoError for
/// a file that cannot be read, ConfigError naming the file and an unknown or ill-typed option.
void apply_config_file(CLI::App& command, const std::string& path);

/// Throws ConfigError for values outside their range and for precisions this version does not have.
void validate(const CommonOptions& options);

/// Opens --device with --threads. With --verbose says on `err` which device it is, and why not a GPU. Throws
/// ConfigError for threads on a GPU, DeviceError as Device::open does.
bilevel::Device open_device(const CommonOptions& options, const char* program, std::ostream& err);

/// "bilevel 0.1.0", the back ends built in and the device found, one per line.
std::string version_text();

}  // namespace bilevel_app
