#include "bilevel/observe/console_progress.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <ostream>

namespace bilevel {
inline namespace v0 {
namespace {

[[gnu::format(printf, 1, 2)]] std::string print(const char* format, ...) {
  std::array<char, 200> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return text.data();
}

/// 9.5s, 2:05, 1:02:03.
std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 60) return print("%.1fs", seconds);
  const auto s = static_cast<long long>(std::llround(std::min(seconds, 1e9)));
  if (s < 3600) return print("%lld:%02lld", s / 60, s % 60);
  return print("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

/// 950, 12.3k, 4.56M.
std::string amount(double count) {
  if (count < 1e4) return print("%.0f", count);
  if (count < 1e6) return print("%.1fk", count / 1e3);
  return print("%.2fM", count / 1e6);
}

}  // namespace

ConsoleProgress::ConsoleProgress(std::ostream& stream, bool terminal, const ProgressLimits& limits,
                                 bool verbose)
    : stream_(stream), terminal_(terminal), verbose_(verbose), limits_(limits) {}

double ConsoleProgress::seconds_left(const IterationRecord& record) const {
  const double seconds = record.seconds - first_seconds_;
  double left = -1;
  const auto limit = [&left](double candidate) {
    if (candidate >= 0 && std::isfinite(candidate) && (left < 0 || candidate < left)) left = candidate;
  };
  const int done = record.iteration + 1, iterations = done - first_iteration_;
  if (limits_.max_iterations > 0 && iterations > 0)
    limit(std::max(0, limits_.max_iterations - done) * seconds / iterations);
  if (limits_.time_limit > 0) limit(std::max(0.0, limits_.time_limit - record.seconds));
  const std::uint64_t work = record.work.total();
  if (limits_.budget > 0 && work > first_work_) {
    const double remaining = work < limits_.budget ? static_cast<double>(limits_.budget - work) : 0.0;
    limit(remaining * seconds / static_cast<double>(work - first_work_));
  }
  return left;
}

std::string ConsoleProgress::line(const IterationRecord& record) const {
  std::string text = print("iteration %d", record.iteration);
  if (limits_.max_iterations > 0) text += print("/%d", limits_.max_iterations);
  text += print("  loss %.6g  |z| %.2e  omega %.1e  epsilon %.1e", record.loss, record.gradient_norm,
                record.error_bound, record.epsilon);
  if (std::isfinite(record.psnr)) text += print("  PSNR %.2f dB", record.psnr);
  const auto work = record.work.total();
  text += "  operators " + amount(static_cast<double>(work));
  const double seconds = record.seconds - first_seconds_;
  const bool whole_run = first_seconds_ == 0 && first_work_ == 0;
  if (seconds > 0 && (work > first_work_ || whole_run))
    text += " (" + amount(static_cast<double>(work - first_work_) / seconds) + "/s)";
  text += "  " + duration(record.seconds);
  if (const double left = seconds_left(record); left >= 0) text += ", at most " + duration(left) + " left";
  return text;
}

void ConsoleProgress::rewrite(const std::string& text) {
  const std::size_t blanks = width_ > text.size() ? width_ - text.size() : 0;
  stream_ << '\r' << text << std::string(blanks, ' ') << std::flush;
  width_ = text.size();
}

bool ConsoleProgress::iteration(const IterationRecord& record) {
  const bool first = !started_;
  if (first && record.iteration > 0) {  // a resumed run: its pace is that of this process
    first_iteration_ = record.iteration + 1;
    first_seconds_ = record.seconds;
    first_work_ = record.work.total();
  }
  started_ = true;
  if (verbose_) {
    if (first || record.seconds - printed_seconds_ >= 1.0) {
      stream_ << line(record) << '\n' << std::flush;
      printed_seconds_ = record.seconds;
      printed_iteration_ = record.iteration;
    }
  } else if (terminal_) {
    rewrite(line(record));
  }
  return true;
}

void ConsoleProgress::finished(const UpperReport& report) {
  if (verbose_) {
    if (started_ && report.last.iteration != printed_iteration_)
      stream_ << line(report.last) << '\n' << std::flush;
  } else if (terminal_ && started_) {
    stream_ << '\n' << std::flush;
  }
}

}  // namespace v0
}  // namespace bilevel
