#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/lbfgs_args.hpp"
#include "tests/model/tv_lab.hpp"

// The L-BFGS kernels against the two-loop recursion on vectors (Nocedal 1980), for a quadratic with known
// Hessian.

namespace bilevel {
namespace {

using namespace testing_support;
using Vectors = std::vector<double>;
constexpr int memory = kernels::lbfgs_memory;

struct Pair {
  Vectors s, y;
};

Vectors two_loops(const std::deque<Pair>& newest_first, Vectors r) {
  Vectors first;
  for (const Pair& pair : newest_first) {
    first.push_back(dot(pair.s, r) / dot(pair.s, pair.y));
    r = add_scaled(r, -first.back(), pair.y);
  }
  const double gamma = dot(newest_first[0].s, newest_first[0].y) / dot(newest_first[0].y, newest_first[0].y);
  for (double& v : r) v *= gamma;
  for (std::size_t k = newest_first.size(); k-- > 0;) {
    const Pair& pair = newest_first[k];
    r = add_scaled(r, first[k] - dot(pair.y, r) / dot(pair.s, pair.y), pair.s);
  }
  for (double& v : r) v = -v;
  return r;
}

template <class T>
class LbfgsKernels : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LbfgsKernels, Precisions);

/// One image of `size` elements on the device.
template <class T>
struct Workbench {
  explicit Workbench(int size_)
      : size(size_),
        x(context, shape()),
        g(context, shape()),
        base(context, shape()),
        base_g(context, shape()),
        d(context, shape()),
        s(context, {memory, 1, 1, size_}, std::vector<T>(static_cast<std::size_t>(memory * size_), T(0))),
        y(context, {memory, 1, 1, size_}, std::vector<T>(static_cast<std::size_t>(memory * size_), T(0))),
        value(context, {1, 1, 1, 1}, Vectors{1.0}),
        state(context, {1, 1, 1, static_cast<int>(sizeof(kernels::LbfgsState))}),
        flags(context, {3, 1, 1, 1}, std::vector<std::uint8_t>{1, 0, 0}) {}

  Shape shape() const { return {1, 1, 1, size}; }
  const kernels::Table<T>& table() { return kernel_table<T>(context); }
  const kernels::Stream& stream() { return stream_of(context); }
  std::uint8_t* flag(int k) { return flags.view().device_data() + k; }
  kernels::LbfgsState* states() { return reinterpret_cast<kernels::LbfgsState*>(state.view().device_data()); }
  kernels::LbfgsState read_state() {
    const std::vector<std::uint8_t> raw = download(context, state);
    kernels::LbfgsState out;
    std::memcpy(&out, raw.data(), sizeof(out));
    return out;
  }
  void put(Tensor<T>& tensor, const Vectors& values) { tensor.upload(context, narrow<T>(values)); }
  Vectors get(const Tensor<T>& tensor) {
    const std::vector<T> values = download(context, tensor);
    return {values.begin(), values.end()};
  }
  void start() {
    context.impl().scalar_table().lbfgs_start(
        stream(), {1, flag(0), value.view().device_data(), states(), flag(1), flag(2)});
  }
  void update(double mu) {
    table().lbfgs_update(stream(),
                         {active.active(), static_cast<std::size_t>(size), 1, x.view().device_data(),
                          g.view().device_data(), base.view().device_data(), base_g.view().device_data(),
                          s.view().device_data(), y.view().device_data(), mu, states()});
  }
  void direction() {
    table().lbfgs_direction(
        stream(), {active.active(), static_cast<std::size_t>(size), 1, base_g.view().device_data(),
                   s.view().device_data(), y.view().device_data(), d.view().device_data(), 0.25, states(),
                   flag(1), flag(2)});
  }
  void search() {
    table().lbfgs_search(
        stream(), {active.active(), static_cast<std::size_t>(size), g.view().device_data(),
                   d.view().device_data(), value.view().device_data(), 1e-12, states(), flag(1), flag(2)});
  }
  void trial() {
    table().lbfgs_trial(stream(), {active.active(), static_cast<std::size_t>(size), base.view().device_data(),
                                   d.view().device_data(), x.view().device_data(), states()});
  }

  int size;
  Context context{Device::open(test_device("cpu:2"))};
  Frame frame{context};
  ActiveSet active{context, frame, 1};
  Tensor<T> x, g, base, base_g, d, s, y;
  Tensor<double> value;
  Tensor<std::uint8_t> state, flags;
};

TYPED_TEST(LbfgsKernels, DirectionIsTheTwoLoopRecursion) {
  Random random(seed(404));
  for (const int size : {1, 40, 128, 4097}) {
    Workbench<TypeParam> bench(size);
    Vectors curvature;
    for (int e = 0; e < size; ++e) curvature.push_back(random.uniform(0.5, 3));
    Vectors base = representable<TypeParam>(random.normal_vector(static_cast<std::size_t>(size))),
            base_g = base;
    for (std::size_t e = 0; e < base.size(); ++e) base_g[e] *= curvature[e];
    base_g = representable<TypeParam>(base_g);
    bench.put(bench.base, base);
    bench.put(bench.base_g, base_g);
    bench.start();
    bench.direction();  // no pair yet: -g
    Vectors steepest = base_g;
    for (double& v : steepest) v = -v;
    EXPECT_EQ(bench.get(bench.d), steepest);
    EXPECT_EQ(bench.read_state().step, 0.25);

    std::deque<Pair> pairs;
    for (int k = 0; k < 2 * memory + 3; ++k) {
      // every fifth pair has negative curvature and must be left out; its slot may drop the oldest pair
      const bool bad = k % 5 == 4;
      Vectors x = representable<TypeParam>(add_scaled(base, 1, random.normal_vector(base.size()))), g = x;
      for (std::size_t e = 0; e < x.size(); ++e)
        g[e] = base_g[e] + (bad ? -1 : curvature[e]) * (x[e] - base[e]);
      g = representable<TypeParam>(g);
      bench.put(bench.x, x);
      bench.put(bench.g, g);
      if (pairs.size() == memory) pairs.pop_back();
      if (!bad)
        pairs.push_front({representable<TypeParam>(add_scaled(x, -1, base)),
                          representable<TypeParam>(add_scaled(g, -1, base_g))});
      bench.update(0.1);
      bench.direction();
      base = x;
      base_g = g;
      EXPECT_EQ(bench.get(bench.base), base);
      EXPECT_EQ(bench.get(bench.base_g), base_g);
      const kernels::LbfgsState state = bench.read_state();
      ASSERT_EQ(static_cast<std::size_t>(state.filled), pairs.size());
      const Vectors want = two_loops(pairs, base_g), got = bench.get(bench.d);
      // 2 roundings per pair and element on terms that the recursion keeps within the condition 6 of the
      // Hessian
      EXPECT_LE(distance(got, want), 2 * memory * 36 * (unit_roundoff<TypeParam> + 1e-14) * norm(want)) << k;
      EXPECT_NEAR(state.slope0, dot(got, base_g), 1e-13 * norm(got) * norm(base_g));
      EXPECT_LT(state.slope0, 0);
      EXPECT_EQ(state.step, 1);
    }
  }
}

TYPED_TEST(LbfgsKernels, LineSearchFindsAWolfeStep) {
  // Phi(t) = (t - t*)^2 / 2 along d = 1 from 0: accepted in (0.1, 1) t* ... the first trial at 1.
  Random random(seed(405));
  for (const double target : {1.0, 0.01, 30.0, 1e-4, 500.0}) {
    Workbench<TypeParam> bench(1);
    bench.put(bench.base, {0});
    bench.put(bench.base_g, {-target});
    bench.put(bench.d, {1});
    bench.start();
    kernels::LbfgsState state = bench.read_state();
    state.gradient_step = false;
    state.filled = 1;
    state.value0 = target * target / 2;
    state.slope0 = state.slope_low = -target;
    state.step = 1;
    state.high = HUGE_VAL;
    std::vector<std::uint8_t> raw(sizeof(state));
    std::memcpy(raw.data(), &state, sizeof(state));
    bench.state.upload(bench.context, raw);
    bench.flags.upload(bench.context, std::vector<std::uint8_t>{1, 0, 0});
    double x = 0;
    int tries = 0;
    for (; tries < 20 && download(bench.context, bench.flags)[1] == 0; ++tries) {
      bench.trial();
      x = bench.get(bench.x)[0];
      bench.put(bench.g, {x - target});
      bench.value.upload(bench.context, Vectors{(x - target) * (x - target) / 2});
      bench.search();
    }
    EXPECT_LT(tries, 15) << target;
    EXPECT_LE(std::abs(x - target), 0.9 * target * (1 + 1e-6)) << target;
    EXPECT_EQ(download(bench.context, bench.flags), (std::vector<std::uint8_t>{1, 1, 0}));
  }
}

TYPED_TEST(LbfgsKernels, SearchThatFailsAsksForAGradientStep) {
  Workbench<TypeParam> bench(3);
  bench.put(bench.d, {1, 1, 1});
  bench.put(bench.g, {1, 1, 1});  // always rising
  bench.start();
  kernels::LbfgsState state = bench.read_state();
  state.gradient_step = false;
  state.slope0 = state.slope_low = -1;
  state.step = 1;
  state.high = HUGE_VAL;
  std::vector<std::uint8_t> raw(sizeof(state));
  std::memcpy(raw.data(), &state, sizeof(state));
  bench.state.upload(bench.context, raw);
  bench.flags.upload(bench.context, std::vector<std::uint8_t>{1, 0, 0});
  for (int k = 0; k < 20; ++k) {
    EXPECT_EQ(download(bench.context, bench.flags), (std::vector<std::uint8_t>{1, 0, 0}));
    bench.search();
  }
  EXPECT_EQ(download(bench.context, bench.flags), (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_TRUE(bench.read_state().gradient_step);
  EXPECT_EQ(bench.read_state().on_g, -1);
}

}  // namespace
}  // namespace bilevel
