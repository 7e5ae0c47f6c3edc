#include "learn/lbfgs_memory.hpp"

#include <cmath>

namespace bilevel {
inline namespace v0 {
namespace {

double inner(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += a[j] * b[j];
  return sum;
}

void add(std::span<double> a, double t, std::span<const double> b) {
  for (std::size_t j = 0; j < a.size(); ++j) a[j] += t * b[j];
}

}  // namespace

void LbfgsMemory::push(std::span<const double> s, std::span<const double> y) {
  const double sy = inner(s, y);
  if (!(sy > 1e-8 * std::sqrt(inner(s, s) * inner(y, y)))) return;
  if (pairs_.size() == most_) pairs_.erase(pairs_.begin());
  pairs_.push_back({{s.begin(), s.end()}, {y.begin(), y.end()}, sy});
}

std::vector<double> LbfgsMemory::apply(std::span<const double> z, std::span<const double> diagonal) const {
  std::vector<double> r(z.begin(), z.end()), a(pairs_.size());
  const auto scaled = [&](std::vector<double> v) {
    for (std::size_t j = 0; j < diagonal.size(); ++j) v[j] *= diagonal[j];
    return v;
  };
  if (pairs_.empty()) return scaled(r);
  for (std::size_t k = pairs_.size(); k-- > 0;) {
    a[k] = inner(pairs_[k].s, r) / pairs_[k].sy;
    add(r, -a[k], pairs_[k].y);
  }
  const Pair& last = pairs_.back();
  const double scale = last.sy / inner(last.y, scaled(last.y));
  r = scaled(std::move(r));
  for (double& e : r) e *= scale;
  for (std::size_t k = 0; k < pairs_.size(); ++k)
    add(r, a[k] - inner(pairs_[k].y, r) / pairs_[k].sy, pairs_[k].s);
  return r;
}

std::vector<double> LbfgsMemory::save() const {
  std::vector<double> values;
  for (const Pair& pair : pairs_) {
    values.insert(values.end(), pair.s.begin(), pair.s.end());
    values.insert(values.end(), pair.y.begin(), pair.y.end());
  }
  return values;
}

void LbfgsMemory::restore(std::span<const double> values, std::size_t p) {
  pairs_.clear();
  for (std::size_t at = 0; at + 2 * p <= values.size(); at += 2 * p)
    push(values.subspan(at, p), values.subspan(at + p, p));
}

}  // namespace v0
}  // namespace bilevel
