#include "apps/bench/report.hpp"

#include <ctime>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel_app::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return format("%04d-%02d-%02d %02d:%02d UTC", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                utc.tm_min);
}

std::string ratio(double value) { return format("%.2f", value); }

}  // namespace

Report::Report(std::ostream& out, const std::string& json) : out_(out), path_(json) {
  if (json.empty()) return;
  file_.open(json);
  if (!file_) throw bilevel::IoError(json, "the file of --json cannot be written; name another one.");
}

void Report::write(const std::string& json_line) {
  if (!path_.empty()) file_ << json_line << std::endl;
}

void Report::begin(const bilevel::Device& device, const Options& o) {
  const std::string precision =
      o.use_double && o.use_float ? "double and float" : (o.use_double ? "double" : "float");
  const std::string date = now();
  out_ << "bilevel " << BILEVEL_VERSION << ", " << date << "\n"
       << "device " << device.name() << ": " << device.description() << "\n";
  if (!device.fallback().empty()) out_ << "  (no GPU: " << device.fallback() << ")\n";
  out_ << "batch " << o.images << (o.images == 1 ? " image " : " images ") << o.size << "x" << o.size << ", "
       << precision << ", at least " << format("%g", o.min_time) << " s per line\n";
  write(Json{{"kind", "run"},
             {"version", BILEVEL_VERSION},
             {"date", date},
             {"device", device.name()},
             {"description", device.description()},
             {"instruction_set", device.instruction_set()},
             {"size", o.size},
             {"images", o.images},
             {"precision", precision},
             {"min_time", o.min_time}}
            .dump());
}

void Report::limits(const Limits& limits) {
  limits_ = limits;
  out_ << "\n"
       << limits.precision << ": device copy "
       << format("%.1f GB/s, multiply-adds %.1f GFLOP/s", limits.copy_bytes_per_second * 1e-9,
                 limits.fma_flops_per_second * 1e-9)
       << "\n\n"
       << std::flush;
  write(Json{{"kind", "limits"},
             {"precision", limits.precision},
             {"copy_bytes_per_second", limits.copy_bytes_per_second},
             {"fma_flops_per_second", limits.fma_flops_per_second}}
            .dump());
  rows_ = {{"kernel", "launches", "B/px", "MB", "us", "GB/s", "copy", "GFLOP/s", "fma"}};
}

void Report::line(const Line& l) {
  const double seconds = l.timing.seconds, rate = l.bytes / seconds;
  const double flop_rate = l.flops / seconds;
  rows_.push_back({l.name + (l.variant.empty() ? "" : " " + l.variant), std::to_string(l.timing.launches),
                   format("%.0f", l.bytes / l.pixels), format("%.2f", l.bytes * 1e-6),
                   format("%.1f", seconds * 1e6), format("%.1f", rate * 1e-9),
                   ratio(l.copy_seconds / seconds), l.flops > 0 ? format("%.1f", flop_rate * 1e-9) : "",
                   l.flops > 0 ? ratio(flop_rate / limits_.fma_flops_per_second) : ""});
  Json json{{"kind", l.kind},
            {"name", l.name},
            {"variant", l.variant},
            {"precision", limits_.precision},
            {"launches", l.timing.launches},
            {"pixels", l.pixels},
            {"bytes", l.bytes},
            {"seconds", seconds},
            {"batch", l.timing.batch},
            {"repetitions", l.timing.repetitions},
            {"bytes_per_second", rate},
            {"copy_seconds", l.copy_seconds},
            {"copy_ratio", l.copy_seconds / seconds}};
  if (l.flops > 0) {
    json["flops"] = l.flops;
    json["flops_per_second"] = flop_rate;
    json["fma_ratio"] = flop_rate / limits_.fma_flops_per_second;
  }
  write(json.dump());
}

void Report::end_precision() {
  out_ << table(rows_) << std::flush;
  rows_.clear();
}

void Report::close() {
  if (path_.empty()) return;
  file_.close();
  if (!file_) throw bilevel::IoError(path_, "the results could not be written completely; free some space.");
}

}  // namespace bilevel_app::bench
