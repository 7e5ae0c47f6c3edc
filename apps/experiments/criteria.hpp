#pragma once

#include <optional>
#include <span>
#include <string>

namespace bilevel_app::experiments {

/// What a row says of a published statement. `corrected`: the published number is not what it is said to be,
/// and ours is known to be. `reported`: a number without a criterion.
enum class Verdict { reported, reproduced, corrected, not_reproduced };
const char* name_of(Verdict verdict);
/// Throws ConfigError for another name.
Verdict verdict_from(const std::string& name);

/// One line of the table of an experiment.
struct Row {
  std::string quantity;
  std::optional<double> published, ours;
  std::string criterion;  ///< empty: none
  Verdict verdict = Verdict::reported;
  std::string why;  ///< of corrected and not_reproduced

  /// ours / published, where both are there and the latter is not 0.
  std::optional<double> ratio() const;
};

/// A number and what was published of it, if anything.
struct Quantity {
  std::string name;
  std::optional<double> published;
  double ours;
};

// The criteria. A number of ours that is not finite meets none of them.

Row reported(Quantity q);
/// The number alone of a row whose criterion does not hold for what was run (a quick form).
Row without_criterion(const Row& row);
/// |ours / target - 1| <= tolerance; `name` is what the target is called.
Row relative_to(Quantity q, double target, double tolerance, const std::string& name);
/// |ours - target| <= distance.
Row distance_to(Quantity q, double target, double distance, const std::string& name);
Row at_most(Quantity q, double limit, const std::string& criterion = {});
Row at_least(Quantity q, double limit, const std::string& criterion = {});
/// low <= ours <= high.
Row between(Quantity q, double low, double high);
Row below(Quantity q, double limit, const std::string& criterion);
/// Lower and upper end enclose the exact number, and `q.ours` is between them: corrects the published one
/// when it is further than `tolerance` (relative) from the exact one. Not reproduced when the enclosure is
/// wider than a tenth of that, for then it decides nothing.
Row against_exact(Quantity q, double lower, double upper, double tolerance, const std::string& reason);

/// The row, and when its criterion is not met why that is so.
Row because(Row row, const std::string& reason);

/// Of an experiment: the worst of its rows, not_reproduced before corrected before reproduced.
Verdict verdict_of(std::span<const Row> rows);
/// "9 reproduced, 2 corrected, 1 not reproduced", what there are none of left out.
std::string tally(std::span<const Row> rows);

}  // namespace bilevel_app::experiments
