#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/mri/options.hpp"
#include "apps/mri/staged_run.hpp"
#include "bilevel/io/image_file.hpp"

namespace bilevel_app::mri {

/// A pattern before it was made binary, with the weight that was learned with it.
struct Relaxed {
  bilevel::SamplingPattern pattern;
  bilevel::Parameters parameters;
  std::vector<double> theta;
};

/// What `learn` and `baseline` share: the run folder, data, stages that tune alpha, and the files of the
/// result.
class TrainingRun {
 public:
  /// `deciding`: options of the command that decide the result. Opens the folder and loads the data; throws
  /// before anything is written when an option or a file is wrong.
  TrainingRun(const TrainingOptions& options, const std::string& command,
              std::vector<bilevel::NamedOption> deciding, std::ostream& out, std::ostream& err);

  const MriData& data() const { return data_; }
  const bilevel::Device& device() const { return device_; }
  const RunFolder& folder() const { return folder_; }
  const std::vector<bilevel::NamedOption>& identity() const { return identity_; }
  const bilevel::RegulariserSum& regulariser() const { return regulariser_; }
  Solver solver() const;
  StagedRun& stages() { return stages_; }
  void note(const std::string& text) const;

  /// A model with everything but the pattern from the options.
  MriModel model(bilevel::PatternKind kind, int spokes, std::vector<double> s) const;
  /// Learns the weights of the model with its pattern fixed, puts them there, and says whether that ended as
  /// it should.
  StageResult tune_weight(const std::string& name, const std::string& task, MriModel& model);

  /// The interrupted or failed run: summary and log only.
  int conclude_early(const StageResult& stage);
  /// Writes all files and tells the user. `main`: the stage whose status is that of the run; `extra`: more
  /// for the summary; `work` and `seconds`: outside of stages. After a signal only what is certain, as
  /// conclude_early().
  int conclude(const MriModel& model, const std::optional<Relaxed>& relaxed, const StageResult& main,
               const nlohmann::ordered_json& extra, const bilevel::Work& work = {}, double seconds = 0);

 private:
  nlohmann::ordered_json summary(const StageResult& main, const bilevel::Work& work, double seconds) const;
  int finish(const nlohmann::ordered_json& summary, const std::string& text, const StageResult& main);

  const TrainingOptions& options_;
  std::string command_;
  std::ostream &out_, &err_;
  bilevel::Device device_;
  RunFolder folder_;
  MriData data_;
  std::optional<MriData> test_;
  bilevel::HostImage reference_;  ///< of directional total variation, else empty
  bilevel::RegulariserSum regulariser_;
  std::vector<bilevel::NamedOption> identity_;
  StagedRun stages_;
  std::vector<std::string> bound_notes_;  ///< of the weights that were tuned last
};

/// Whether learning cannot go on after a stage.
bool stops_run(const StageResult& stage);

}  // namespace bilevel_app::mri
