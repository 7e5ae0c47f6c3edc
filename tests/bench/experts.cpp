// Fields-of-experts kernels, hand-tuned and generic, against the rate of fused multiply-adds measured in the
// same run: 30 filters of 7x7 taps, symmetric padding, charbonnier.
//   GFLOP/s         2 * 49 * 30 per pixel and pass (kernels/table.hpp) / time; pointwise arithmetic not
//   counted ratio_fma       GFLOP/s / fused multiply-adds alone ratio_gradient  time / time of value and
//   gradient on the same images speedup         time of the generic body, the baseline's / time

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "bench_support.hpp"
#include "device/backend.hpp"
#include "kernels/experts_args.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

constexpr int filters = 30, size = 7, taps = size * size;

template <class T>
double fma_limit() {
  static const double rate = fma_rate<T>(device().threads());
  return rate;
}

/// The device with the generic kernel bodies of the CPU.
Device generic_device() {
  setenv("BILEVEL_CPU_OVERRIDES", "off", 1);
  Device generic = device();
  unsetenv("BILEVEL_CPU_OVERRIDES");
  return generic;
}

template <class T>
class Fixture {
 public:
  explicit Fixture(Shape s, const Device& on = device())
      : shape_(s),
        context_(on),
        table_(kernel_table<T>(context_)),
        x_(context_, s, noise<T>(s.count(), 1, 0, 1)),
        y_(context_, s, noise<T>(s.count(), 2, 0, 1)),
        q_(context_, s, noise<T>(s.count(), 3, -1, 1)),
        out_(context_, s),
        near_x_(context_, s, noise<T>(s.count(), 4, 0, 1)),
        near_q_(context_, s, noise<T>(s.count(), 5, 0, 1)),
        maps_(context_, {filters * s.n, 1, s.h, s.w}, noise<T>(filters * s.count(), 6, 0.1, 1)),
        dual_(context_, {filters * s.n, 1, s.h, s.w}, noise<float>(filters * s.count(), 7, -0.7, 0.7)),
        filters_(context_, {2 * filters, 1, size, size}, noise<T>(2 * filters * taps, 8, -0.2, 0.2)),
        weights_(context_, {4, 1, 1, filters}, noise<T>(4 * filters, 9, 0.01, 0.1)),
        scalars_(context_, {4, 1, 1, s.n}, noise<double>(4 * s.n, 10, 1e-3, 2e-3)),
        shared_(context_, {2, 1, 1, filters}, noise<double>(2 * filters, 11, 1, 2)),
        sums_(context_, {2 + taps, 1, filters, s.n}),
        frame_(context_),
        active_(context_, frame_, s.n) {}

  double pixels() const { return static_cast<double>(shape_.count()); }
  double best(const std::function<void(Fixture&)>& run) {
    run(*this);
    return best_time(pixels() > 2e6 ? 5 : 20, [&] {
      run(*this);
      context_.synchronise();
    });
  }

  void energy() {
    table_.experts_energy(stream(), {model(), active(), at(x_), at(y_), at(out_), scalar(0), scalar(1),
                                     scalar(2), 1.1e-16, 60, at(shared_)});
  }
  void hessian() {
    table_.experts_hessian(stream(), {model(), active(), at(maps_), at(q_), at(out_), scalar(0)});
  }
  void linearise(bool with_dual) {
    table_.experts_linearise(
        stream(), {model(), active(), at(x_), with_dual ? at(dual_) : nullptr, at(maps_), at(out_)});
  }
  void dual() { table_.experts_dual(stream(), {model(), active(), at(x_), at(q_), scalar(3), at(dual_)}); }
  void mixed_adjoint() {
    table_.experts_mixed_adjoint(stream(), {model(), active(), at(x_), at(q_), at(sums_), shape_.n});
  }
  void mixed_forward() {
    table_.experts_mixed_forward(
        stream(), {model(), active(), at(x_), at(filters_) + filters * taps, at(weights_) + 2 * filters,
                   at(weights_) + 3 * filters, at(out_), scalar(0)});
  }
  void bound() {
    table_.experts_bound(stream(), {model(), active(), at(x_), at(q_), at(y_), at(near_x_), at(near_q_),
                                    scalar(3), scalar(3), 1, 8, at(shared_), at(sums_), shape_.n});
  }

 private:
  template <class V>
  static std::vector<V> noise(std::size_t count, unsigned seed, double low, double high) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> uniform(low, high);
    std::vector<V> values(count);
    for (V& v : values) v = static_cast<V>(uniform(random));
    return values;
  }
  template <class V>
  static V* at(Tensor<V>& tensor) {
    return tensor.view().device_data();
  }
  double* scalar(int k) { return at(scalars_) + k * shape_.n; }
  kernels::ExpertsModel<T> model() {
    return {static_cast<int>(shape_.h),
            static_cast<int>(shape_.w),
            filters,
            size,
            kernels::Padding::symmetric,
            kernels::Potential::charbonnier,
            T(0),
            at(filters_),
            at(weights_),
            at(weights_) + filters};
  }
  kernels::Stream stream() { return stream_of(context_); }
  Active active() { return active_.active(); }

  Shape shape_;
  Context context_;
  const kernels::Table<T>& table_;
  Tensor<T> x_, y_, q_, out_, near_x_, near_q_, maps_;
  Tensor<float> dual_;
  Tensor<T> filters_, weights_;
  Tensor<double> scalars_, shared_, sums_;
  Frame frame_;
  ActiveSet active_;
};

template <class T>
struct Kernel {
  const char* name;
  double passes;
  std::function<void(Fixture<T>&)> run;
};

template <class T>
std::vector<Kernel<T>> kernels_of() {
  using F = Fixture<T>;
  return {{"experts_energy", 2, [](F& f) { f.energy(); }},
          {"experts_hessian", 2, [](F& f) { f.hessian(); }},
          {"experts_linearise", 1, [](F& f) { f.linearise(false); }},
          {"experts_linearise/dual", 1, [](F& f) { f.linearise(true); }},
          {"experts_dual", 2, [](F& f) { f.dual(); }},
          {"experts_mixed_adjoint", 4, [](F& f) { f.mixed_adjoint(); }},
          {"experts_mixed_forward", 4, [](F& f) { f.mixed_forward(); }},
          {"experts_bound", 3, [](F& f) { f.bound(); }}};
}

void report(benchmark::State& state, double seconds, double flops, double limit) {
  for (auto _ : state) state.SetIterationTime(seconds);
  state.counters["ms"] = seconds * 1e3;
  state.counters["GFLOP/s"] = flops / seconds / 1e9;
  state.counters["ratio_fma"] = flops / seconds / limit;
}

template <class T>
void register_kernels() {
  const std::string type = sizeof(T) == 4 ? "float" : "double";
  const auto name_of = [](const Shape& s) {
    return std::to_string(s.n) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w);
  };
  const Shape training{25, 1, 96, 96};
  for (const Kernel<T>& kernel : kernels_of<T>()) {
    const std::string name = std::string(kernel.name) + "/" + type + "/" + name_of(training);
    benchmark::RegisterBenchmark(
        name.c_str(),
        [=](benchmark::State& state) {
          Fixture<T> tuned(training);
          const double seconds = tuned.best(kernel.run);
          report(state, seconds, 2.0 * taps * filters * kernel.passes * tuned.pixels(), fma_limit<T>());
          state.counters["ratio_gradient"] = seconds / tuned.best([](Fixture<T>& f) { f.energy(); });
          if (device().kind() != DeviceKind::cpu) return;
          Fixture<T> generic(training, generic_device());
          state.counters["speedup"] = generic.best(kernel.run) / seconds;
        })
        ->UseManualTime()
        ->Iterations(1);
  }
  const Shape flat[] = {{1, 1, 96, 96},   {25, 1, 96, 96},  {100, 1, 96, 96},
                        {1, 1, 256, 256}, {1, 1, 512, 512}, {1, 1, 1024, 1024}};
  for (const Kernel<T>& kernel : kernels_of<T>()) {
    if (kernel.passes != 2 || std::string(kernel.name) == "experts_dual") continue;
    for (const Shape& s : flat)
      benchmark::RegisterBenchmark(
          ("cost per pixel/" + std::string(kernel.name) + "/" + type + "/" + name_of(s)).c_str(),
          [=](benchmark::State& state) {
            Fixture<T> f(s), reference(training);
            const double seconds = f.best(kernel.run);
            report(state, seconds, 2.0 * taps * filters * kernel.passes * f.pixels(), fma_limit<T>());
            state.counters["ns/px"] = seconds / f.pixels() * 1e9;
            state.counters["ratio_25x96x96"] =
                seconds / f.pixels() / (reference.best(kernel.run) / reference.pixels());
          })
          ->UseManualTime()
          ->Iterations(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const Device d = device();
  std::printf("device %s, %s; fma %.1f GFLOP/s double, %.1f float\n", d.name().c_str(),
              d.instruction_set().c_str(), fma_limit<double>() / 1e9, fma_limit<float>() / 1e9);
  register_kernels<double>();
  register_kernels<float>();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
