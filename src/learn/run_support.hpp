#pragma once

// What the methods of the upper level share.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bilevel/learn/upper_method.hpp"

namespace bilevel {
inline namespace v0 {

std::string short_number(double value);

/// "; CAUSE: REMEDY." behind a message of UpperStatus::accuracy_limit.
template <class T>
std::string accuracy_remedy(const ScheduleOptions& options) {
  if (options.fixed_accuracy) return "; use a finer fixed accuracy, or adaptive ones.";
  return sizeof(T) == sizeof(float) ? "; rounding in single precision is the limit: use double precision."
                                    : "; rounding is the limit: use a larger smoothing or ridge, kept fixed, "
                                      "or a tolerance above that.";
}

/// Before z is computed at a theta nothing is known of it.
HypergradientResult unknown_gradient();

/// Puts z and what is known of it into a record.
void tell_gradient(const HypergradientResult& gradient, IterationRecord& record);

/// The accuracies and what else of a state must be positive. Throws ConfigError.
void require_positive(const UpperState& state, std::initializer_list<const char*> names);

/// Throws ConfigError unless the state is of the method, ShapeError unless a part has the size it wants.
void require_method(const UpperState& state, const std::string& name);
void require_saved(std::size_t has, std::size_t wants, const char* part);
/// A list of the state with one number for each entry of theta. Throws as the two above.
const std::vector<double>& list_like_theta(const UpperState& state, const char* name);

/// Raw bytes of values, and back.
template <class V>
std::vector<std::uint8_t> raw_bytes(const std::vector<V>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(V));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
template <class V>
std::vector<V> from_raw(const std::vector<std::uint8_t>& bytes) {
  std::vector<V> out(bytes.size() / sizeof(V));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(V));
  return out;
}

}  // namespace v0
}  // namespace bilevel
