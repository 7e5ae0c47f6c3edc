// Magnetic resonance, 2 threads by default (BILEVEL_BENCH_DEVICE sets another device):
//   gradient   value and gradient of the lower level, and its Hessian product, against the two Fourier
//              transforms of each image alone (complex, in place, planned), in the same run
//   accuracy   L-BFGS-B with accuracies that follow the progress against fixed ones of 1e-4 and 1e-6, and
//   MAID,
//              in operator applications per image until the same loss
//   size       20 upper iterations of a free pattern, one slice, seconds and memory per pixel by image size,
//              the time divided by log2 of the pixels, which is what the transforms grow by
// Brain slices when BILEVEL_SHARED names the sample data, ellipses otherwise.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench_support.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "device/backend.hpp"
#include "device/fft.hpp"

namespace {

using namespace bilevel;
using namespace bilevel::bench;

Device bench_device() {
  return Device::open(std::getenv("BILEVEL_BENCH_DEVICE") ? std::getenv("BILEVEL_BENCH_DEVICE") : "cpu:2");
}

/// Slice k, 0..7, at size x size by bilinear interpolation.
std::vector<double> slice(int k, int size) {
  const char* shared = std::getenv("BILEVEL_SHARED");
  const std::string file = std::string(shared ? shared : BILEVEL_SHARED_DEFAULT) +
                           "/mri/colin27/colin27_ax0" + std::to_string(62 + 3 * k) + ".png";
  const std::string in_data = std::string(shared ? shared : BILEVEL_SHARED_DEFAULT) +
                              "/data/mri/colin27/colin27_ax0" + std::to_string(62 + 3 * k) + ".png";
  std::vector<double> out(static_cast<std::size_t>(size) * size);
  HostImage image;
  for (const std::string& path : {file, in_data})
    if (image.pixels.empty() && std::filesystem::exists(path)) image = read_image(path);
  for (int r = 0; r < size; ++r)
    for (int c = 0; c < size; ++c) {
      double& v = out[static_cast<std::size_t>(r) * size + c];
      if (image.pixels.empty()) {  // ellipses
        const double y = (r + 0.5) / size - 0.5, x = (c + 0.5) / size - 0.5, t = 0.02 * k;
        v = (x * x / .14 + y * y / .2 < 1) * 1.0 - (x * x / .11 + y * y / .17 < 1) * 0.6 +
            ((x - .1) * (x - .1) / .01 + (y + t) * (y + t) / .02 < 1) * 0.3;
        continue;
      }
      const double y = std::clamp((r + 0.5) * image.height / size - 0.5, 0.0, image.height - 1.001),
                   x = std::clamp((c + 0.5) * image.width / size - 0.5, 0.0, image.width - 1.001);
      const auto i = static_cast<std::size_t>(y), j = static_cast<std::size_t>(x),
                 w = static_cast<std::size_t>(image.width);
      const double fy = y - static_cast<double>(i), fx = x - static_cast<double>(j);
      const auto at = [&](std::size_t a, std::size_t b) {
        return static_cast<double>(image.pixels[a * w + b]);
      };
      v = (1 - fy) * ((1 - fx) * at(i, j) + fx * at(i, j + 1)) +
          fy * ((1 - fx) * at(i + 1, j) + fx * at(i + 1, j + 1));
    }
  return out;
}

template <class T>
struct Problem {
  Shape shape;
  Context context{bench_device()};
  Tensor<T> truth;
  std::vector<std::complex<T>> kspace;
  SamplingPattern pattern;
  Parameters parameters;

  Problem(int images, int size, double sigma)
      : shape{images, 2, size, size},
        pattern(PatternKind::free, size, size),
        parameters(mri_parameters(pattern, {1, 2e-3, 1e-2, 1e-2})) {
    std::vector<T> values(shape.count(), T(0));
    for (int k = 0; k < images; ++k) {
      const std::vector<double> s = slice(k, size);
      std::copy(s.begin(), s.end(), values.begin() + static_cast<std::ptrdiff_t>(2 * s.size()) * k);
    }
    truth = Tensor<T>(context, shape, values);
    FourierSampling<T> fourier(context, shape);
    Tensor<T> y(context, fourier.kspace());
    {
      Frame frame(context);
      ActiveSet all(context, frame, images);
      fourier.apply(context, all.active(), std::as_const(truth).view(), y.view());
    }
    const std::vector<T> planes = download(context, y);
    std::mt19937_64 engine(1);
    std::normal_distribution<double> normal(0, sigma / std::sqrt(2.0));
    const std::size_t points = pattern.frequencies();
    for (int k = 0; k < images; ++k)
      for (std::size_t p = 0; p < points; ++p)
        kspace.emplace_back(planes[2 * static_cast<std::size_t>(k) * points + p] + T(normal(engine)),
                            planes[(2 * static_cast<std::size_t>(k) + 1) * points + p] + T(normal(engine)));
  }
  std::unique_ptr<ComposedEnergy<T>> energy() {
    return std::make_unique<ComposedEnergy<T>>(context, shape, kspace, pattern, parameters);
  }
};

template <class T>
void gradient(const char* precision, int size, int images) {
  Problem<T> p(images, size, 0.02);
  Context& c = p.context;
  auto energy = p.energy();
  Frame frame(c);
  ActiveSet all(c, frame, images);
  const auto scalars = [&] { return frame.view<double>({images, 1, 1, 1}); };
  const GradientSums sums{scalars(), scalars(), scalars()};
  const Scalars inner = scalars();
  Tensor<T> g(c, p.shape), inverse(c, p.shape), spectrum(c, p.shape);
  Tensor<T> weights(c, {images * energy->weight_arrays(), 2, size, size});
  const View<const T> x = std::as_const(p.truth).view();
  energy->linearise(c, all.active(), x, {}, weights.view(), inverse.view());
  const auto fft = make_fft<T>(c, {images, size, size}, FftKind::complex_to_complex);
  auto* z = reinterpret_cast<std::complex<T>*>(spectrum.view().device_data());
  copy<T>(c, x, spectrum.view());
  const int repeats = 60;
  double transforms = 1e300, all_of_it = 1e300, product = 1e300;
  for (int k = 0; k < 5; ++k) {  // in turn, so that all see the same machine
    transforms = std::min(transforms, best_time(repeats / 5, [&] {
                            fft->forward(c, z, z);
                            fft->inverse(c, z, z);
                            c.synchronise();
                          }));
    copy<T>(c, x, spectrum.view());
    all_of_it = std::min(all_of_it, best_time(repeats / 5, [&] {
                           energy->value_and_gradient(c, all.active(), x, g.view(), sums);
                           c.synchronise();
                         }));
    product = std::min(product, best_time(repeats / 5, [&] {
                         energy->hessian_product(c, all.active(), weights.view(), x, g.view(), inner);
                         c.synchronise();
                       }));
  }
  std::printf(
      "gradient %s, %d complex images %dx%d: transforms %.3f ms, gradient %.3f ms (%.2f), Hessian product "
      "%.3f ms (%.2f)\n",
      precision, images, size, size, 1e3 * transforms, 1e3 * all_of_it, all_of_it / transforms, 1e3 * product,
      product / transforms);
}

/// Work at which the loss is certified to be at most the target.
struct Reach : Observer {
  double target = 0;
  double work = -1, seconds = -1;
  std::uint64_t solves = 0;
  bool iteration(const IterationRecord& r) override {
    if (r.loss <= target && work < 0) look(r);
    return true;
  }
  void look(const IterationRecord& r) {
    work = static_cast<double>(r.work.total());
    seconds = r.seconds;
    solves = r.work.solves;
  }
};

UpperReport learn(Problem<double>& p, const UpperOptions& options, const char* algorithm,
                  Observer& observer) {
  auto energy = p.energy();
  Tensor<double> first(p.context, p.shape);
  {
    Frame frame(p.context);
    ActiveSet all(p.context, frame, p.shape.n);
    energy->fourier()->zero_filled(p.context, all.active(), first.view());
  }
  const BilevelProblem<double> problem(std::move(energy), std::as_const(p.truth).view(), p.parameters,
                                       sampling_penalty(p.parameters, 1e-5, 0));
  const auto optimiser =
      algorithm == std::string("maid") ? make_maid<double>(options) : make_lbfgsb<double>(options);
  return optimiser->run(p.context, problem, p.parameters.initial(), std::as_const(first).view(), observer);
}

/// Applications per image that each way takes to the same loss, on several problems: which point a run passes
/// is chance on one alone.
void accuracy(const std::vector<int>& sizes, int images) {
  UpperOptions adaptive;
  adaptive.max_iterations = 60;
  adaptive.scaling = StepScaling::lbfgs;
  struct Way {
    const char* name;
    const char* algorithm;
    UpperOptions options;
    double log_ratio = 0;
  };
  std::vector<Way> ways{{"adaptive", "lbfgsb", adaptive}};
  for (const auto& [name, epsilon] : {std::pair("fixed 1e-4", 1e-4), std::pair("fixed 1e-6", 1e-6)}) {
    UpperOptions fixed = adaptive;
    fixed.schedule.fixed_accuracy = true;
    fixed.schedule.epsilon0 = fixed.schedule.delta0 = epsilon;
    ways.push_back({name, "lbfgsb", fixed});
  }
  ways.push_back({"MAID", "maid", adaptive});
  ways.back().options.max_iterations = 300;
  std::printf(
      "accuracy, %d slices, operator applications per image (solves) by L-BFGS-B to 1 %% above the loss of "
      "its "
      "60 iterations:\n",
      images);
  for (int size : sizes) {
    double target = 0, first = 0;
    {
      Problem<double> p(images, size, 0.01);
      Observer silent;
      target = learn(p, adaptive, "lbfgsb", silent).last.loss * 1.01;
    }
    std::printf("  %3dx%-3d", size, size);
    for (Way& way : ways) {
      Problem<double> p(images, size, 0.01);
      Reach reach;
      reach.target = target;
      const UpperReport r = learn(p, way.options, way.algorithm, reach);
      if (reach.work < 0 && r.last.loss <= target) reach.look(r.last);
      if (first == 0) first = reach.work;
      way.log_ratio += std::log(reach.work / first) / static_cast<double>(sizes.size());
      if (reach.work < 0)
        std::printf("  %s: not reached", way.name);
      else
        std::printf("  %s %.0f (%llu)", way.name, reach.work / images,
                    static_cast<unsigned long long>(reach.solves));
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  std::printf("  geometric mean, times adaptive:");
  for (const Way& way : ways)
    if (std::isfinite(way.log_ratio)) std::printf("  %s %.2f", way.name, std::exp(way.log_ratio));
  std::printf("\n");
}

void size(int n) {
  Problem<double> p(1, n, 0.01);
  UpperOptions o;
  o.max_iterations = 20;
  Observer silent;
  const double start = now();
  const UpperReport r = learn(p, o, "lbfgsb", silent);
  const double seconds = now() - start, pixels = static_cast<double>(n) * n;
  const double work = static_cast<double>(r.last.work.total());
  std::printf(
      "size %4dx%-4d: %2d upper iterations, %6.0f applications, %7.2f s, %.1f ns per application and pixel, "
      "%.2f per log2(pixels), device memory %.0f bytes per pixel\n",
      n, n, r.last.iteration, work, seconds, 1e9 * seconds / work / pixels,
      1e9 * seconds / work / pixels / std::log2(pixels),
      static_cast<double>(p.context.counters().peak_bytes) / pixels);
}

}  // namespace

/// Arguments: any of gradient, accuracy, size; all without.
int main(int argc, char** argv) {
  const auto wanted = [&](const char* name) {
    return argc < 2 ||
           std::any_of(argv + 1, argv + argc, [&](const char* a) { return a == std::string(name); });
  };
  std::printf("%s, %s\n", bench_device().name().c_str(), bench_device().instruction_set().c_str());
  if (wanted("gradient")) {
    gradient<double>("double", 256, 8);
    gradient<float>("float", 256, 8);
  }
  if (wanted("accuracy")) accuracy({40, 56, 64, 80, 96, 128}, 8);
  if (wanted("size"))
    for (int n : {128, 256, 512, 1024}) {
      size(n);
      std::fflush(stdout);
    }
}
