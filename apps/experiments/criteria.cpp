#include "apps/experiments/criteria.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::experiments {

namespace {

constexpr std::pair<Verdict, const char*> names[] = {{Verdict::reported, "no criterion"},
                                                     {Verdict::reproduced, "reproduced"},
                                                     {Verdict::corrected, "corrected"},
                                                     {Verdict::not_reproduced, "not reproduced"}};

Row row_of(Quantity q, std::string criterion) {
  Row row;
  row.quantity = std::move(q.name);
  row.published = q.published;
  row.ours = q.ours;
  row.criterion = std::move(criterion);
  return row;
}

/// What every criterion ends with.
Row judged(Quantity q, std::string criterion, bool met, std::string why) {
  const bool finite = std::isfinite(q.ours);
  Row row = row_of(std::move(q), std::move(criterion));
  row.verdict = finite && met ? Verdict::reproduced : Verdict::not_reproduced;
  if (row.verdict == Verdict::not_reproduced) row.why = finite ? std::move(why) : "there is no such number";
  return row;
}

std::string or_else(const std::string& criterion, const char* sign, double limit) {
  return criterion.empty() ? format("%s %.6g", sign, limit) : criterion;
}

}  // namespace

const char* name_of(Verdict verdict) {
  for (const auto& [value, name] : names)
    if (value == verdict) return name;
  return "";
}
Verdict verdict_from(const std::string& name) {
  for (const auto& [value, own] : names)
    if (name == own) return value;
  throw bilevel::ConfigError("the verdict '" + name + "' is unknown.");
}

std::optional<double> Row::ratio() const {
  if (!published || !ours || *published == 0) return {};
  return *ours / *published;
}

Row reported(Quantity q) { return row_of(std::move(q), {}); }

Row without_criterion(const Row& row) {
  Row out;
  out.quantity = row.quantity;
  out.published = row.published;
  out.ours = row.ours;
  return out;
}

Row relative_to(Quantity q, double target, double tolerance, const std::string& name) {
  const double off = std::abs(q.ours / target - 1);
  return judged(std::move(q), format("to %.2g of %s", tolerance, name.c_str()), off <= tolerance,
                format("off by %.2g", off));
}

Row distance_to(Quantity q, double target, double distance, const std::string& name) {
  const double off = std::abs(q.ours - target);
  return judged(std::move(q), format("within %.2g of %s", distance, name.c_str()), off <= distance,
                format("off by %.2g", off));
}

Row at_most(Quantity q, double limit, const std::string& criterion) {
  const bool met = q.ours <= limit;
  return judged(std::move(q), or_else(criterion, "at most", limit), met, format("more than %.6g", limit));
}
Row at_least(Quantity q, double limit, const std::string& criterion) {
  const bool met = q.ours >= limit;
  return judged(std::move(q), or_else(criterion, "at least", limit), met, format("less than %.6g", limit));
}
Row between(Quantity q, double low, double high) {
  const bool met = low <= q.ours && q.ours <= high;
  return judged(std::move(q), format("from %.6g to %.6g", low, high), met, "outside");
}
Row below(Quantity q, double limit, const std::string& criterion) {
  const bool met = q.ours < limit;
  return judged(std::move(q), criterion, met, format("not below %.6g", limit));
}

Row against_exact(Quantity q, double lower, double upper, double tolerance, const std::string& reason) {
  const double allowed = tolerance * std::abs(q.ours), published = q.published.value_or(q.ours);
  const bool known = lower <= q.ours && q.ours <= upper && upper - lower <= allowed / 10;
  Row row = judged(std::move(q), format("the exact one to %.2g", tolerance), known,
                   format("the exact one is only known to lie between %.9g and %.9g", lower, upper));
  if (known && std::abs(published - *row.ours) > allowed) {
    row.verdict = Verdict::corrected;
    row.why = reason;
  }
  return row;
}

Row because(Row row, const std::string& reason) {
  if (row.verdict == Verdict::not_reproduced) row.why += ": " + reason;
  return row;
}

Verdict verdict_of(std::span<const Row> rows) {
  Verdict worst = Verdict::reported;
  for (const Row& row : rows) worst = std::max(worst, row.verdict);
  return worst;
}

std::string tally(std::span<const Row> rows) {
  std::string text;
  for (const Verdict verdict : {Verdict::reproduced, Verdict::corrected, Verdict::not_reproduced}) {
    const auto count =
        std::count_if(rows.begin(), rows.end(), [verdict](const Row& r) { return r.verdict == verdict; });
    if (count > 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name_of(verdict);
  }
  return text;
}

}  // namespace bilevel_app::experiments
