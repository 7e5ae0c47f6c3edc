#pragma once

#include <chrono>
#include <filesystem>
#include <optional>

#include "bilevel/model/model_file.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel {
inline namespace v0 {

/// Saves the state of a run after every iteration, in FOLDER/<iteration, 6 digits>/: state.json (numbers that
/// read back to the same bits), x.bin, adjoints.bin and the arrays of the method (raw, with size and checksum
/// in state.json). A
/// checkpoint is written under a temporary name and renamed, and the last two are kept, so a killed process
/// loses the iteration in progress only. Forcing each to the disk would cost more than a short iteration, so
/// one is every `force_every` seconds, which stays beside the last two, and the last one at the end: a power
/// failure loses that many seconds and the iteration in progress; checksums tell what can be trusted.
class BILEVEL_API Checkpoint final : public Observer {
 public:
  /// `identity`: options and data that decide the result; a run is resumed with the same only.
  /// Throws IoError when the folder cannot be made.
  Checkpoint(std::filesystem::path folder, std::vector<NamedOption> identity, double force_every = 10);

  bool wants_state(const IterationRecord& record) override;
  /// Throws IoError (full disk; a folder that was removed or renamed); earlier checkpoints stay and no part
  /// of the new one does. Throws ConfigError for a number of iterations below 0 or above 999999999, and for
  /// names that a state cannot keep.
  void state(const UpperState& state) override;
  void finished(const UpperReport& report) override;
  /// Number of the last iteration saved, -1 before the first.
  int last() const { return last_; }

  struct Loaded {
    UpperState state;
    std::string note;  ///< one sentence when a newer checkpoint was damaged and skipped, else empty
  };
  /// The newest checkpoint that is whole; nothing when there is none at all. Throws IoError naming those that
  /// are damaged when no whole one is left, ConfigError naming the first difference when `identity` differs.
  static std::optional<Loaded> load_latest(const std::filesystem::path& folder,
                                           const std::vector<NamedOption>& identity);

 private:
  void force(const std::filesystem::path& checkpoint, int iteration);
  void forget_before(int newest) const;

  std::filesystem::path folder_;
  std::vector<NamedOption> identity_;
  std::chrono::duration<double> force_every_;
  std::chrono::steady_clock::time_point forced_at_ = std::chrono::steady_clock::now();
  int last_ = -1, forced_ = -1;  // iterations
};

}  // namespace v0
}  // namespace bilevel
