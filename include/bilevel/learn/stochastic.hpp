#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bilevel/learn/batch_source.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel {
inline namespace v0 {

/// What a minibatch does to theta, k = 0, 1, ... counting minibatches:
///   plain      theta <- P(theta - alpha_k z_k), alpha_k = step0 (1 + k)^-step_decay
///   adagrad    the same with z divided by the root of the sum of its squares (Duchi, Hazan, Singer 2011)
///   adam       with running means of z and of its square (Kingma, Ba 2015)
///   certified  a step of MAID on f_I: its accuracies follow what is to be decided, and it is taken when f_I
///              certainly falls; trials begin at rho_up times the last step, but not above alpha_k
enum class StochasticStep { plain, adagrad, adam, certified };
BILEVEL_API const char* name_of(StochasticStep step);
/// "plain", "adagrad", "adam", "certified". Throws ConfigError for another name.
BILEVEL_API StochasticStep stochastic_step(const std::string& name);

struct BILEVEL_API StochasticOptions {
  StochasticStep step = StochasticStep::plain;
  std::uint64_t seed = 0;        ///< of the order of the images
  double step_decay = 0.5;       ///< a of alpha_k
  double accuracy_decay = 0.25;  ///< b: epsilon_k = epsilon0 (1 + k)^-b, delta_k likewise; not of certified
  double first_moment = 0.9;     ///< weight of earlier z in the mean of adam
  double second_moment = 0.999;  ///< the same of their squares
  int check_every = 1;           ///< epochs between two checks of the whole set; 0: at the end alone
  bool check_gradient = false;   ///< checks also tell the gradient of the whole, and may end the run

  /// Throws ConfigError naming the option that is outside its range.
  void validate() const;
};

/// Chooses theta by minibatches (ISGD: Salehi, Mukherjee, Roberts, Ehrhardt 2024).
template <class T>
class BILEVEL_API StochasticOptimiser {
 public:
  virtual ~StochasticOptimiser();
  virtual const char* name() const = 0;  ///< "isgd", or of certified steps "stochastic-maid"
  /// Starts at `theta0`, or goes on from `resume`. In steady state nothing is allocated on the device. Throws
  /// ConfigError and ShapeError for states of other methods and problems.
  virtual UpperReport run(Context&, BatchSource<T>&, std::span<const double> theta0, Observer&,
                          const UpperState* resume = nullptr) = 0;
  /// Reconstructions [N,C,H,W] at the report's theta, on the host; empty where the run ended without knowing
  /// them (interrupted or failed).
  virtual std::span<const T> reconstructions() const = 0;
};

/// In every epoch each image is in one minibatch I, in an order drawn from seed and epoch (Philox); the host
/// keeps reconstructions and adjoints of all images as warm starts, and only those of I are on the device.
///
/// Certified is |z_k - grad f_I| <= omega = N/|I| sum_{i in I} omega_i, omega_i the bound of image i in f,
/// and of certified steps the fall of f_I. How far f_I is from f, the sampling error, is not. Records of
/// steps, with the status "minibatch", or "skipped" where no fall of f_I could be certified, are of f_I.
/// Every check_every epochs, before their first minibatch, a check solves for all images, batch by batch, to
/// the accuracies of that k; its record, with the status "whole" and the number of the step that follows, is
/// of f: loss_lower <= f(theta) <= loss_upper, with check_gradient |gradient - grad f| <= error_bound, and
/// then |P(theta - z) - theta| + omega <= tolerance ends the run as stationary; without check_gradient the
/// norm is NaN and the bound infinite. The last record is such a check too, which limits do not cut short.
/// The run also ends where no minibatch of an epoch had a step that could be certified.
///
/// The state is offered after every epoch and at the end, so that a run that is killed loses an epoch at
/// most. Of the options, schedule.epsilon0, delta0, step0 and tolerance, of certified steps the whole
/// schedule but non_monotone, columns and try_uncertified, the solvers and the limits but min_progress count.
/// Throws ConfigError for options outside their range.
template <class T>
BILEVEL_API std::unique_ptr<StochasticOptimiser<T>> make_stochastic(const StochasticOptions& own,
                                                                    const UpperOptions& options,
                                                                    const UpperSolvers<T>& solvers = {});

}  // namespace v0
}  // namespace bilevel
