#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/common/run_folder.hpp"
#include "apps/learn/options.hpp"
#include "bilevel/core/context.hpp"
#include "bilevel/model/named_option.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel_app::learn {

/// Names and what is said of them, a line for people each.
using Lines = std::vector<std::pair<std::string, std::string>>;

/// What a run of train learns, with its data: how a classifier is trained, or a shift of data.
class Task {
 public:
  virtual ~Task();
  virtual const bilevel::Parameters& parameters() const = 0;
  /// An entry of the run's identity.
  virtual bilevel::NamedOption fingerprint() const = 0;
  /// Runs the method on the device of the context and keeps what it ends with.
  virtual bilevel::UpperReport optimise(bilevel::Context&, bilevel::Observer&,
                                        const bilevel::UpperState* resume) = 0;
  /// Whether there is something to write: none after some failures.
  virtual bool has_result() const = 0;
  /// Writes the arrays of the result at `theta`, and model.json last. Throws IoError.
  virtual void write(const RunFolder& folder, const std::vector<double>& theta) const = 0;
  /// Entries of summary.json, and lines that say the same.
  virtual nlohmann::ordered_json summary(const std::vector<double>& theta) const = 0;
  virtual Lines lines(const std::vector<double>& theta) const = 0;
};

/// Read, split and check the files of the options, which must outlive the task. Throw IoError, and
/// ConfigError for numbers of samples that the files do not hold.
std::unique_ptr<Task> make_classifier_task(const TrainOptions& options);
std::unique_ptr<Task> make_shift_task(const TrainOptions& options);

}  // namespace bilevel_app::learn
