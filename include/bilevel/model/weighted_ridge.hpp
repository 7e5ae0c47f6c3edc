#pragma once

#include <string>

#include "bilevel/model/regularisers.hpp"
#include "bilevel/model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// 1/2 sum_e t_e x_e^2 of one image, a weight t_e >= 0 for every element of the unknown, from the parameter
/// "ridge_weight", an array of as many numbers, row-major (of a part after the first
/// "2.ridge_weight", ...). Adds min t to the strong convexity of the energy, whose own ridge xi may be a
/// fixed 0.
template <class T>
class BILEVEL_API WeightedRidge final : public OwnPart {
 public:
  ~WeightedRidge() override;
};

}  // namespace v0
}  // namespace bilevel
