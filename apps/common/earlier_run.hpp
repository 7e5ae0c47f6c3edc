#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/model/named_option.hpp"

namespace bilevel_app {

/// "bilevel-denoise train", "bilevel-mri learn", "bilevel-mri baseline" or "bilevel-learn train": the command
/// whose run a folder holds, told by its model.json, summary.json or checkpoints; empty when none of them
/// tells.
std::string command_of_run(const std::filesystem::path& folder);

/// Whether the folder holds a result that beginning anew would replace: a model or a summary, but those of a
/// run that was interrupted, failed or met a limit before its first iteration was finished.
bool holds_result(const std::filesystem::path& folder);

/// Throws ConfigError naming the option in which `identity` differs from what the result or a checkpoint in
/// `saved`, a folder of `run`, was made with.
void require_same_options(const std::filesystem::path& run, const std::filesystem::path& saved,
                          const std::vector<bilevel::NamedOption>& identity);

/// Throws ConfigError when the folder holds a result. To be called when a run is to be resumed and has no
/// checkpoint to go on from.
void require_no_result(const std::filesystem::path& folder);

}  // namespace bilevel_app
