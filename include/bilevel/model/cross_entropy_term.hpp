#pragma once

#include <memory>
#include <vector>

#include "bilevel/model/regularisers.hpp"
#include "bilevel/model/term.hpp"

namespace bilevel {
inline namespace v0 {

/// The lower level of logistic regression, as a part of an energy:
///   c sum_j t_j l((A x)_j, label_j),
/// l the cross entropy of cross_entropy() (model/upper_loss.hpp), A an operator from the unknown to scores
/// [N,C,H,W] of M = H W samples, labels shared by the batch. With weights, their values t come from the
/// parameter "sample_weight", an array of M numbers >= 0 (data hypercleaning: Transform::sigmoid); without,
/// they are 1. The ridge of the energy makes it strongly convex. As a part after the first of an energy its
/// parameter is named "2.sample_weight", ...
template <class T>
class BILEVEL_API CrossEntropyTerm final : public OwnPart {
 public:
  CrossEntropyTerm(std::shared_ptr<const LinearOperator<T>> scores, std::vector<int> labels, double factor,
                   bool weighted)
      : scores_(std::move(scores)), labels_(std::move(labels)), factor_(factor), weighted_(weighted) {}
  ~CrossEntropyTerm() override;
  const std::shared_ptr<const LinearOperator<T>>& scores() const { return scores_; }
  const std::vector<int>& labels() const { return labels_; }
  double factor() const { return factor_; }  ///< c
  bool weighted() const { return weighted_; }

 private:
  std::shared_ptr<const LinearOperator<T>> scores_;
  std::vector<int> labels_;
  double factor_;
  bool weighted_;
};

}  // namespace v0
}  // namespace bilevel
