// Every kernel: bytes per second (each array counted once) against the triad of the same run, on arrays of
// the same size and on large ones, and its arithmetic against the measured rate of x / sqrt(x x + c) or of
// fused multiply-adds.
//   ratio_triad        bytes/s / triad at this size       ratio_memory  bytes/s / triad out of cache
//   ratio_arithmetic   time the square roots and divisions (or multiply-adds) alone need / time

#include <benchmark/benchmark.h>

#include <map>
#include <string>

#include "bench_support.hpp"
#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

template <class T>
struct Limits {
  int threads;
  double memory, root, fma;
  std::map<std::size_t, double> triads;

  static Limits& get() {
    static Limits l{device().threads(),
                    triad<T>(std::size_t(1) << 24, device().threads()),
                    root_rate<T>(device().threads()),
                    fma_rate<T>(device().threads()),
                    {}};
    return l;
  }
  double triad_at(std::size_t count) {
    if (!triads.contains(count)) triads[count] = triad<T>(count, threads);
    return triads[count];
  }
};

template <class T>
struct Fixture {
  Context context{device()};
  Shape shape;
  Parameters parameters = tv_parameters();
  Tensor<T> a, b, c, d, weights;
  std::unique_ptr<ComposedEnergy<T>> energy;
  Frame frame{context};
  ActiveSet active;
  View<double> sums;
  BallInputs ball;

  Fixture(Shape s, bool isotropic)
      : shape(s),
        a(context, s, noise(s)),
        b(context, s, noise(s)),
        c(context, s, noise(s)),
        d(context, s, noise(s)),
        weights(context, {4 * s.n, 1, s.h, s.w}),
        active(context, frame, s.n),
        sums(frame.view<double>({16, s.n, 1, 1})) {
    TvOptions options;
    options.isotropic = isotropic;
    energy = std::make_unique<ComposedEnergy<T>>(context, b.view(), parameters, options);
    ball = {frame.view<double>({s.n, 1, 1, 1}), frame.view<double>({s.n, 1, 1, 1})};
    fill<double>(context, ball.epsilon, 1e-3);
    fill<double>(context, ball.gradient, 1e-3);
    energy->linearise(context, active.active(), a.view(), {}, weights.view(), d.view());
  }
  static std::vector<T> noise(const Shape& s) {
    std::mt19937_64 random(7);
    std::uniform_real_distribution<double> uniform;
    std::vector<T> v(s.count());
    for (T& e : v) e = static_cast<T>(uniform(random));
    return v;
  }
  Scalars row(int k) const { return {sums.device_data() + k * shape.n, {shape.n, 1, 1, 1}}; }
};

/// Words per pixel and roots-with-divisions or flops per pixel of one run of `f`.
template <class T, class F>
void measure(benchmark::State& state, Fixture<T>& fixture, double words, double roots, double flops, F f) {
  for (auto _ : state) f();
  const double pixels = static_cast<double>(fixture.shape.count());
  Limits<T>& limits = Limits<T>::get();
  const double seconds = best_time(30, f);
  const double bytes = words * sizeof(T) * pixels / seconds;
  state.counters["GB/s"] = bytes / 1e9;
  state.counters["ns/px"] = seconds / pixels * 1e9;
  state.counters["ratio_triad"] = bytes / limits.triad_at(fixture.shape.count());
  state.counters["ratio_memory"] = bytes / limits.memory;
  state.counters["ratio_arithmetic"] = pixels * std::max(roots / limits.root, flops / limits.fma) / seconds;
}

template <class T>
void register_shape(const std::string& label, Shape s, bool iso) {
  const auto add = [&](const char* kernel, double words, double roots, double flops, auto run) {
    const std::string name = std::string(kernel) + "/" + (sizeof(T) == 4 ? "float" : "double") + "/" +
                             (iso ? "isotropic" : "anisotropic") + "/" + label;
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
      Fixture<T> f(s, iso);
      measure<T>(state, f, words, roots, flops, [&] { run(f); });
    })->MinTime(0.05);
  };
  const double r = iso ? 1 : 2;
  add("tv_energy", 3, r, 30, [](Fixture<T>& f) {
    f.energy->value_and_gradient(f.context, f.active.active(), f.a.view(), f.c.view(),
                                 {f.row(0), f.row(1), f.row(2)});
  });
  add("tv_hessian", iso ? 5 : 4, 0, iso ? 17 : 13, [](Fixture<T>& f) {
    f.energy->hessian_product(f.context, f.active.active(), f.weights.view(), f.a.view(), f.c.view(),
                              f.row(0));
  });
  add("tv_linearise", iso ? 5 : 4, r + 1, 30, [](Fixture<T>& f) {
    f.energy->linearise(f.context, f.active.active(), f.a.view(), {}, f.weights.view(), f.d.view());
  });
  add("tv_mixed_adjoint", 2, r, 20, [](Fixture<T>& f) {
    f.energy->mixed_adjoint(f.context, f.active.active(), f.a.view(), f.b.view(), f.sums);
  });
  add("tv_mixed_forward", 2, r, 20, [](Fixture<T>& f) {
    const std::vector<double> direction(f.energy->parameters(), 1);
    f.energy->mixed_forward(f.context, f.active.active(), f.a.view(), direction, f.c.view(), f.row(0));
  });
  add("tv_bound", 3, 10 * r, 100, [](Fixture<T>& f) {
    f.energy->directional_sums(f.context, f.active.active(), f.a.view(), f.b.view(), f.c.view(), f.ball,
                               f.sums);
  });
  if (!iso) return;
  add("combine", 3, 0, 3, [](Fixture<T>& f) {
    kernel_table<T>(f.context).combine(
        stream_of(f.context), {f.active.active(), f.shape.image(), f.a.view().device_data(),
                               f.b.view().device_data(), 1, 0.5, nullptr, nullptr, f.c.view().device_data()});
  });
  add("dot", 2, 0, 2, [](Fixture<T>& f) {
    kernel_table<T>(f.context).dot(stream_of(f.context),
                                   {f.active.active(), f.shape.image(), f.a.view().device_data(),
                                    f.b.view().device_data(), false, f.row(0).device_data()});
  });
  add("momentum_step", 5, 0, 5, [](Fixture<T>& f) {
    kernel_table<T>(f.context).momentum_step(stream_of(f.context),
                                             {f.active.active(), f.shape.image(), f.a.view().device_data(),
                                              f.c.view().device_data(), f.b.view().device_data(), 1e-9, 0.5});
  });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const Device d = device();
  std::printf(
      "device %s, %s; double: triad %.1f GB/s out of cache, %.1f at 1024x1024, fma %.1f GFLOP/s, x/sqrt %.2f "
      "G/s\n",
      d.name().c_str(), d.instruction_set().c_str(), Limits<double>::get().memory / 1e9,
      Limits<double>::get().triad_at(1 << 20) / 1e9, Limits<double>::get().fma / 1e9,
      Limits<double>::get().root / 1e9);
  std::printf("float: triad %.1f GB/s out of cache, %.1f at 1024x1024, fma %.1f GFLOP/s, x/sqrt %.2f G/s\n",
              Limits<float>::get().memory / 1e9, Limits<float>::get().triad_at(1 << 20) / 1e9,
              Limits<float>::get().fma / 1e9, Limits<float>::get().root / 1e9);
  for (bool iso : {true, false}) {
    register_shape<double>("1024x1024", {1, 1, 1024, 1024}, iso);
    register_shape<float>("1024x1024", {1, 1, 1024, 1024}, iso);
    register_shape<double>("25x96x96", {25, 1, 96, 96}, iso);
    register_shape<float>("25x96x96", {25, 1, 96, 96}, iso);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
