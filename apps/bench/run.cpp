#include "apps/bench/run.hpp"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <set>

#include "apps/bench/cases.hpp"
#include "apps/bench/report.hpp"
#include "apps/common/exit_codes.hpp"
#include "bilevel/core/error.hpp"
#include "device/fft.hpp"
#include "device/launch_list.hpp"

namespace bilevel_app::bench {

using namespace bilevel;

namespace {

/// One precision on one device.
template <class T>
class Bench {
 public:
  Bench(Context& context, const Options& options, Report& report)
      : context_(context),
        options_(options),
        report_(report),
        arrays_(context, options.images, options.size) {}

  void run() {
    const std::vector<Case<T>> cases = kernel_cases<T>();
    const Case<T>& fma = cases.front();
    const Timing multiply_add = time(fma);
    const double pixels = static_cast<double>(arrays_.pixels()), array = 2 * sizeof(T) * pixels;
    report_.limits({sizeof(T) == sizeof(float) ? "float" : "double",
                    array / arrays_.copy_time(array, options_.min_time),
                    fma.flops * pixels / multiply_add.seconds});
    for (const Case<T>& c : cases) report("kernel", c, &c == &fma ? multiply_add : time(c));
    const Case<T> iteration = cg_iteration_case<T>();
    report("iteration", iteration, time(iteration));
    if (context_.impl().backend->records()) recorded(iteration);
    for (const int size : {256, 1024}) fourier(size);
    report_.end_precision();
  }

 private:
  Timing time(const Case<T>& c) {
    arrays_.reset();
    const Timing t = time_launches(context_, options_.min_time, [&] { c.launch(arrays_); });
    arrays_.verify(c.kernel);
    return t;
  }

  /// The same in recordings of several iterations, as solvers launch them.
  void recorded(Case<T> c) {
    constexpr int iterations = 16;
    LaunchList list(context_);
    arrays_.reset();
    Timing t = time_launches(context_, options_.min_time, [&] {
      list.run({}, [&] {
        for (int k = 0; k < iterations; ++k) c.launch(arrays_);
      });
    });
    arrays_.verify(c.kernel);
    t.seconds /= iterations;
    t.launches /= iterations;
    c.variant += ", recorded";
    report("iteration", c, t);
  }

  void report(const char* kind, const Case<T>& c, const Timing& t) {
    const double pixels = static_cast<double>(arrays_.pixels()), bytes = c.bytes() * pixels;
    report_.line({kind, c.kernel, c.variant, pixels, bytes, c.flops * pixels, t,
                  arrays_.copy_time(bytes, options_.min_time)});
  }

  /// Forward transforms of about as many points as the batch has pixels, out of place. Counted: each array
  /// once, and 5 N log2 N flops (half for real images).
  void fourier(int size) {
    const double points = static_cast<double>(size) * size;
    const int n = std::max(1, static_cast<int>(std::lround(static_cast<double>(arrays_.pixels()) / points)));
    const FftShape shape{n, size, size};
    const std::size_t count = shape.points() * static_cast<std::size_t>(n);
    const std::string label = std::to_string(n) + " of " + std::to_string(size) + "x" + std::to_string(size);
    Tensor<T> in(context_, {n, 2, size, size}), out(context_, {n, 2, size, size + 2});
    fill<T>(context_, in.view(), T(0));
    T* source = in.view().device_data();
    const std::size_t known = std::min({2 * count, arrays_.pixels(), std::size_t{1} << 24});
    copy<T>(context_, View<const T>(arrays_.slot(slot_x), {1, 1, 1, static_cast<int>(known)}),
            View<T>(source, {1, 1, 1, static_cast<int>(known)}));
    auto* spectrum = reinterpret_cast<std::complex<T>*>(out.view().device_data());
    const auto add = [&](const char* kind, double words, double flops, auto launch) {
      const Timing t = time_launches(context_, options_.min_time, launch);
      const double pixels = static_cast<double>(count), bytes = words * sizeof(T) * pixels;
      report_.line({"fft", std::string("fft_") + kind, label, pixels, bytes, flops * pixels, t,
                    arrays_.copy_time(bytes, options_.min_time)});
    };
    const double logarithm = std::log2(points);
    const auto complex = make_fft<T>(context_, shape, FftKind::complex_to_complex);
    add("complex", 4, 5 * logarithm,
        [&] { complex->forward(context_, reinterpret_cast<std::complex<T>*>(source), spectrum); });
    const auto real = make_fft<T>(context_, shape, FftKind::real_to_complex);
    add("real", 1 + 2 * static_cast<double>(shape.half_points()) / points, 2.5 * logarithm,
        [&] { real->forward_real(context_, source, spectrum); });
  }

  Context& context_;
  const Options& options_;
  Report& report_;
  Arrays<T> arrays_;
};

int list(std::ostream& out) {
  std::set<std::string> names;
  for (const Case<double>& c : kernel_cases<double>())
    if (names.insert(c.kernel).second) out << c.kernel << "\n";
  if (names.size() != kernel_count<double>)
    throw Error("the list of kernels to time is not that of the library.");
  return exit_ok;
}

}  // namespace

int run(Options options, std::ostream& out) {
  if (options.list) return list(out);
  const Device device = Device::open(options.device);
  if (options.images == 0) options.images = device.kind() == DeviceKind::cuda ? 16 : 1;
  Report report(out, options.json);
  report.begin(device, options);
  if (options.use_double) {
    Context context(device);
    Bench<double>(context, options, report).run();
  }
  if (options.use_float) {
    Context context(device);
    Bench<float>(context, options, report).run();
  }
  report.close();
  return exit_ok;
}

}  // namespace bilevel_app::bench
