#include "apps/common/common_options.hpp"

#include <fstream>
#include <limits>
#include <sstream>

#include "apps/common/add_option.hpp"
#include "apps/common/exit_codes.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel_app {

using bilevel::ConfigError;
using bilevel::Device;

void add_common_options(CLI::App& command, CommonOptions& options, bool random, bool mixed) {
  const char* group = "Options of every command";
  add_value(command, "--device", options.device, "auto, cpu, cuda or cuda:N [auto]", "NAME")->group(group);
  add_value(command, "--threads", options.threads, "threads of the CPU [all]", "N")->group(group);
  add_value(command, "--precision", options.precision,
            mixed ? "double, float, or mixed: float where the accuracy asked for allows it, certified in "
                    "double [double]"
                  : "double or float [double]",
            "NAME")
      ->group(group);
  if (random)
    add_value(command, "--seed", options.seed, "seed of the random numbers, below 2^64 [0]", "N")
        ->group(group);
  add_value(command, "--config", options.config,
            "file of lines 'name = value' with the names of the long options; "
            "the command line wins",
            "FILE")
      ->group(group);
  command.add_flag("--quiet", options.quiet, "errors only")->group(group);
  command.add_flag("--verbose", options.verbose, "more about the progress, on the error stream")
      ->group(group);
  command.add_flag("--json", options.json, "the result as JSON on the standard output")->group(group);
}

namespace {

/// Without the double empty lines that CLI11 leaves between groups.
std::string tidy(std::string text) {
  for (std::size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
  return text;
}

}  // namespace

ParsedCommand parse_command(CLI::App& program, int argc, const char* const* argv, const std::string& commands,
                            const std::string& example) {
  bool version = false;
  std::vector<CLI::App*> all = program.get_subcommands([](CLI::App*) { return true; });
  all.insert(all.begin(), &program);
  for (CLI::App* a : all) {
    a->set_help_flag("-h,--help", "this text");
    a->add_flag("--version", version, "version of the library, back ends built in, device found");
  }
  program.footer(
      "Exit codes: 0 done, 2 usage, 3 input data, 4 numerical failure, 5 device, 130 interrupted.\n"
      "Example:\n" +
      example);
  const std::string name = program.get_name(), see = " (see " + name + " --help).";
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = program.get_subcommands();
    return {tidy(chosen.empty() ? program.help() : chosen.front()->help(name)), nullptr};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(error.what() + see);
  }
  if (version) return {version_text(), nullptr};
  const auto chosen = program.get_subcommands();
  if (chosen.size() != 1) throw ConfigError("one command is needed: " + commands + see);
  return {"", chosen.front()};
}

bilevel::OptionValue seed_value(std::uint64_t seed) {
  if (seed > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return std::to_string(seed);
  return static_cast<std::int64_t>(seed);
}

namespace {

/// The text of a file in UTF-8 without the byte order mark that some editors put before it.
std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char part[4096];
  while (file.read(part, sizeof part) || file.gcount() > 0)
    text.append(part, static_cast<std::size_t>(file.gcount()));
  if (!file.eof()) throw bilevel::IoError(path, "the configuration file cannot be read.");
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    throw bilevel::IoError(path, "the configuration file is UTF-16; save it as UTF-8.");
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

}  // namespace

void apply_config_file(CLI::App& command, const std::string& path) {
  std::istringstream file(read_text(path));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigINI().from_config(file);
  } catch (const CLI::Error& error) {
    throw ConfigError("configuration file " + path + ": " + sentence(error.what()));
  }
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // section marks
    if (!item.parents.empty() && item.parents.front() != "default" &&
        item.parents.front() != command.get_name()) {
      throw ConfigError("configuration file " + path + ": section [" + item.parents.front() +
                        "] is not for '" + command.get_name() + "'.");
    }
    CLI::Option* option = command.get_option_no_throw("--" + item.name);
    if (option == nullptr || item.name == "config" || item.name == "help" || item.name == "version")
      throw ConfigError("configuration file " + path + ": '" + item.name + "' is no option of '" +
                        command.get_name() + "' (see --help).");
    if (option->count() > 0) continue;
    try {
      if (option->get_items_expected_max() == 0) {
        const std::string value = item.inputs.empty() ? "true" : item.inputs.front();
        if (CLI::detail::to_flag_value(value) == 1) option->add_result("true");
      } else {
        option->add_result(item.inputs.empty() ? std::vector<std::string>{""} : item.inputs);
      }
      if (option->count() > 0) option->run_callback();
    } catch (const std::exception& error) {
      throw ConfigError("configuration file " + path + ": '" + item.name + "': " + sentence(error.what()));
    }
  }
}

void validate(const CommonOptions& o) {
  if (o.threads < 0 || o.threads > 1024)
    throw ConfigError("--threads " + std::to_string(o.threads) + ": use 1 to 1024, or leave it out for all.");
  if (o.precision != "double" && o.precision != "float" && o.precision != "mixed")
    throw ConfigError("--precision " + o.precision + ": unknown; use double, float or mixed.");
  if (o.quiet && o.verbose)
    throw ConfigError("--quiet and --verbose contradict each other; give one of them.");
}

namespace {

Device device_of(const CommonOptions& o) {
  if (o.threads == 0) return Device::open(o.device);
  const std::string threads = std::to_string(o.threads);
  if (o.device.find(':') != std::string::npos && o.device.rfind("cuda", 0) != 0)
    throw ConfigError("--device " + o.device + " names the threads already; leave out --threads " + threads +
                      ".");
  if (o.device == "auto") {
    const Device found = Device::open("auto");
    if (found.kind() == bilevel::DeviceKind::cpu) return Device::open("cpu:" + threads);
  } else if (o.device.rfind("cpu", 0) == 0) {
    return Device::open(o.device + ":" + threads);
  } else {
    static_cast<void>(Device::open(o.device));
  }
  throw ConfigError("--threads " + threads +
                    ": the device is a GPU, which has no threads to set; use --device cpu.");
}

}  // namespace

Device open_device(const CommonOptions& o, const char* program, std::ostream& err) {
  Device device = device_of(o);
  if (!o.verbose) return device;
  err << program << ": device " << device.name() << " (" << device.description() << ")";
  if (!device.fallback().empty()) err << ", because " << device.fallback();
  err << (device.fallback().empty() ? ".\n" : "\n");
  return device;
}

std::string version_text() {
  std::string text = std::string("bilevel ") + BILEVEL_VERSION + "\n";
  try {
    const Device cpu = Device::open("cpu");
    text += "cpu: " + cpu.name() + ", instruction set " + cpu.instruction_set() + "\n";
  } catch (const std::exception& error) {
    text += std::string("cpu: ") + error.what() + "\n";
  }
  try {
    const Device cuda = Device::open("cuda");
    text += "cuda: " + cuda.name() + ", " + cuda.description() + "\n";
  } catch (const std::exception& error) {
    text += std::string("cuda: ") + error.what() + "\n";
  }
  try {
    text += "device auto: " + Device::open("auto").name() + "\n";
  } catch (const std::exception& error) {
    text += std::string("device auto: ") + error.what() + "\n";
  }
  return text;
}

}  // namespace bilevel_app
