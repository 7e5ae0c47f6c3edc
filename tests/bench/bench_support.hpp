#pragma once

// Limits of this machine, measured in the same run as what is compared with them, and the training problem.

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <vector>

#include "bilevel/io/image_file.hpp"
#include "bilevel/learn/upper_optimiser.hpp"

namespace bilevel::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Shortest of `repeats` runs, seconds.
template <class F>
double best_time(int repeats, F f) {
  double best = 1e300;
  for (int k = 0; k < repeats; ++k) {
    const double start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best;
}

inline Device device() {
  const char* name = std::getenv("BILEVEL_BENCH_DEVICE");
  return Device::open(name ? name : "cpu");
}

/// Bytes per second of a = b + s c with three arrays of `count` elements, each counted once.
template <class T>
double triad(std::size_t count, int threads) {
  std::vector<T> a(count, T(1)), b(count, T(2)), c(count, T(3));
  T *pa = a.data(), *pb = b.data(), *pc = c.data();
  const double t = best_time(20, [=] {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::size_t i = 0; i < count; ++i) pa[i] = pb[i] + T(3) * pc[i];
  });
  return 3.0 * static_cast<double>(count * sizeof(T)) / t;
}

/// Elements per second of x / sqrt(x x + c) in L1, on `threads` threads.
template <class T>
double root_rate(int threads) {
  constexpr int n = 1024, rounds = 2000;
  double best = 1e300;
#pragma omp parallel num_threads(threads)
  {
    alignas(64) T x[n], y[n];
    for (int i = 0; i < n; ++i) x[i] = T(i + 1);
    for (int k = 0; k < 10; ++k) {
      const double start = now();
      for (int r = 0; r < rounds; ++r) {
        for (int i = 0; i < n; ++i) y[i] = x[i] / std::sqrt(x[i] * x[i] + T(1e-4));
        asm volatile("" ::"r"(y) : "memory");
      }
      const double t = now() - start;
#pragma omp critical
      best = std::min(best, t);
    }
  }
  return static_cast<double>(threads) * n * rounds / best;
}

/// Floating-point operations per second of independent fused multiply-adds, on `threads` threads.
template <class T>
double fma_rate(int threads) {
  constexpr int lanes = 512 / sizeof(T), rounds = 20000;
  double best = 1e300;
#pragma omp parallel num_threads(threads)
  {
    alignas(64) T acc[lanes];
    for (int i = 0; i < lanes; ++i) acc[i] = T(i);
    for (int k = 0; k < 10; ++k) {
      const double start = now();
      for (int r = 0; r < rounds; ++r)
#pragma GCC unroll 8
        for (int i = 0; i < lanes; ++i) acc[i] = acc[i] * T(0.999) + T(0.001);
      asm volatile("" ::"r"(acc) : "memory");
      const double t = now() - start;
#pragma omp critical
      best = std::min(best, t);
    }
  }
  return 2.0 * threads * lanes * rounds / best;
}

/// 25 crops 96x96 of real photographs (a folder named by BILEVEL_BENCH_DATA, or the shared Kodak images), or
/// a synthetic stand-in when there are none; noise sigma 0.1, seed 1.
struct TrainingData {
  std::vector<double> clean, noisy;
  Shape shape{25, 1, 96, 96};
  bool real = false;
};

inline TrainingData training_data() {
  TrainingData d;
  const char* folder = std::getenv("BILEVEL_BENCH_DATA");
  const std::filesystem::path path = folder
                                         ? std::filesystem::path(folder)
                                         : std::filesystem::path(BILEVEL_SHARED_DEFAULT) / "data" / "kodak";
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  const std::size_t want = d.shape.count();
  if (std::filesystem::exists(path)) {
    const auto files = list_images(path);
    for (int pass = 0; d.clean.size() < want && pass < 25; ++pass)
      for (const auto& file : files) {
        const HostImage image = to_luma(read_image(file));
        const int row = (image.height - 96) / 2, column = (image.width - 96) / 2 + 100 * pass;
        if (row < 0 || column + 96 > image.width || d.clean.size() >= want) continue;
        for (int r = 0; r < 96; ++r) {
          const auto begin = image.pixels.begin() + (row + r) * image.width + column;
          d.clean.insert(d.clean.end(), begin, begin + 96);
        }
      }
    d.real = d.clean.size() == want;
  }
  if (!d.real) {
    d.clean.clear();
    std::uniform_real_distribution<double> uniform;
    for (int i = 0; i < 25; ++i) {
      std::vector<double> image(96 * 96, uniform(random));
      for (int blob = 0; blob < 30; ++blob) {
        const double r0 = 96 * uniform(random), c0 = 96 * uniform(random), size = 4 + 20 * uniform(random);
        const double level = uniform(random), slope = 0.02 * normal(random);
        for (int r = 0; r < 96; ++r)
          for (int c = 0; c < 96; ++c)
            if (std::hypot(r - r0, c - c0) < size)
              image[r * 96 + c] = std::clamp(level + slope * (c - c0), 0.0, 1.0);
      }
      d.clean.insert(d.clean.end(), image.begin(), image.end());
    }
  }
  d.noisy = d.clean;
  for (double& v : d.noisy) v += 0.1 * normal(random);
  return d;
}

/// Anisotropic (or isotropic) TV denoising, alpha and nu learned from exp(-5), no ridge.
template <class T>
struct TrainingProblem {
  Context context;
  Tensor<T> truth, data;
  Parameters parameters;
  std::unique_ptr<BilevelProblem<T>> problem;

  TrainingProblem(const TrainingData& d, bool isotropic)
      : context(device()),
        truth(context, d.shape, std::vector<T>(d.clean.begin(), d.clean.end())),
        data(context, d.shape, std::vector<T>(d.noisy.begin(), d.noisy.end())),
        parameters({{"alpha", Transform::exp, std::exp(-5.0), 1e-8, 1e3, true},
                    {"nu", Transform::exp, std::exp(-5.0), 1e-6, 1e2, true},
                    {"xi", Transform::exp, 0, 0, 1, false}}) {
    TvOptions options;
    options.isotropic = isotropic;
    problem = std::make_unique<BilevelProblem<T>>(
        std::make_unique<ComposedEnergy<T>>(context, data.view(), parameters, options), truth.view(),
        parameters);
  }
};

}  // namespace bilevel::bench
