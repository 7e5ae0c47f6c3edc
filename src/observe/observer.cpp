#include "bilevel/observe/observer.hpp"

#include <algorithm>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

namespace {

template <class V>
const V& named(const std::map<std::string, V>& all, const std::string& name) {
  const auto found = all.find(name);
  if (found == all.end()) throw ShapeError("the saved state of the run has no '" + name + "'.");
  return found->second;
}

}  // namespace

const std::vector<double>& UpperState::list(const std::string& name) const { return named(numbers, name); }
const std::vector<std::uint8_t>& UpperState::array(const std::string& name) const {
  return named(arrays, name);
}
double UpperState::number(const std::string& name) const {
  const std::vector<double>& values = list(name);
  if (values.size() != 1)
    throw ShapeError("the saved state of the run has " + std::to_string(values.size()) + " numbers '" + name +
                     "' instead of one.");
  return values[0];
}

Observer::~Observer() = default;
bool Observer::iteration(const IterationRecord&) { return true; }
bool Observer::wants_state(const IterationRecord&) { return false; }
void Observer::state(const UpperState&) {}
bool Observer::alive() { return true; }
void Observer::finished(const UpperReport&) {}

ObserverList::ObserverList(std::vector<Observer*> observers) : observers_(std::move(observers)) {
  const auto missing = std::find(observers_.begin(), observers_.end(), nullptr);
  if (missing != observers_.end())
    throw ConfigError("observer " + std::to_string(missing - observers_.begin() + 1) + " of " +
                      std::to_string(observers_.size()) + " is a null pointer.");
}

bool ObserverList::iteration(const IterationRecord& record) {
  bool go_on = true;
  for (Observer* o : observers_) go_on &= o->iteration(record);
  return go_on;
}

bool ObserverList::wants_state(const IterationRecord& record) {
  bool wanted = false;
  for (Observer* o : observers_) wanted |= o->wants_state(record);
  return wanted;
}

void ObserverList::state(const UpperState& state) {
  for (Observer* o : observers_) o->state(state);
}

bool ObserverList::alive() {
  bool go_on = true;
  for (Observer* o : observers_) go_on &= o->alive();
  return go_on;
}

void ObserverList::finished(const UpperReport& report) {
  for (Observer* o : observers_) o->finished(report);
}

const char* upper_status_name(UpperStatus status) {
  switch (status) {
    case UpperStatus::stationary:
      return "stationary";
    case UpperStatus::converged:
      return "converged";
    case UpperStatus::slow_progress:
      return "slow_progress";
    case UpperStatus::accuracy_limit:
      return "accuracy_limit";
    case UpperStatus::line_search_failed:
      return "line_search_failed";
    case UpperStatus::max_iterations:
      return "max_iterations";
    case UpperStatus::time_limit:
      return "time_limit";
    case UpperStatus::budget:
      return "budget";
    case UpperStatus::interrupted:
      return "interrupted";
    case UpperStatus::failed:
      return "failed";
  }
  return "unknown";
}

}  // namespace v0
}  // namespace bilevel
