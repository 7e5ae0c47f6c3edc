#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bilevel/model/regularisers.hpp"

namespace bilevel_app::mri {

/// A field of experts that a run of bilevel-denoise has learned. Its filters, weights and smoothings stay as
/// they are; one factor of all weights is the weight alpha of the regulariser. Of complex images the sum over
/// real and imaginary part.
struct Experts {
  bilevel::ExpertsOptions options;
  int size = 0;                                    ///< of a filter
  std::vector<double> weight, smoothing, filters;  ///< [K], [K], [K][size][size]
  double sigma = 0.1;                              ///< noise they were learned at; not kept in models

  /// Where learning starts: fields for less noise are weaker in proportion, so that they need more.
  double usual_weight() const;

  /// Weight, smoothing and filters, fixed, their names beginning with `prefix`.
  std::vector<bilevel::Segment> segments(const std::string& prefix) const;
  /// Of all numbers and options.
  std::uint64_t fingerprint() const;
};

/// The field of experts in a model.json of bilevel-denoise. Throws IoError naming the file when it cannot be
/// read, is another model, or has none.
Experts read_experts(const std::filesystem::path& path);

/// Throws IoError naming the file of --experts when images of this size are too small for its filters.
void require_large_enough(const Experts& experts, int height, int width, const std::string& path);

nlohmann::ordered_json experts_json(const Experts& experts);
/// Throws IoError naming `path` and the key.
Experts experts_from(const std::filesystem::path& path, const nlohmann::ordered_json& json);

}  // namespace bilevel_app::mri
