#include "bilevel/model/sampling_pattern.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

#include "bilevel/core/error.hpp"
#include "model/checks.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr std::array<const char*, 5> names = {"free", "symmetric", "rows", "columns", "radial"};

int wrapped(int k, int n) { return ((k % n) + n) % n; }

/// Frequencies of a line through zero at `angle`, one per step along its longer axis.
std::vector<int> spoke(int height, int width, double angle) {
  const double along_x = std::cos(angle), along_y = std::sin(angle);
  const double longest = std::max(std::abs(along_x) / width, std::abs(along_y) / height);
  std::vector<int> frequencies;
  const auto add = [&](int k, int l) {
    const int f = wrapped(k, height) * width + wrapped(l, width);
    if (std::find(frequencies.begin(), frequencies.end(), f) == frequencies.end()) frequencies.push_back(f);
  };
  const bool steep = std::abs(along_y) / height > std::abs(along_x) / width;
  const int n = steep ? height : width;
  for (int step = -(n / 2); step < (n + 1) / 2; ++step) {
    const double t = step / (longest * n);
    add(static_cast<int>(std::lround(t * along_y)), static_cast<int>(std::lround(t * along_x)));
  }
  std::sort(frequencies.begin(), frequencies.end());
  return frequencies;
}

}  // namespace

const char* pattern_name(PatternKind kind) { return names[static_cast<std::size_t>(kind)]; }

PatternKind pattern_from(const std::string& name) {
  if (name == "lines") return PatternKind::rows;
  for (std::size_t k = 0; k < names.size(); ++k)
    if (name == names[k]) return static_cast<PatternKind>(k);
  throw ConfigError("there is no sampling pattern '" + name +
                    "'; choose free, symmetric, lines (rows), columns or radial.");
}

SamplingPattern::SamplingPattern(PatternKind kind, int height, int width, SamplingMap map, int spokes)
    : kind_(kind), map_(map), height_(height), width_(width) {
  if (height < 1 || width < 1)
    throw ConfigError("a sampling pattern of " + std::to_string(height) + "x" + std::to_string(width) +
                      " frequencies cannot be: give sizes of at least 1.");
  const int n = height * width;
  switch (kind) {
    case PatternKind::free:
      for (int j = 0; j < n; ++j) add_group({j});
      break;
    case PatternKind::symmetric:
      for (int j = 0; j < n; ++j) {
        const int mirror = wrapped(-(j / width), height) * width + wrapped(-(j % width), width);
        if (mirror == j) add_group({j});
        if (mirror > j) add_group({j, mirror});
      }
      break;
    case PatternKind::rows:
    case PatternKind::columns: {
      const bool rows = kind == PatternKind::rows;
      for (int g = 0; g < (rows ? height : width); ++g) {
        std::vector<int> line(static_cast<std::size_t>(rows ? width : height));
        for (std::size_t e = 0; e < line.size(); ++e)
          line[e] = rows ? g * width + static_cast<int>(e) : static_cast<int>(e) * width + g;
        add_group(std::move(line));
      }
      break;
    }
    case PatternKind::radial:
      if (spokes < 1) throw ConfigError("a radial pattern needs at least 1 spoke.");
      for (int k = 0; k < spokes; ++k) add_group(spoke(height, width, std::numbers::pi * k / spokes));
      break;
  }
  owner_begin_.assign(frequencies() + 1, 0);
  for (int f : members_) owner_begin_[static_cast<std::size_t>(f) + 1] += 1;
  for (std::size_t j = 0; j < frequencies(); ++j) {
    overlapping_ = overlapping_ || owner_begin_[j + 1] > 1;
    owner_begin_[j + 1] += owner_begin_[j];
  }
  owners_.resize(members_.size());
  std::vector<std::size_t> next(owner_begin_.begin(), owner_begin_.end() - 1);
  for (std::size_t k = 0; k < groups(); ++k)
    for (int f : group(k)) owners_[next[static_cast<std::size_t>(f)]++] = static_cast<int>(k);
  if (overlapping_ && map == SamplingMap::rational)
    throw ConfigError(
        "radial spokes share frequencies, which the rational parameterisation has no rule for; "
        "use the direct one.");
}

void SamplingPattern::add_group(std::vector<int> frequencies) {
  members_.insert(members_.end(), frequencies.begin(), frequencies.end());
  begin_.push_back(members_.size());
}

std::span<const int> SamplingPattern::group(std::size_t k) const {
  return std::span(members_).subspan(begin_[k], begin_[k + 1] - begin_[k]);
}

void SamplingPattern::require_theta(std::span<const double> theta) const {
  if (theta.size() < groups()) require_count(groups(), theta.size(), "sampling pattern (theta)");
}

/// Of a frequency with this group alone.
double SamplingPattern::weight(double theta) const {
  switch (map_) {
    case SamplingMap::rational:
      return theta / (1 - theta);
    case SamplingMap::linear:
      return theta;
    case SamplingMap::direct:
      break;
  }
  return theta * theta;
}

std::vector<double> SamplingPattern::weights(std::span<const double> theta) const {
  require_theta(theta);
  std::vector<double> w(frequencies());
  for (std::size_t j = 0; j < w.size(); ++j) {
    const std::size_t begin = owner_begin_[j], end = owner_begin_[j + 1];
    if (begin == end) continue;
    const auto alone = [&](std::size_t e) { return weight(theta[static_cast<std::size_t>(owners_[e])]); };
    // 1 - prod (1 - w_e) without cancellation; extended, because certificates count two roundings of w.
    long double any = alone(begin);
    for (std::size_t e = begin + 1; e < end; ++e) any += alone(e) * (1 - any);
    w[j] = static_cast<double>(any);
  }
  return w;
}

/// dw_j/dtheta_k of a group k that frequency j belongs to.
double SamplingPattern::slope(std::span<const double> theta, std::size_t k, int frequency) const {
  if (map_ == SamplingMap::rational) return 1 / ((1 - theta[k]) * (1 - theta[k]));
  double others = 1;
  if (overlapping_) {
    const auto j = static_cast<std::size_t>(frequency);
    for (std::size_t e = owner_begin_[j]; e < owner_begin_[j + 1]; ++e) {
      const auto l = static_cast<std::size_t>(owners_[e]);
      if (l != k) others *= 1 - weight(theta[l]);
    }
  }
  return (map_ == SamplingMap::linear ? 1 : 2 * theta[k]) * others;
}

std::vector<double> SamplingPattern::forward(std::span<const double> theta, std::span<const double> d) const {
  require_theta(theta);
  require_count(groups(), d.size(), "sampling pattern (direction)");
  std::vector<double> out(frequencies(), 0);
  for (std::size_t k = 0; k < groups(); ++k) {
    if (d[k] == 0) continue;
    for (int f : group(k)) out[static_cast<std::size_t>(f)] += slope(theta, k, f) * d[k];
  }
  return out;
}

std::vector<double> SamplingPattern::adjoint(std::span<const double> theta, std::span<const double> c) const {
  require_theta(theta);
  require_count(frequencies(), c.size(), "sampling pattern (frequencies)");
  std::vector<double> out(groups(), 0);
  for (std::size_t k = 0; k < groups(); ++k)
    for (int f : group(k)) out[k] += slope(theta, k, f) * c[static_cast<std::size_t>(f)];
  return out;
}

double SamplingPattern::norm_bound(std::span<const double> theta, std::span<const double> r2,
                                   double divide) const {
  require_theta(theta);
  require_count(frequencies(), r2.size(), "sampling pattern (frequencies)");
  const std::vector<double> w = divide > 0 ? weights(theta) : std::vector<double>();
  const auto contribution = [&](int f) {
    const auto j = static_cast<std::size_t>(f);
    return divide > 0 ? r2[j] / (w[j] + divide) : r2[j];
  };
  double largest = 0;
  if (!overlapping_) {  // the columns are orthogonal in k-space
    for (std::size_t k = 0; k < groups(); ++k) {
      double sum = 0;
      for (int f : group(k)) sum += std::pow(slope(theta, k, f), 2) * contribution(f);
      largest = std::max(largest, sum);
    }
    return std::sqrt(largest);
  }
  // Schur's test: |A|^2 <= largest row sum times largest column sum of a nonnegative matrix.
  std::vector<double> row(frequencies(), 0);
  for (std::size_t k = 0; k < groups(); ++k) {
    double column = 0;
    for (int f : group(k)) {
      const double entry = slope(theta, k, f) * std::sqrt(contribution(f));
      column += entry;
      row[static_cast<std::size_t>(f)] += entry;
    }
    largest = std::max(largest, column);
  }
  return std::sqrt(largest * *std::max_element(row.begin(), row.end()));
}

double SamplingPattern::slope_bound(std::span<const double> theta) const {
  require_theta(theta);
  std::vector<double> square(frequencies(), 0);
  for (std::size_t k = 0; k < groups(); ++k)
    for (int f : group(k)) square[static_cast<std::size_t>(f)] += std::pow(slope(theta, k, f), 2);
  return std::sqrt(*std::max_element(square.begin(), square.end()));
}

double SamplingPattern::rate(std::span<const double> theta) const {
  std::size_t sampled = 0;
  for (double w : weights(theta)) sampled += w > 0;
  return static_cast<double>(sampled) / static_cast<double>(frequencies());
}

double SamplingPattern::mean_radius(std::span<const double> theta) const {
  const std::vector<double> w = weights(theta);
  // of frequency index k of n, along an axis
  const auto reach = [](int k, int n) { return n < 2 ? 0.0 : std::min(k, n - k) / (n / 2.0); };
  double sum = 0;
  int sampled = 0;
  for (int r = 0, j = 0; r < height_; ++r)
    for (int c = 0; c < width_; ++c, ++j)
      if (w[static_cast<std::size_t>(j)] > 0) {
        sum += std::hypot(reach(r, height_), reach(c, width_));
        ++sampled;
      }
  return sum / sampled;
}

std::vector<double> SamplingPattern::threshold_to_rate(std::span<const double> theta, double rate) const {
  require_theta(theta);
  std::vector<std::size_t> order(groups());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return theta[a] > theta[b]; });
  std::vector<double> keep(groups(), 0);
  std::vector<bool> sampled(frequencies(), false);
  const auto wanted = static_cast<std::size_t>(std::floor(rate * static_cast<double>(frequencies()) + 1e-9));
  std::size_t count = 0;
  for (std::size_t k : order) {
    std::size_t fresh = 0;
    for (int f : group(k)) fresh += !sampled[static_cast<std::size_t>(f)];
    if (count + fresh > wanted) continue;
    for (int f : group(k)) sampled[static_cast<std::size_t>(f)] = true;
    count += fresh;
    keep[k] = 1;
  }
  return keep;
}

std::vector<double> SamplingPattern::threshold(std::span<const double> theta, double level) const {
  require_theta(theta);
  std::vector<double> keep(groups());
  for (std::size_t k = 0; k < groups(); ++k) keep[k] = theta[k] > level ? 1 : 0;
  return keep;
}

Parameters mri_parameters(const SamplingPattern& pattern, const MriParameterValues& v) {
  std::vector<double> s = v.pattern;
  if (s.empty()) s.assign(pattern.groups(), v.s);
  const double largest = pattern.map() == SamplingMap::rational ? 0.99 : 1.0;
  for (double& e : s) e = std::min(e, largest);
  Segment sampling{"s", Transform::identity, 1, 0, largest, v.learn_pattern};
  sampling.shape = {static_cast<int>(pattern.groups())};
  sampling.values = std::move(s);
  return Parameters({std::move(sampling),
                     {"alpha", Transform::exp, v.alpha, 1e-8, 1e3, v.learn_alpha},
                     {"nu", Transform::exp, v.nu, 1e-6, 1e2, false},
                     {"xi", Transform::exp, v.xi, 1e-10, 1e2, false}});
}

Penalty sampling_penalty(const Parameters& parameters, double beta1, double beta2) {
  if (!(beta1 >= 0) || !(beta2 >= 0) || !std::isfinite(beta1) || !std::isfinite(beta2))
    throw ConfigError("penalties must not be negative: " + std::to_string(beta1) + ", " +
                      std::to_string(beta2) + ".");
  const int first = parameters.entry("s");
  if (first < 0) throw ConfigError("a penalty of the sampling pattern needs a pattern that is learned.");
  const auto begin = static_cast<std::size_t>(first);
  const std::size_t end = begin + parameters.learned(begin).size();
  return [=](std::span<const double> theta, std::span<double> gradient) {
    double sum = 0;
    for (std::size_t k = begin; k < end; ++k) {
      sum += beta1 * theta[k] + beta2 * theta[k] * (1 - theta[k]);
      gradient[k] += beta1 + beta2 * (1 - 2 * theta[k]);
    }
    return sum;
  };
}

}  // namespace v0
}  // namespace bilevel
