#include "apps/bench/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel_app::bench {
namespace {

using bilevel::ConfigError;

void validate(const Options& o, const std::string& precision, bool images_given) {
  if (o.size < 4 || o.size > 16384)
    throw ConfigError("--size " + std::to_string(o.size) + ": use 4 to 16384 pixels.");
  if (images_given && (o.images < 1 || o.images > 4096))
    throw ConfigError("--images " + std::to_string(o.images) + ": use 1 to 4096.");
  if (std::int64_t{o.size} * o.size * std::max(o.images, 1) > std::int64_t{1} << 33)
    throw ConfigError("--images " + std::to_string(o.images) +
                      ": more than 2^33 pixels; use fewer or smaller.");
  if (precision != "double" && precision != "float" && precision != "both")
    throw ConfigError("--precision " + precision + ": unknown; use double, float or both.");
  if (!(o.min_time >= 0) || o.min_time > 60) throw ConfigError("--min-time: use 0 to 60 seconds.");
}

}  // namespace

Options parse(int argc, const char* const* argv) {
  CLI::App app(
      "Times every kernel of the library on one device, beside a device copy and a multiply-add loop of the "
      "same run.",
      "bilevel-bench");
  Options o;
  std::string precision = "both";
  bool version = false;
  app.set_help_flag("-h,--help", "this text");
  app.add_flag("--version", version, "version of the library");
  app.add_option("--device", o.device, "auto, cpu, cpu:THREADS, cuda or cuda:N [auto]")->type_name("NAME");
  app.add_option("--size", o.size, "side of the images in pixels [1024]")->type_name("N");
  CLI::Option* images =
      app.add_option("--images", o.images, "images of the batch [16 on a GPU, 1 on the CPU]")->type_name("N");
  app.add_option("--precision", precision, "double, float or both [both]")->type_name("NAME");
  app.add_option("--min-time", o.min_time, "time of each measurement in seconds, at least [0.2]")
      ->type_name("SECONDS");
  app.add_option("--json", o.json, "also writes the results to this file, one JSON object per line")
      ->type_name("FILE");
  app.add_flag("--list", o.list, "prints the names of the kernels and ends");
  app.footer(
      "Columns: launches of one call; B/px and MB, the bytes that it must move, per pixel and in all; us, "
      "the\n"
      "median time over batches of calls with one wait each; GB/s and copy, its ratio to a device copy that\n"
      "moves as many bytes; GFLOP/s and fma, its ratio to the multiply-add loop, where the flops are "
      "stated.\n"
      "Exit codes: 0 done, 2 usage, 3 file, 4 a measurement that went wrong, 5 device.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    o.text = app.help();
    return o;
  } catch (const CLI::ParseError& error) {
    throw ConfigError(std::string(error.what()) + " (see bilevel-bench --help).");
  }
  if (version) o.text = std::string("bilevel ") + BILEVEL_VERSION + "\n";
  validate(o, precision, images->count() > 0);
  o.use_double = precision != "float";
  o.use_float = precision != "double";
  return o;
}

}  // namespace bilevel_app::bench
