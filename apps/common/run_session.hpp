#pragma once

#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/common_options.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/run_folder.hpp"
#include "apps/common/upper_options.hpp"
#include "bilevel/observe/checkpoint.hpp"
#include "bilevel/observe/console_progress.hpp"
#include "bilevel/observe/jsonl_log.hpp"

namespace bilevel_app {

/// What runs of one stage share: checkpoints to go on from, observers, and how their end is told.

/// With --resume the latest checkpoint; nothing for a run from the start. Notes go to `note`. Throws
/// ConfigError naming an option that differs from those of the run, and for a run that is done and has no
/// checkpoint.
std::optional<bilevel::Checkpoint::Loaded> checkpoint_to_resume(
    const RunFolder& folder, bool resume, const std::vector<bilevel::NamedOption>& identity,
    const std::function<void(const std::string&)>& note);

/// log.jsonl, checkpoint/, the progress on a terminal, interrupts, and a watch on the folder.
class RunObservers {
 public:
  /// `from`: the state that the run goes on from; null: it begins.
  RunObservers(RunFolder& folder, const bilevel::Parameters& parameters,
               const std::vector<bilevel::NamedOption>& identity, const bilevel::UpperState* from,
               const CommonOptions& common, const bilevel::UpperOptions& upper, std::ostream& err,
               bilevel::JsonlLog::TestPsnr test_psnr = {});
  bilevel::Observer& all() { return all_; }
  /// Whether a finished iteration is in checkpoint/.
  bool saved() const { return resumed_ || checkpoint_.last() >= 0; }

 private:
  bool resumed_;
  RunFolderWatch watch_;
  bilevel::JsonlLog log_;
  bilevel::Checkpoint checkpoint_;
  RunFolderKeeper keeper_;
  bilevel::ConsoleProgress progress_;
  InterruptObserver interrupt_;
  bilevel::ObserverList all_;
};

/// Prints the summary as JSON or the message and `text`, and on `err` what went wrong; returns `code`.
int tell_end(const std::string& program, int code, const std::string& message,
             const nlohmann::ordered_json& summary, const std::string& text, const CommonOptions& common,
             bool saved, std::ostream& out, std::ostream& err);

}  // namespace bilevel_app
