#pragma once

#include <cstdint>
#include <vector>

#include "bilevel/learn/hypergradient.hpp"

namespace bilevel_app::experiments {

/// A signal with 2, 4 or 6 break points, heights in {-2, ..., 2} between them and zero outside; `seen` of its
/// samples with noise 0.03, zeros for the others (Pawley 2021, section 5; draws of our own).
struct SampledSignal {
  std::vector<double> truth, data, mask;
};
SampledSignal sampled_signal(std::uint32_t seed, int length, int seen);

/// 1/2 |S (x - y)|^2 + alpha sum_i rho_nu((D x)_i) + xi/2 |x|^2, rho huber_c2 and nu = xi = `smoothing`;
/// alpha, first 1, in [1e-4, 1] is learned as it is, or its logarithm.
struct SignalDenoising {
  SignalDenoising(const bilevel::Device& device, const SampledSignal& signal, double smoothing,
                  bilevel::Transform transform);
  bilevel::View<const double> first() const { return data.view(); }
  bilevel::Tensor<double> start();  ///< a copy of the data

  /// How the lower level and the adjoint are solved, and whether bounds use columns.
  struct Effort {
    const char* minimiser = "newton";
    double epsilon = 1e-6, delta = 1e-6;
    bool columns = false;
    int iterations = 1000000;
  };
  /// The hypergradient at alpha, the lower level solved from x.
  bilevel::HypergradientResult hypergradient(double alpha, const Effort& effort, bilevel::Tensor<double>& x);
  /// f'(alpha) as fine as double precision has it.
  double exact_gradient(double alpha);

  bilevel::Context context;
  bilevel::Parameters layout;
  bilevel::Tensor<double> truth, data;
  bilevel::BilevelProblem<double> problem;
};

}  // namespace bilevel_app::experiments
