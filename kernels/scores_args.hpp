#pragma once

// Arguments of the kernels of classification. Scores of a batch are [N][classes][samples], labels and weights
// of the samples shared by the batch. One class: a sample belongs to class 1 with probability
// p = 1 / (1 + e^-s), to class 0 otherwise; several: to class c with p_c = e^{s_c} / sum_k e^{s_k}.

#include <cstddef>
#include <cstdint>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// What the kernels of classification share. l_j, the loss of sample j: -ln of the probability of its label.
struct ScoreShape {
  Active active;
  int classes;
  int samples;
};

/// out = scale t_j d l_j / d s, value[i] = scale sum_j t_j l_j. `out` may be `scores`.
template <class T>
struct ScoreGradientArgs {
  ScoreShape shape;
  const T* scores;
  const std::int32_t* labels;
  const double* weight;  // t; null: ones
  double scale;
  T* out;
  double* value;
};

/// The probabilities p.
template <class T>
struct ScoreProbabilityArgs {
  ScoreShape shape;
  const T* scores;
  T* out;
};

/// out = scale t_j H_j m_j, H_j the Hessian of l_j in s: diag(p) - p p^T, of one class p (1 - p). `out` may
/// be `m`.
template <class T>
struct ScoreProductArgs {
  ScoreShape shape;
  const T* probability;
  const double* weight;
  double scale;
  const T* m;
  T* out;
};

/// out[j][i] = scale <d l_j / d s, m_j>, [samples][n].
template <class T>
struct ScoreMixedArgs {
  ScoreShape shape;
  int n;
  const T* scores;
  const std::int32_t* labels;
  double scale;
  const T* m;
  double* out;
};

}  // namespace bilevel::kernels
