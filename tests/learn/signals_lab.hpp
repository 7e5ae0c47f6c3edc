#pragma once

// The one-dimensional problems of Ehrhardt and Roberts 2021: their signals, their border beside that of the
// library, and runs of any method on them.

#include <complex>
#include <memory>
#include <string>
#include <vector>

#include "apps/experiments/step_signals.hpp"
#include "bilevel/learn/upper_method.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/support/mri_setup.hpp"

namespace bilevel::testing_support {

using bilevel_app::experiments::LegacyRandom;
using bilevel_app::experiments::signal_regulariser;
using bilevel_app::experiments::StepSignals;
using Border = bilevel_app::experiments::SignalBorder;

inline const char* name_of(Border border) { return border == Border::neumann ? "neumann" : "zero_left"; }

inline std::vector<Segment> log10_segments(const std::vector<double>& theta) {
  const auto value = [](double t) { return std::pow(10, t); };
  if (theta.size() == 1)
    return {{"alpha", Transform::log10, value(theta[0]), 1e-7, 1e7, true},
            {"nu", Transform::identity, 1e-3, 0, 1, false},
            {"xi", Transform::identity, 1e-3, 0, 1, false}};
  return {{"alpha", Transform::log10, value(theta[0]), 1e-7, 1e7, true},
          {"xi", Transform::log10, value(theta[1]), 1e-7, 1, true},
          {"nu", Transform::log10, value(theta[2]), 1e-7, 1, true}};
}

/// What a run did, and the loss 2N f of the paper at every best point, solved anew.
struct SignalRun {
  UpperReport report;
  Recorder seen;
  std::vector<double> x;
  std::vector<double> exact;        ///< at the theta of every record, then of the report
  std::vector<std::uint64_t> work;  ///< gradients of the lower level until each of them was reached
  double last() const { return exact.back(); }
  /// Gradients until the loss is at most `target`; 0: never.
  std::uint64_t until(double target) const {
    for (std::size_t k = 0; k < exact.size(); ++k)
      if (exact[k] <= target) return work[k];
    return 0;
  }
};

/// On the CPU unless a device is given: the runs are long, and what they test are decisions of the host.
class SignalProblem {
 public:
  /// Denoising: theta = log10 of alpha, or of alpha, xi, nu with the penalty beta (L/mu)^2 in the scale of
  /// the paper.
  SignalProblem(int images, Border border, const std::vector<double>& theta, double beta = 0,
                const std::string& device = "cpu:1")
      : context(Device::open(device)), images_(images), start_(theta), parameters_(log10_segments(theta)) {
    StepSignals signals(0, images, 256);
    const Shape shape{images, 1, 1, 256};
    truth_ = Tensor<double>(context, shape, signals.clean);
    const std::vector<double> noisy = signals.noisy(0.1);
    y_images = unflatten(noisy, static_cast<std::size_t>(images));
    y_ = Tensor<double>(context, shape, noisy);
    if (beta > 0) penalty_ = tv_condition_penalty(parameters_, {}, shape, false, beta / (2 * images));
    energy_ = [this, border, shape] {
      return std::make_unique<ComposedEnergy<double>>(context, y_.view(), parameters_,
                                                      signal_regulariser(border, shape));
    };
  }
  /// Sampling of a 1-D k-space, rational map, 64 parameters between .001 and .99; .1 |theta|_1 in the scale
  /// of the paper.
  explicit SignalProblem(Border border, const std::string& device = "cpu:1")
      : context(Device::open(device)), images_(10), start_(64, 0.5), parameters_(sampling_segments()) {
    const Shape shape{images_, 2, 1, 64};
    StepSignals signals(0, images_, 64);
    std::vector<double> truth, zero(64, 0);
    std::vector<std::complex<double>> kspace;
    for (const Image& x : unflatten(signals.clean, static_cast<std::size_t>(images_))) {
      truth.insert(truth.end(), x.begin(), x.end());
      truth.insert(truth.end(), zero.begin(), zero.end());
      add_kspace(x, signals.random, kspace);
    }
    truth_ = Tensor<double>(context, shape, truth);
    y_ = Tensor<double>(context, shape, std::vector<double>(shape.count(), 0));
    penalty_ = sampling_penalty(parameters_, 0.1 / (2 * images_), 0);
    energy_ = [this, border, shape, kspace] {
      return std::make_unique<ComposedEnergy<double>>(
          context, shape, kspace, SamplingPattern(PatternKind::free, 1, 64, SamplingMap::rational),
          parameters_, signal_regulariser(border, shape));
    };
  }

  BilevelProblem<double> problem() const {
    return BilevelProblem<double>(energy_(), truth_.view(), parameters_, penalty_);
  }
  /// 2N f at theta, the lower level solved to 1e-11.
  double exact(const std::vector<double>& theta) {
    const BilevelProblem<double> of = problem();
    Observer silent;
    UpperOptions options;
    UpperOracle<double> oracle(context, of, options, silent);
    UpperPoint<double> at = oracle.point();
    copy<double>(context, y_.view(), at.x.view());
    at.theta = theta;
    oracle.solve(at, 1e-11);
    return 2 * images_ * at.loss.value;
  }
  SignalRun run(UpperOptimiser<double>& method, const UpperState* resume = nullptr, bool solve_anew = true) {
    const BilevelProblem<double> of = problem();
    SignalRun out;
    out.report = method.run(context, of, start_, y_.view(), out.seen, resume);
    out.x = download<double>(context, method.reconstructions());
    if (!solve_anew) return out;
    std::vector<IterationRecord> all = out.seen.records;
    all.push_back(out.report.last);
    for (std::size_t k = 0; k < all.size(); ++k) {
      out.exact.push_back(exact(all[k].theta));
      out.work.push_back(all[k > 0 ? k - 1 : 0].work.gradients);
    }
    return out;
  }

  Context context;
  std::vector<Image> y_images;

 private:
  static std::vector<Segment> sampling_segments() {
    Segment s{"s", Transform::identity, 0.5, 0.001, 0.99, true};
    s.shape = {64};
    s.values = std::vector<double>(64, 0.5);
    return {s,
            {"alpha", Transform::identity, 1e-2, 0, 1, false},
            {"nu", Transform::identity, 1e-2, 0, 1, false},
            {"xi", Transform::identity, 1e-4, 0, 1, false}};
  }
  /// F x + .05 (a + ib)/sqrt 2, F unitary, all a before all b.
  static void add_kspace(const Image& x, LegacyRandom& random, std::vector<std::complex<double>>& kspace) {
    Image planes = x;
    planes.resize(2 * x.size(), 0);
    planes = oracle::fourier(1, static_cast<int>(x.size()), planes);
    for (double& v : planes) v += 0.05 * random.normal() / std::sqrt(2);
    for (const auto& v : complex_of<double>(planes, x.size())) kspace.push_back(v);
  }

  int images_;
  std::vector<double> start_;
  Parameters parameters_;
  Tensor<double> truth_, y_;
  Penalty penalty_;
  std::function<std::unique_ptr<ComposedEnergy<double>>()> energy_;
};

}  // namespace bilevel::testing_support
