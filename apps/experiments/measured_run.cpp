#include "apps/experiments/measured_run.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/common/interrupt.hpp"
#include "apps/experiments/experiment.hpp"

namespace bilevel_app::experiments {

using bilevel::IterationRecord;
using bilevel::Series;
using bilevel::View;

namespace {

class Watch final : public bilevel::Observer {
 public:
  bool iteration(const IterationRecord& record) override {
    records.push_back(record);
    return !interrupted();
  }
  bool alive() override { return !interrupted(); }

  std::vector<IterationRecord> records;
};

}  // namespace

ExactLoss::ExactLoss(bilevel::Context& context, const bilevel::BilevelProblem<double>& problem,
                     View<const double> first, double tolerance, const std::string& minimiser)
    : context_(context),
      problem_(problem),
      minimiser_(bilevel::make_minimiser<double>(minimiser)),
      x_(context, first.shape()),
      tolerance_(tolerance) {
  bilevel::copy<double>(context, first, x_.view());
}

bilevel::LossEnclosure ExactLoss::operator()(std::span<const double> theta) {
  if (interrupted()) throw Interrupted();
  problem_.energy().bind(theta);
  bilevel::SolveRequest<double> request;
  request.tolerance = tolerance_;
  const bilevel::SolveReport solved = minimiser_->minimise(context_, problem_.energy(), request, x_.view());
  bilevel::Frame frame(context_);
  bilevel::ActiveSet all(context_, frame, problem_.images());
  bilevel::Tensor<double> measures(context_, {problem_.loss().measures(), 1, 1, problem_.images()});
  problem_.loss().measure(context_, all.active(), std::as_const(x_).view(), measures.view());
  std::vector<double> unused(theta.size());
  return bilevel::enclose_loss<double>(problem_.loss(), bilevel::download(context_, measures),
                                       solved.certificate, problem_.penalty(theta, unused));
}

Scan scan(ExactLoss& exact, double low, double high, int points) {
  Scan out;
  out.curve.label = "exact loss";
  const auto at = [&exact](double t) { return exact(std::vector{t}); };
  for (int k = 0; k < points; ++k) {
    out.curve.x.push_back(low + (high - low) * k / (points - 1.0));
    out.curve.y.push_back(at(out.curve.x.back()).value);
  }
  const auto least = std::min_element(out.curve.y.begin(), out.curve.y.end());
  const auto k = static_cast<std::size_t>(least - out.curve.y.begin());
  out.best = *least;
  out.inside = k > 0 && k + 1 < out.curve.x.size();

  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double a = out.curve.x[k > 0 ? k - 1 : k], b = out.curve.x[std::min(k + 1, out.curve.x.size() - 1)];
  double c = b - ratio * (b - a), d = a + ratio * (b - a), fc = at(c).value, fd = at(d).value;
  for (int step = 0; step < 40; ++step) {
    if (fc < fd) {
      b = d, d = c, fd = fc;
      c = b - ratio * (b - a), fc = at(c).value;
    } else {
      a = c, c = d, fc = fd;
      d = a + ratio * (b - a), fd = at(d).value;
    }
  }
  out.minimiser = (a + b) / 2;
  out.least = at(out.minimiser);
  return out;
}

std::vector<Visit> MeasuredRun::visits() const {
  std::vector<Visit> out;
  double work = 0;
  for (const IterationRecord& r : records) {
    out.push_back({r.theta, work});
    work = static_cast<double>(r.work.total());
  }
  return out;
}

MeasuredRun measured(const std::string& name, bilevel::Context& context,
                     const bilevel::BilevelProblem<double>& problem,
                     bilevel::UpperOptimiser<double>& optimiser, std::span<const double> theta0,
                     View<const double> first) {
  Watch watch;
  MeasuredRun run{name, optimiser.run(context, problem, theta0, first, watch), {}};
  if (interrupted()) throw Interrupted();
  run.records = std::move(watch.records);
  run.records.push_back(run.report.last);
  return run;
}

double work_to(const MeasuredRun& run, const Gap& gap, double target) {
  for (const Visit& v : run.visits())
    if (gap(v.theta) <= target) return v.work;
  return std::numeric_limits<double>::infinity();
}

Series gap_curve(const MeasuredRun& run, const Gap& gap) {
  Series series{run.name, {}, {}};
  for (const Visit& v : run.visits()) {
    series.x.push_back(v.work);
    series.y.push_back(gap(v.theta));
  }
  return series;
}

Series accuracy_curve(const MeasuredRun& run, double IterationRecord::*which) {
  Series series{run.name, {}, {}};
  for (const IterationRecord& r : run.records) {
    series.x.push_back(r.iteration);
    series.y.push_back(r.*which);
  }
  return series;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bilevel::Panel gap_panel(const std::string& title) {
  return {title, {"operator applications, each to one image", false}, {"f \xE2\x88\x92 f*", true}, {}};
}
bilevel::Panel accuracy_panel(const std::string& title, const std::string& which) {
  return {title, {"iteration", false}, {which, true}, {}};
}

std::string ending(const MeasuredRun& run) {
  return run.name + " ended after " + std::to_string(run.report.last.iteration) +
         " iterations: " + run.report.message;
}

}  // namespace bilevel_app::experiments
