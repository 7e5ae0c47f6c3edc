// Learns total variation denoising with an upper-level method of one's own: gradient descent that asks for
// better accuracies until its gradient is certain and its step certainly lowers the loss. Limits, observers,
// checkpoints and reports are the library's. Prints every step. Run: own_method [DEVICE]

#include <bilevel/learn/upper_method.hpp>
#include <cmath>
#include <cstdio>
#include <random>
#include <utility>

using namespace bilevel;

class Descent final : public UpperMethod<double> {
 public:
  explicit Descent(UpperOracle<double>& oracle)
      : UpperMethod(oracle), now_(oracle.point()), next_(oracle.point()) {}
  UpperPoint<double>& point() override { return now_; }

  /// z with |z - grad f| <= omega < |z|/2, or the end.
  void prepare() override {
    for (;; accuracy_ /= 2) {
      oracle().solve(now_, accuracy_);
      HypergradientRequest request;
      request.delta = accuracy_;
      gradient_ = oracle().gradient(now_, request);
      size_ = 0;
      for (const double z : gradient_.z) size_ += z * z;
      size_ = std::sqrt(size_);
      if (size_ + gradient_.omega <= oracle().options().schedule.tolerance)
        throw UpperStop{UpperStatus::stationary, "The gradient is small enough."};
      if (size_ > 2 * gradient_.omega) return;
    }
  }

  /// theta+ = P(theta - a z): refines until the enclosures tell whether the loss falls, and halves a where it
  /// does not.
  IterationRecord step() override {
    for (int trial = 0; trial < 50; ++trial) {
      next_.theta = now_.theta;
      for (std::size_t j = 0; j < next_.theta.size(); ++j) next_.theta[j] -= length_ * gradient_.z[j];
      next_.theta = oracle().problem().parameters().project(next_.theta);
      copy<double>(oracle().context(), std::as_const(now_.x).view(), next_.x.view());  // a start nearby
      oracle().solve(next_, accuracy_);
      if (next_.loss.lower >= now_.loss.upper) {
        length_ /= 2;
        continue;
      }
      if (next_.loss.upper >= now_.loss.lower) {
        accuracy_ /= 2;
        oracle().solve(now_, accuracy_);
        continue;
      }
      IterationRecord done = record("accepted");
      done.step = length_;
      std::swap(now_, next_);
      length_ *= 3;
      return done;
    }
    throw UpperStop{UpperStatus::line_search_failed, "No step certainly lowers the loss."};
  }

  IterationRecord record(const char* status) override {
    IterationRecord r = oracle().record(now_, status);
    r.gradient = gradient_.z;
    r.gradient_norm = size_;
    r.error_bound = gradient_.omega;
    return r;
  }

  // For checkpoints.
  void save(UpperState& s) const override { s.numbers = {{"accuracy", {accuracy_}}, {"length", {length_}}}; }
  void restore(const UpperState& s) override {
    accuracy_ = s.number("accuracy");
    length_ = s.number("length");
  }

 private:
  UpperPoint<double> now_, next_;
  HypergradientResult gradient_;
  double accuracy_ = 0.1, length_ = 0.1, size_ = 0;
};

struct Printer final : Observer {
  bool iteration(const IterationRecord& r) override {
    std::printf("iteration %d: loss %.6f to %.6f, |z| %.4f, omega %.4f\n", r.iteration, r.loss_lower,
                r.loss_upper, r.gradient_norm, r.error_bound);
    return true;
  }
};

int main(int argc, char** argv) {
  const Shape shape{1, 1, 32, 32};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  for (int row = 0; row < shape.h; ++row)
    for (int column = 0; column < shape.w; ++column) {
      clean.push_back((row < 11 ? 0.2 : 0.5) + (column < 16 ? 0 : 0.3));
      noisy.push_back(clean.back() + noise(generator));
    }
  Context context(Device::open(argc > 1 ? argv[1] : "auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);
  const Parameters parameters = tv_parameters();
  auto energy = std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters);
  const BilevelProblem<double> problem(std::move(energy), truth.view(), parameters);

  UpperOptions options;
  options.schedule.tolerance = 2e-2;
  const auto optimiser = make_upper_optimiser<double>(
      "descent", options, [](UpperOracle<double>& oracle) { return std::make_unique<Descent>(oracle); });
  Printer printer;
  const UpperReport report = optimiser->run(context, problem, parameters.initial(), data.view(), printer);
  std::printf("%s: alpha %.4g, nu %.4g\n", upper_status_name(report.status),
              parameters.value("alpha", report.theta), parameters.value("nu", report.theta));
}
