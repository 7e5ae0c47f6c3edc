// What is special about L-BFGS: its recursion on coefficients, its fallbacks, its line search.

#include <cstring>
#include <deque>

#include "kernels/lbfgs_args.hpp"
#include "tests/solve/pixel_energy.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
class LbfgsTyped : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LbfgsTyped, Precisions);

/// Nocedal's two loops on vectors with the documented line search; returns the point of the last evaluation.
class NaiveLbfgs {
 public:
  NaiveLbfgs(const oracle::TvModel& model, const Doubles& y) : model_(model), y_(y) {}

  Doubles after(int evaluations, Doubles x) {
    const oracle::CurvatureConstants c = oracle::curvature(model_);
    Doubles g = gradient(x);
    pairs_.clear();
    while (true) {
      const Doubles d = direction(g);
      double step = pairs_.empty() ? 2 / (c.L + c.mu) : 1;
      double low = 0, slope_low = dot(g, d), high = 0, slope_high = 0;
      Doubles next, g_next;
      while (true) {
        next = add_scaled(x, step, d);
        if (evaluations-- == 1) return next;
        g_next = gradient(next);
        const double slope = dot(g_next, d), slope0 = dot(g, d);
        const bool fell = slope <= 0 || (slope <= -0.9998 * slope0 && value(next) <= value(x) * (1 + 1e-13));
        if (pairs_.empty() || (fell && slope >= 0.9 * slope0)) break;
        (slope > 0 ? high : low) = step;
        (slope > 0 ? slope_high : slope_low) = slope;
        const double part = std::clamp(slope_low / (slope_low - slope_high), 0.1, 0.9);
        step = high > 0 ? low + (high - low) * part : 4 * step;
        searched += 1;
      }
      pairs_.push_front({add_scaled(next, -1, x), add_scaled(g_next, -1, g)});
      if (pairs_.size() > 10) pairs_.pop_back();
      x = next;
      g = g_next;
    }
  }
  int searched = 0;  ///< steps that were not accepted

 private:
  struct Pair {
    Doubles s, y;
  };
  Doubles gradient(const Doubles& x) const { return oracle::gradient(model_, y_, x); }
  double value(const Doubles& x) const { return oracle::energy(model_, y_, x); }
  Doubles direction(const Doubles& g) const {
    Doubles r = g;
    std::vector<double> first(pairs_.size());
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      first[i] = dot(pairs_[i].s, r) / dot(pairs_[i].s, pairs_[i].y);
      r = add_scaled(r, -first[i], pairs_[i].y);
    }
    if (!pairs_.empty())
      r = add_scaled(r, dot(pairs_[0].s, pairs_[0].y) / dot(pairs_[0].y, pairs_[0].y) - 1, r);
    for (std::size_t i = pairs_.size(); i-- > 0;)
      r = add_scaled(r, first[i] - dot(pairs_[i].y, r) / dot(pairs_[i].s, pairs_[i].y), pairs_[i].s);
    return add_scaled(r, -2, r);
  }
  const oracle::TvModel& model_;
  const Doubles& y_;
  std::deque<Pair> pairs_;  // newest first
};

TEST(Lbfgs, IteratesAreThoseOfTheTwoLoopRecursion) {
  Random random(seed(31));
  int searched = 0;
  for (int run = 0; run < 6; ++run) {
    TvProblem<double> p(test_device("cpu:1"), tv_model(12, 9, 0.3, 0.05),
                        noisy_batch<double>(1, 12, 9, random));
    const Doubles exact = p.exact(0), start = noise(12, 9, 2, random);
    NaiveLbfgs naive(p.model, p.y);
    for (const int evaluations : {1, 2, 3, 9, 12, 13, 16, 20}) {  // the ring of 10 pairs wraps
      const Doubles x = minimise(p, "lbfgs", request_of<double>(1e-30, evaluations), start).x;
      const Doubles expected = naive.after(evaluations, start);
      EXPECT_LE(distance(x, expected), 1e-6 * distance(expected, exact)) << evaluations << " evaluations";
    }
    searched += naive.searched;
  }
  EXPECT_GT(searched, 0);
}

TEST(Lbfgs, PairsBelowTheClaimedCurvatureAreSkipped) {
  // <s,y> <= 2 |s|^2 < mu |s|^2 / 2: no pair is ever kept and every step is one of gradient descent.
  Random random(seed(32));
  Context context(Device::open(test_device("cpu:1")));
  const int n = 40;
  Doubles lambda;
  for (int i = 0; i < n; ++i) lambda.push_back(random.uniform(1, 2));
  const PixelEnergy<double> e({2, 1, 1, n}, lambda, Random(3).normal_vector(2 * n), curvature_of(10, 10));
  const Doubles start = noise(1, 2 * n, 1, random);
  for (const int steps : {1, 5, 30}) {
    const auto after = [&](const char* solver) {
      return minimise<double>(context, e, solver, request_of<double>(1e-30, steps), start).x;
    };
    if (on_cuda()) {  // the kernels of the two fuse other multiplications with additions
      EXPECT_LE(max_relative_difference(after("lbfgs"), after("gradient-descent")), 1e-14);
    } else {
      EXPECT_EQ(after("lbfgs"), after("gradient-descent"));
    }
  }
}

using Flags = std::vector<std::uint8_t>;

/// Line searches, one per image, on the device.
class SearchStates {
 public:
  SearchStates(Context& context, const std::vector<kernels::LbfgsState>& states)
      : bytes_(context, {static_cast<int>(states.size()), 1, 1, static_cast<int>(sizeof(states[0]))}) {
    const auto* raw = reinterpret_cast<const std::uint8_t*>(states.data());
    bytes_.upload(context, {raw, states.size() * sizeof(states[0])});
  }
  kernels::LbfgsState* data() { return reinterpret_cast<kernels::LbfgsState*>(bytes_.view().device_data()); }
  std::vector<kernels::LbfgsState> read(Context& context) const {
    const std::vector<std::uint8_t> raw = download(context, bytes_);
    std::vector<kernels::LbfgsState> states(raw.size() / sizeof(kernels::LbfgsState));
    std::memcpy(states.data(), raw.data(), raw.size());
    return states;
  }

 private:
  Tensor<std::uint8_t> bytes_;
};

TEST(Lbfgs, ADirectionThatDoesNotDescendIsReplacedByTheGradient) {
  Context context(Device::open(test_device("cpu:1")));
  Frame frame(context);
  ActiveSet active(context, frame, 2);
  const Shape shape{2, 1, 1, 3};
  const auto vectors = frame.view<double>(shape), d = frame.view<double>(shape);
  const auto ring = frame.view<double>({2 * kernels::lbfgs_memory, 1, 1, 3});
  const Doubles g = {1, 2, 2, 0, 3, 4};
  upload<double>(context, g, vectors);
  std::vector<kernels::LbfgsState> states(2);
  states[0].on_g = 0.5;  // ascent
  states[1].on_g = -0.25;
  SearchStates on_device(context, states);
  Tensor<std::uint8_t> accepted(context, {2, 1, 1, 1}, Flags{1, 1}), redo(context, {2, 1, 1, 1}, Flags{0, 0});
  const auto launch = [&](const Tensor<std::uint8_t>& mask) {
    const Active chosen{mask.view().device_data(), active.active().index, 2};
    kernel_table<double>(context).lbfgs_direction(
        stream_of(context),
        {chosen, 3, 2, vectors.device_data(), ring.device_data(), ring.device_data(), d.device_data(), 0.125,
         on_device.data(), accepted.view().device_data(), redo.view().device_data()});
  };
  launch(accepted);
  EXPECT_EQ(download(context, redo), (Flags{1, 0}));
  EXPECT_EQ(download(context, accepted), (Flags{0, 0}));
  launch(redo);
  EXPECT_EQ(download(context, redo), (Flags{0, 0}));
  EXPECT_EQ(download(context, d), (Doubles{-1, -2, -2, 0, -0.75, -1}));
  states = on_device.read(context);
  EXPECT_TRUE(states[0].gradient_step);
  EXPECT_EQ(states[0].step, 0.125);
  EXPECT_EQ(states[0].slope0, -9);
  EXPECT_FALSE(states[1].gradient_step);
  EXPECT_EQ(states[1].step, 1);
  EXPECT_EQ(states[1].slope0, -6.25);
}

/// Drives the line search on one number phi'(t) until it accepts.
struct SearchResult {
  double step = 0;
  int evaluations = 0;
  bool gradient = false;
};
SearchResult search(Context& context, const std::function<double(double)>& value,
                    const std::function<double(double)>& slope) {
  Frame frame(context);
  ActiveSet active(context, frame, 1);
  kernels::LbfgsState l{};
  l.value0 = value(0);
  l.slope0 = l.slope_low = slope(0);
  l.step = 1;
  l.high = std::numeric_limits<double>::infinity();
  SearchStates state(context, {l});
  Tensor<std::uint8_t> flags(context, {2, 1, 1, 1}, Flags{0, 0});  // accepted, redo
  Tensor<double> numbers(context, {3, 1, 1, 1});                   // g, d, Phi
  std::uint8_t* const flag = flags.view().device_data();
  const double* const number = numbers.view().device_data();
  SearchResult result;
  for (Flags seen = {0, 0}; seen == Flags{0, 0}; seen = download(context, flags)) {
    result.step = state.read(context)[0].step;
    result.evaluations += 1;
    numbers.upload(context, Doubles{slope(result.step), 1, value(result.step)});
    kernel_table<double>(context).lbfgs_search(
        stream_of(context),
        {active.active(), 1, number, number + 1, number + 2, 1e-13, state.data(), flag, flag + 1});
  }
  result.gradient = download(context, flags)[1] != 0;
  return result;
}

TEST(Lbfgs, LineSearchEndsWhereTheSlopeIsSmallAndTheValueFell) {
  Random random(seed(33));
  Context context(Device::open(test_device("cpu:1")));
  for (int run = 0; run < repetitions(300); ++run) {
    // sqrt((t - a)^2 + w^2) + c t^2 / 2: convex with its minimum far above or far below the unit step.
    const double a = random.log_uniform(1e-4, 1e4), w = a * random.log_uniform(1e-3, 1),
                 c = random.log_uniform(1e-8, 1) / a;
    const auto value = [&](double t) { return std::hypot(t - a, w) + 0.5 * c * t * t; };
    const auto slope = [&](double t) { return (t - a) / std::hypot(t - a, w) + c * t; };
    const SearchResult s = search(context, value, slope);
    ASSERT_FALSE(s.gradient) << "a " << a << " w " << w << " c " << c;
    EXPECT_LE(s.evaluations, 20);
    EXPECT_GE(slope(s.step), 0.9 * slope(0));
    EXPECT_LE(slope(s.step), -(1 - 2e-4) * slope(0));
    EXPECT_LE(value(s.step), value(0));
  }
  const SearchResult unit = search(
      context, [](double t) { return 0.5 * t * t - t; }, [](double t) { return t - 1; });
  EXPECT_EQ(unit.evaluations, 1);
  EXPECT_EQ(unit.step, 1);
}

TEST(Lbfgs, LineSearchGivesUpOnAFunctionWithoutAnAcceptableStep) {
  Context context(Device::open(test_device("cpu:1")));
  const SearchResult s = search(
      context, [](double t) { return t; }, [](double t) { return t > 0 ? 2.0 : -1.0; });
  EXPECT_TRUE(s.gradient);
  EXPECT_EQ(s.evaluations, 20);
}

TYPED_TEST(LbfgsTyped, StepsOfHardProblemsConverge) {
  using T = TypeParam;
  Random random(seed(34));
  Context context(Device::open(test_device("cpu:1")));
  const PixelEnergy<T> kinked({3, 1, 1, 4}, {}, std::vector<T>(12, T(0)), curvature_of(1, 25));
  const std::vector<T> start = narrowed<T>(noise(1, 12, 100, random));
  const Solved<T> s = minimise<T>(context, kinked, "lbfgs", request_of<T>(1e-3), start);
  EXPECT_EQ(s.report.status, SolveStatus::converged) << s.report.message;
  for (const T x : s.x) EXPECT_LE(std::fabs(x), 1e-3);

  Doubles lambda;
  for (int i = 0; i < 200; ++i) lambda.push_back(random.log_uniform(1, 1e5));
  const PixelEnergy<T> steep({1, 1, 1, 200}, lambda, std::vector<T>(200, T(1)), curvature_of(1, 1e5));
  const Solved<T> q = minimise<T>(context, steep, "lbfgs", request_of<T>(1e-2), std::vector<T>(200, T(3)));
  EXPECT_EQ(q.report.status, SolveStatus::converged) << q.report.message;
}

TYPED_TEST(LbfgsTyped, NeedsFewerGradientsThanFista) {
  using T = TypeParam;
  Random random(seed(35));
  TvProblem<T> p(test_device("cpu:1"), tv_model(48, 48, 0.05, 1e-3), noisy_batch<T>(3, 48, 48, random));
  const Solved<T> l = minimise(p, "lbfgs", request_of<T>(1e-2), p.y),
                  f = minimise(p, "fista", request_of<T>(1e-2), p.y);
  EXPECT_EQ(l.report.status, SolveStatus::converged);
  EXPECT_EQ(f.report.status, SolveStatus::converged);
  EXPECT_LT(2 * l.report.work.gradients, f.report.work.gradients);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_LE(distance(widened(part(l.x, 3, i)), widened(part(f.x, 3, i))),
              l.report.certificate[i] + f.report.certificate[i]);
}

}  // namespace
}  // namespace bilevel
