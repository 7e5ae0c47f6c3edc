#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bilevel/solve/report.hpp"

namespace bilevel {
inline namespace v0 {

/// One upper iteration, numbered from 0: everything belongs to theta before its step, but `work`, `seconds`,
/// `step` and `backtracks`, which include it. loss_lower <= f(theta) <= loss_upper. Work is cumulative.
struct IterationRecord {
  int iteration = 0;
  std::vector<double> theta;
  double loss = 0, loss_lower = 0, loss_upper = 0;
  std::vector<double> gradient;  ///< z
  double gradient_norm = 0;      ///< |z|
  double error_bound = 0;        ///< omega
  double omega_theorem = 0, omega_adjoint = 0, omega_directional = 0, omega_columns = 0;
  double epsilon = 0, delta = 0, step = 0;
  int backtracks = 0;
  double psnr = 0;  ///< mean over the training images, dB
  Work work;
  double seconds = 0;
  std::string status;
};

enum class UpperStatus {
  stationary,      ///< |z| + omega <= tolerance, certified
  converged,       ///< the trust region fell below its end radius; no gradient is known
  slow_progress,   ///< the loss fell by less than the fraction asked for over the last iterations
  accuracy_limit,  ///< rounding (or a fixed accuracy) forbids a smaller certified gradient
  line_search_failed,
  max_iterations,
  time_limit,
  budget,
  interrupted,  ///< an observer asked to stop
  failed        ///< a lower-level or linear solve failed
};
BILEVEL_API const char* upper_status_name(UpperStatus status);

struct UpperReport {
  UpperStatus status = UpperStatus::max_iterations;
  std::string message;  ///< one sentence with the numbers
  std::vector<double> theta;
  IterationRecord last;  ///< values at theta
};

/// What a run needs to go on with the same bits: what every run has, and what its method keeps.
struct BILEVEL_API UpperState {
  std::string method;  ///< its name
  std::vector<double> theta;
  int iteration = 0;  ///< iterations finished
  Work work;
  double seconds = 0;
  std::vector<double> losses;             ///< of the last iterations, oldest first
  bool has_columns = false;               ///< in `adjoints`
  std::vector<std::uint8_t> x, adjoints;  ///< reconstructions; q, then the columns: raw, in host byte order
  /// Of the method, by names of lower-case letters, digits and hyphens.
  std::map<std::string, std::vector<double>> numbers;
  std::map<std::string, std::vector<std::uint8_t>> arrays;

  /// Those of a name. Throw ShapeError where there are none, `number` unless there is one.
  double number(const std::string& name) const;
  const std::vector<double>& list(const std::string& name) const;
  const std::vector<std::uint8_t>& array(const std::string& name) const;
};

/// Sees what a run does and may stop it.
class BILEVEL_API Observer {
 public:
  virtual ~Observer();
  /// After every accepted upper iteration, before the state is asked for. False stops the run.
  virtual bool iteration(const IterationRecord& record);
  /// Whether state() wants the state after this iteration (copying it costs a download).
  virtual bool wants_state(const IterationRecord& record);
  virtual void state(const UpperState& state);
  /// Between lower-level solves, often; false stops the run as soon as possible (the iteration is lost).
  virtual bool alive();
  virtual void finished(const UpperReport& report);
};

/// Hands every event to several observers in order; what one throws ends the run. Throws ConfigError for a
/// null pointer.
class BILEVEL_API ObserverList final : public Observer {
 public:
  explicit ObserverList(std::vector<Observer*> observers);
  bool iteration(const IterationRecord& record) override;
  bool wants_state(const IterationRecord& record) override;
  void state(const UpperState& state) override;
  bool alive() override;
  void finished(const UpperReport& report) override;

 private:
  std::vector<Observer*> observers_;
};

}  // namespace v0
}  // namespace bilevel
