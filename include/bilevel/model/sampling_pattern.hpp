#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/export.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

enum class PatternKind { free, symmetric, rows, columns, radial };
/// How a parameter theta in its bounds gives the weight s^2 of its frequencies: theta^2, theta/(1-theta)
/// (Chen et al. 2014), or theta itself, which has a slope at 0.
enum class SamplingMap { direct, rational, linear };

BILEVEL_API const char* pattern_name(PatternKind kind);
/// free, symmetric, rows (or lines), columns, radial; throws ConfigError for another name.
BILEVEL_API PatternKind pattern_from(const std::string& name);

/// Sampling patterns of an H x W k-space, zero frequency at [0,0], with one parameter per group of
/// frequencies that are measured together. The weight of frequency j is
///   w_j = 1 - prod over its groups k of (1 - theta_k^2)   (direct), which is theta_k^2 for a single group,
///   w_j = theta_k / (1 - theta_k)                         (rational, single groups only),
///   w_j = 1 - prod over its groups k of (1 - theta_k)     (linear),
/// so that a union of groups at 1 samples with weight 1. Frequencies without a group have weight 0.
class BILEVEL_API SamplingPattern {
 public:
  /// One group per frequency; per conjugate pair {j,-j}; per row or column; or `spokes` lines through zero
  /// frequency at equal angles. Throws ConfigError for sizes below 1, or a rational map of groups that
  /// overlap.
  SamplingPattern(PatternKind kind, int height, int width, SamplingMap map = SamplingMap::direct,
                  int spokes = 64);

  PatternKind kind() const { return kind_; }
  SamplingMap map() const { return map_; }
  int height() const { return height_; }
  int width() const { return width_; }
  std::size_t frequencies() const { return static_cast<std::size_t>(height_) * width_; }
  std::size_t groups() const { return begin_.size() - 1; }
  bool overlapping() const { return overlapping_; }  ///< some frequency belongs to several groups
  /// Frequencies of a group, row-major indices.
  std::span<const int> group(std::size_t k) const;

  // theta begins with the pattern's entries. Functions of it throw ShapeError when it has less than groups(),
  // or another array not frequencies() or groups() entries.

  /// w, one per frequency.
  std::vector<double> weights(std::span<const double> theta) const;
  /// out_j = sum_k dw_j/dtheta_k d_k, one per frequency.
  std::vector<double> forward(std::span<const double> theta, std::span<const double> d) const;
  /// out_k = sum_j dw_j/dtheta_k c_j, one per group.
  std::vector<double> adjoint(std::span<const double> theta, std::span<const double> c) const;
  /// >= |B d| / |d| of the sampling block when frequency j contributes at most r2_j = sum_c |r_c,j|^2:
  /// largest_k sum_{j in k} (dw_j/dtheta_k)^2 r2_j when groups are disjoint, its row-sum bound otherwise;
  /// square root. With `divide`, r2_j is divided by (w_j + divide).
  double norm_bound(std::span<const double> theta, std::span<const double> r2, double divide = 0) const;
  /// >= |diag(dw/dtheta d)| / |d|: Lipschitz constant of the sampling block for a unitary transform.
  double slope_bound(std::span<const double> theta) const;

  /// Fraction of frequencies with weight above 0.
  double rate(std::span<const double> theta) const;
  /// Mean of |k| over these, k in units of the largest frequency along each axis: 0 at zero frequency, 1 at
  /// the ends of the axes. NaN where none is kept.
  double mean_radius(std::span<const double> theta) const;
  /// 1 for the groups that keep the fraction `rate` of k-space, the largest theta first (ties by index); 0
  /// for the others. At most `rate`, to the size of a group.
  std::vector<double> threshold_to_rate(std::span<const double> theta, double rate) const;
  /// 1 where theta > level.
  std::vector<double> threshold(std::span<const double> theta, double level = 0.5) const;

 private:
  void add_group(std::vector<int> frequencies);
  void require_theta(std::span<const double> theta) const;
  double weight(double theta) const;
  double slope(std::span<const double> theta, std::size_t k, int frequency) const;

  PatternKind kind_;
  SamplingMap map_;
  int height_, width_;
  bool overlapping_ = false;
  std::vector<std::size_t> begin_{0};  // of the groups in members_
  std::vector<int> members_;
  std::vector<std::size_t> owner_begin_;  // groups of each frequency in owners_
  std::vector<int> owners_;
};

/// Parameters "s" (theta of the pattern, bounds [0,1]; rational [0,0.99]) and alpha (log scale, learned or
/// not), nu and xi (fixed).
struct BILEVEL_API MriParameterValues {
  double s = 1, alpha = 1e-2, nu = 1e-2, xi = 1e-2;
  bool learn_pattern = true, learn_alpha = true;
  std::vector<double> pattern = {};  ///< initial s per group; empty: `s` for all
};
BILEVEL_API Parameters mri_parameters(const SamplingPattern& pattern, const MriParameterValues& values);

/// J = beta1 sum_k s_k + beta2 sum_k s_k (1 - s_k) over the entries of "s", each once; with a rational map
/// s_k stands for theta_k. Throws ConfigError for negative or infinite betas, or when "s" is not learned.
BILEVEL_API Penalty sampling_penalty(const Parameters& parameters, double beta1, double beta2);

}  // namespace v0
}  // namespace bilevel
