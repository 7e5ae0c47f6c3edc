#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/learn/options.hpp"
#include "apps/learn/task.hpp"
#include "bilevel/core/device.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel_app::learn {

/// Options that decide the result of a run: kept in the model, compared when a run is resumed.
std::vector<bilevel::NamedOption> deciding_options(const TrainOptions& options);

/// Whether a run ended by itself or at a limit.
bool over(const bilevel::UpperReport& report);

/// Writes summary.json and returns its content. `resumed_from`: iteration, -1 for a run from the start.
nlohmann::ordered_json write_summary(const RunFolder& folder, const TrainOptions& options,
                                     const bilevel::Device& device, const Task& task,
                                     const bilevel::UpperReport& report, int resumed_from);

/// A few lines for people.
std::string summary_text(const Task& task, const bilevel::UpperReport& report, const RunFolder& folder);

}  // namespace bilevel_app::learn
