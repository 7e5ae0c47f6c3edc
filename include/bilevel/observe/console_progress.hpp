#pragma once

#include <iosfwd>

#include "bilevel/observe/observer.hpp"

namespace bilevel {
inline namespace v0 {

/// What ends a run besides its tolerance; zero means no limit.
struct ProgressLimits {
  int max_iterations = 0;
  double time_limit = 0;     ///< seconds
  std::uint64_t budget = 0;  ///< operator applications
};

/// Tells a person how a run goes: iteration, loss, |z|, omega, epsilon, PSNR, operator applications and their
/// rate, the time spent and the time until the first limit is reached. Writes to the stream it is given and
/// to nothing else.
///   terminal          one line that is rewritten at every iteration
///   verbose           a lasting line at the first and last iteration and at most once a second between
///   neither           nothing
class BILEVEL_API ConsoleProgress final : public Observer {
 public:
  ConsoleProgress(std::ostream& stream, bool terminal, const ProgressLimits& limits, bool verbose = false);

  bool iteration(const IterationRecord& record) override;
  void finished(const UpperReport& report) override;

  /// The line of a record, without line end; rates and the time left are relative to the first record seen.
  std::string line(const IterationRecord& record) const;

 private:
  /// Seconds until the first limit is reached at the present pace, negative when unknown.
  double seconds_left(const IterationRecord& record) const;
  void rewrite(const std::string& text);

  std::ostream& stream_;
  bool terminal_, verbose_;
  ProgressLimits limits_;
  bool started_ = false;
  int first_iteration_ = 0, printed_iteration_ = -1;
  double first_seconds_ = 0, printed_seconds_ = 0;
  std::uint64_t first_work_ = 0;
  std::size_t width_ = 0;
};

}  // namespace v0
}  // namespace bilevel
