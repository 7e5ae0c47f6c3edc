// An observer prints the certified enclosure of the loss after every iteration, and stops the run as soon as
// the exact loss is certain to be below a goal. Run: observer

#include <bilevel/learn/upper_optimiser.hpp>
#include <cstdio>
#include <random>

using namespace bilevel;

class StopBelow : public Observer {
 public:
  explicit StopBelow(double goal) : goal_(goal) {}
  bool iteration(const IterationRecord& record) override {
    std::printf("iteration %d: loss between %.6f and %.6f\n", record.iteration, record.loss_lower,
                record.loss_upper);
    return record.loss_upper > goal_;  // false stops the run
  }
  void finished(const UpperReport& report) override {
    std::printf("%s after %d iterations\n", upper_status_name(report.status), report.last.iteration);
  }

 private:
  double goal_;
};

int main() {
  const Shape shape{1, 1, 48, 48};
  std::mt19937_64 generator(1);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<double> clean, noisy;
  for (int row = 0; row < shape.h; ++row)
    for (int column = 0; column < shape.w; ++column) {
      clean.push_back((row < 16 ? 0.2 : 0.5) + (column < 24 ? 0 : 0.3));
      noisy.push_back(clean.back() + noise(generator));
    }

  Context context(Device::open("auto"));
  Tensor<double> truth(context, shape, clean), data(context, shape, noisy);
  Parameters parameters = tv_parameters();
  BilevelProblem<double> problem(std::make_unique<ComposedEnergy<double>>(context, data.view(), parameters),
                                 truth.view(), parameters);
  StopBelow observer(0.4);
  make_maid<double>({})->run(context, problem, parameters.initial(), data.view(), observer);
}
