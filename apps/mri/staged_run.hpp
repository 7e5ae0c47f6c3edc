#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "apps/common/common_options.hpp"
#include "apps/common/method_options.hpp"
#include "apps/common/run_folder.hpp"
#include "apps/common/upper_options.hpp"
#include "apps/mri/problem.hpp"
#include "bilevel/core/device.hpp"
#include "bilevel/learn/pattern_exchange.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel_app::mri {

/// One bilevel problem of a run: what is learned under which penalty, from where.
struct Stage {
  std::string name;  ///< in the log, and of its folder below checkpoint/
  std::string task;  ///< for the user
  bilevel::SamplingPattern pattern;
  bilevel::Parameters parameters;
  std::vector<double> theta0;
  bilevel::Penalty penalty = {};
  MethodOptions method = {.name = "maid"};  ///< also exchange, of the samples of a pattern
  bilevel::UpperOptions upper = {};
  bilevel::ExchangeOptions exchange = {};
};

/// What a stage came to; kept in its folder, so that a resumed run need not repeat it.
struct StageResult {
  std::string name;
  bilevel::UpperStatus status = bilevel::UpperStatus::stationary;
  std::string message;
  std::vector<double> theta;
  double loss = 0, loss_lower = 0, loss_upper = 0;
  double gradient_norm = 0, error_bound = 0;
  int iterations = 0;
  bilevel::Work work;
  double seconds = 0;
};

/// Whether a stage may be called so: weight, pattern, exchange or binary, also with a number as pattern-2.
bool is_stage_name(const std::string& name);

/// Bilevel problems solved one after the other with one log and checkpoints of each. A run that was cut short
/// is taken up in the stage it had reached; a stage that a limit ended goes on when the limit has been
/// raised, and what followed it is done anew.
class StagedRun {
 public:
  /// `identity`: options and data that decide the result. Throws ConfigError when the folder holds what was
  /// saved with another one and is to be resumed.
  StagedRun(RunFolder& folder, const CommonOptions& common, bool resume,
            std::vector<bilevel::NamedOption> identity, const bilevel::Device& device, const MriData& data,
            const bilevel::RegulariserSum& regulariser, std::ostream& err);

  /// Runs the stage, or takes its result from the folder. A result with the status interrupted is not kept.
  /// Throws ConfigError when the folder holds a result but not the checkpoints of its first stage.
  StageResult run(const Stage& stage);

  const std::vector<StageResult>& results() const { return results_; }
  const bilevel::Work& work() const { return work_; }
  double seconds() const { return seconds_; }
  int iterations() const { return iterations_; }
  bool resumed() const { return resumed_; }  ///< something was taken from the folder
  bool saved() const { return saved_; }      ///< something of this run is in the folder

 private:
  StageResult optimise(const Stage& stage, const std::filesystem::path& folder);
  void forget_what_followed();
  void note(const std::string& text) const;
  void add(const StageResult& result);

  RunFolder& folder_;
  const CommonOptions& common_;
  std::vector<bilevel::NamedOption> identity_;
  const bilevel::Device& device_;
  const MriData& data_;
  bilevel::RegulariserSum regulariser_;
  std::ostream& err_;
  std::vector<StageResult> results_;
  bilevel::Work work_;
  double seconds_ = 0;
  int iterations_ = 0, lines_ = 0;  ///< lines_: of the log
  bool resume_, resumed_ = false, saved_ = false;
};

}  // namespace bilevel_app::mri
