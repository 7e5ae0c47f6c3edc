#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/join_args.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/loss_args.hpp"
#include "kernels/probe_args.hpp"
#include "tests/model/tv_lab.hpp"

// Vector and Krylov kernels against loops, at sizes around the chunk of 4096 elements.

namespace bilevel {
namespace {

using namespace testing_support;

constexpr int sizes[] = {1, 127, 128, 4095, 4096, 4097, 10000};
constexpr int batch = 2;

/// Additions in double on the way of an element to a sum: 32 rows of 128, a tree, chunks.
double additions(int size) { return 32 + 7 + size / 4096 + 3; }

template <class T>
class VectorKernels : public ::testing::Test {
 public:
  using Vectors = std::vector<double>;

  void TearDown() override { tensors_.clear(); }

  View<T> vector(int size, const Vectors& values) {
    tensors_.emplace_back(context_, Shape{batch, 1, 1, size}, narrow<T>(values));
    return tensors_.back().view();
  }
  View<T> random_vector(int size, Vectors& values, double low = -1, double high = 1) {
    values.clear();
    for (int e = 0; e < batch * size; ++e) values.push_back(random_.uniform(low, high));
    values = representable<T>(values);
    return vector(size, values);
  }
  View<double> scalars(const Vectors& values) {
    scalars_.emplace_back(context_, Shape{batch, 1, 1, 1}, values);
    return scalars_.back().view();
  }
  Vectors read(View<T> view) {
    const std::vector<T> values = download<T>(context_, view);
    return {values.begin(), values.end()};
  }
  Vectors read_scalars(View<double> view) { return download<double>(context_, view); }

  /// |got - want| <= roundings u terms, per element.
  static void expect_close(const Vectors& got, const Vectors& want, const Vectors& terms, double roundings) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t e = 0; e < got.size(); ++e)
      ASSERT_NEAR(got[e], want[e], (roundings * unit_roundoff<T> + 4 * unit_roundoff<double>)*terms[e])
          << "at " << e;
  }
  static double sum(const Vectors& a, const Vectors& b, int size, int i, bool absolute = false) {
    double total = 0;
    for (int e = i * size; e < (i + 1) * size; ++e) {
      const double product = a[static_cast<std::size_t>(e)] * b[static_cast<std::size_t>(e)];
      total += absolute ? std::abs(product) : product;
    }
    return total;
  }
  static void expect_sum(double got, const Vectors& a, const Vectors& b, int size, int i,
                         double roundings = 0) {
    // the loop here adds in sequence: its own error is size additions
    const double error = (additions(size) + size) * unit_roundoff<double> + roundings * unit_roundoff<T>;
    EXPECT_NEAR(got, sum(a, b, size, i), error * sum(a, b, size, i, true))
        << "size " << size << ", image " << i;
  }

  Random random_{seed(303)};
  Context context_{Device::open(test_device("cpu:2"))};
  Frame frame_{context_};
  ActiveSet active_{context_, frame_, batch};
  std::vector<Tensor<T>> tensors_;
  std::vector<Tensor<double>> scalars_;
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(VectorKernels, Precisions);

TYPED_TEST(VectorKernels, MomentumSteps) {
  for (const int size : sizes)
    for (const int which : {0, 1, 2}) {
      std::vector<double> x, previous, g;
      const auto vx = this->random_vector(size, x), vp = this->random_vector(size, previous),
                 vg = this->random_vector(size, g);
      const double step = 0.3, momentum = 0.7, safe_step = 0.2, safe_momentum = 0.4;
      const kernels::MomentumArgs<TypeParam> args{this->active_.active(),
                                                  static_cast<std::size_t>(size),
                                                  vx.device_data(),
                                                  vp.device_data(),
                                                  vg.device_data(),
                                                  step,
                                                  momentum};
      const auto& table = kernel_table<TypeParam>(this->context_);
      const std::vector<double> guard = {0, 2};
      if (which == 0) table.momentum_step(stream_of(this->context_), args);
      if (which == 1) table.fista_step(stream_of(this->context_), args);
      if (which == 2)
        table.guarded_step(stream_of(this->context_),
                           {args, safe_step, safe_momentum, this->scalars(guard).device_data()});
      std::vector<double> want, terms, want_previous;
      for (std::size_t e = 0; e < x.size(); ++e) {
        const bool second = e >= static_cast<std::size_t>(size);
        const bool fista = which == 1 || (which == 2 && second);
        const double s = which == 2 && second ? safe_step : step,
                     m = which == 2 && second ? safe_momentum : momentum;
        const double moved = x[e] - s * g[e];
        want.push_back(moved + m * ((fista ? moved : x[e]) - previous[e]));
        terms.push_back(2 * (std::abs(x[e]) + std::abs(s * g[e])) + std::abs(previous[e]));
        want_previous.push_back(fista ? moved : x[e]);
      }
      this->expect_close(this->read(vx), want, terms, 6);
      this->expect_close(this->read(vp), want_previous, terms, 3);
      this->tensors_.clear();
    }
}

TYPED_TEST(VectorKernels, RestartedSteps) {
  using T = TypeParam;
  const auto after = [](double q, double t) {
    return 0.5 * (1 - q * t * t + std::hypot(1 - q * t * t, 2 * t));
  };
  for (const int size : sizes)
    for (const double q : {1e-4, 0.3, 1.0}) {
      std::vector<double> x, previous, g;
      const auto vx = this->random_vector(size, x), vg = this->random_vector(size, g);
      // The first image ascends, the second one descends.
      const double step = 0.3;
      for (std::size_t e = 0; e < x.size(); ++e) {
        const bool ascends = e < static_cast<std::size_t>(size);
        previous.push_back(x[e] - step * g[e] - (ascends ? 0.1 : -0.1) * g[e]);
      }
      previous = representable<T>(previous);
      const View<T> moving = this->vector(size, previous);
      const std::vector<double> t0 = {0, 2.5};
      const View<double> t = this->scalars(t0), restarted = this->scalars({7, 7});
      const auto& table = kernel_table<T>(this->context_);
      const auto elements = static_cast<std::size_t>(size);
      table.restart_step(stream_of(this->context_),
                         {this->active_.active(), elements, vx.device_data(), moving.device_data(),
                          vg.device_data(), step, q, t.device_data(), restarted.device_data()});
      std::vector<double> want, terms, moved;
      for (std::size_t e = 0; e < x.size(); ++e) {
        const double now = after(q, t0[e / elements]), next = after(q, now);
        const double momentum = q < 1 ? (now - 1) / next * (1 - q * next) / (1 - q) : 0;
        moved.push_back(x[e] - step * g[e]);
        want.push_back(moved[e] + momentum * (moved[e] - previous[e]));
        terms.push_back(2 * (std::abs(x[e]) + std::abs(step * g[e])) + std::abs(previous[e]));
      }
      this->expect_close(this->read(vx), want, terms, 6);
      this->expect_close(this->read(moving), moved, terms, 3);
      EXPECT_EQ(this->read_scalars(restarted), (std::vector<double>{1, 0}));
      const std::vector<double> t1 = this->read_scalars(t);
      EXPECT_EQ(t1[0], 0);
      EXPECT_NEAR(t1[1], after(q, t0[1]), 1e-14 * t1[1]);

      const std::vector<double> extrapolated = this->read(vx);
      table.restart(stream_of(this->context_), {this->active_.active(), elements, vx.device_data(),
                                                moving.device_data(), restarted.device_data()});
      std::vector<double> expected = this->read(moving);
      std::copy(extrapolated.begin() + size, extrapolated.end(), expected.begin() + size);
      EXPECT_EQ(this->read(vx), expected);
      this->tensors_.clear();
    }
}

TYPED_TEST(VectorKernels, CombineAndDot) {
  for (const int size : sizes) {
    std::vector<double> x, y;
    const auto vx = this->random_vector(size, x), vy = this->random_vector(size, y),
               out = this->vector(size, std::vector<double>(static_cast<std::size_t>(batch * size)));
    const auto& table = kernel_table<TypeParam>(this->context_);
    const std::vector<double> factors = {0.3, -2};
    const View<double> factor = this->scalars(factors), result = this->scalars({0, 0});
    for (const bool two : {false, true})
      for (const bool scaled : {false, true}) {
        table.combine(stream_of(this->context_),
                      {this->active_.active(), static_cast<std::size_t>(size), vx.device_data(),
                       two ? vy.device_data() : nullptr, 0.7, -0.9, scaled ? factor.device_data() : nullptr,
                       scaled ? factor.device_data() : nullptr, out.device_data()});
        std::vector<double> want, terms;
        for (std::size_t e = 0; e < x.size(); ++e) {
          const double f = scaled ? factors[e / static_cast<std::size_t>(size)] : 1;
          want.push_back(0.7 * f * x[e] - (two ? 0.9 * f * y[e] : 0));
          terms.push_back(2 * (std::abs(x[e]) + std::abs(y[e])));
        }
        this->expect_close(this->read(out), want, terms, 3);
      }
    for (const bool difference : {false, true}) {
      table.dot(stream_of(this->context_),
                {this->active_.active(), static_cast<std::size_t>(size), vx.device_data(), vy.device_data(),
                 difference, result.device_data()});
      const std::vector<double> d = add_scaled(x, -1, y);
      for (int i = 0; i < batch; ++i)
        this->expect_sum(this->read_scalars(result)[static_cast<std::size_t>(i)], difference ? d : x,
                         difference ? d : y, size, i);
    }
    this->tensors_.clear();
  }
}

/// On the first elements of each image, with and without weights; the others of a gradient are zero.
TYPED_TEST(VectorKernels, Misfit) {
  for (const int size : sizes)
    for (const int compared : {1, (size + 1) / 2, size})
      for (const bool weighted : {false, true}) {
        std::vector<double> x, all, w;
        const auto vx = this->random_vector(size, x), vt = this->random_vector(size, all),
                   vw = this->random_vector(size, w, 0, 2), out = this->random_vector(size, w, 0, 2);
        w = this->read(vw);
        const View<double> result = this->scalars({-1, -1});
        const auto& table = kernel_table<TypeParam>(this->context_);
        const auto count = static_cast<std::size_t>(compared), image = static_cast<std::size_t>(size);
        const TypeParam* weight = weighted ? vw.device_data() : nullptr;
        table.misfit(stream_of(this->context_), {this->active_.active(), count, image, vx.device_data(),
                                                 vt.device_data(), weight, result.device_data()});
        for (const bool target : {false, true}) {
          table.misfit_gradient(stream_of(this->context_),
                                {this->active_.active(), count, image, 0.3, vx.device_data(),
                                 target ? vt.device_data() : nullptr, weight, out.device_data()});
          std::vector<double> want, terms;
          for (std::size_t i = 0; i < batch; ++i)
            for (std::size_t e = 0; e < image; ++e) {
              const double t = target && e < count ? all[i * count + e] : 0, v = x[i * image + e];
              const double f = e >= count ? 0 : weighted ? w[e] : 1;
              want.push_back(f * 0.3 * (v - t));
              terms.push_back(f * (std::abs(v) + std::abs(t)));
            }
          // the difference is formed in double: rounding to T is relative to it
          const std::vector<double> got = this->read(out);
          for (std::size_t e = 0; e < want.size(); ++e)
            ASSERT_NEAR(
                got[e], want[e],
                1.01 * unit_roundoff<TypeParam> * std::abs(want[e]) + 4 * unit_roundoff<double> * terms[e]);
        }
        for (std::size_t i = 0; i < batch; ++i) {
          double sum = 0;
          for (std::size_t e = 0; e < count; ++e)
            sum += (weighted ? w[e] : 1) * std::pow(x[i * image + e] - all[i * count + e], 2);
          EXPECT_NEAR(this->read_scalars(result)[i], sum, 1e-14 * (additions(size) + size) * sum);
        }
        table.misfit(stream_of(this->context_), {this->active_.active(), count, image, vx.device_data(),
                                                 nullptr, weight, result.device_data()});
        for (std::size_t i = 0; i < batch; ++i) {
          double sum = 0;
          for (std::size_t e = 0; e < count; ++e)
            sum += (weighted ? w[e] : 1) * std::pow(x[i * image + e], 2);
          EXPECT_NEAR(this->read_scalars(result)[i], sum, 1e-14 * (additions(size) + size) * sum);
        }
        this->tensors_.clear();
      }
}

/// Also where there was no diagonal before, so that its inverse is infinite.
TYPED_TEST(VectorKernels, DiagonalsAddUpInTheirInverse) {
  for (const int size : sizes) {
    std::vector<double> before, term;
    const auto inverse = this->random_vector(size, before, 0.1, 2),
               t = this->random_vector(size, term, 0.1, 2);
    before[0] = HUGE_VAL;
    upload<TypeParam>(this->context_, narrow<TypeParam>(before), inverse);
    kernel_table<TypeParam>(this->context_)
        .add_diagonal(stream_of(this->context_), {this->active_.active(), static_cast<std::size_t>(size),
                                                  t.device_data(), inverse.device_data()});
    const std::vector<double> got = this->read(inverse);
    for (std::size_t e = 0; e < got.size(); ++e) {
      const double want = 1 / (1 / before[e] + term[e % static_cast<std::size_t>(size)]);
      ASSERT_NEAR(got[e], want, 4 * unit_roundoff<TypeParam> * want) << e;
    }
    this->tensors_.clear();
  }
}

TYPED_TEST(VectorKernels, FmaLoop) {
  constexpr int rounds = 6;
  for (const int size : sizes) {
    std::vector<double> x, want, terms;
    const View<TypeParam> view = this->random_vector(size, x);
    for (const double start : x) {
      double sum = 0, magnitude = 0;
      for (int j = 0; j < kernels::fma_chains; ++j) {
        double v = start + 0.25 * j;
        for (int k = 0; k < rounds; ++k) v = 0.75 * v + 0.25;
        sum += v;
        magnitude += 1 + std::abs(start) + 0.25 * j;
      }
      want.push_back(sum / kernels::fma_chains);
      terms.push_back(magnitude / kernels::fma_chains);
    }
    kernel_table<TypeParam>(this->context_)
        .fma_loop(stream_of(this->context_), {this->active_.active(), static_cast<std::size_t>(size), rounds,
                                              0.75, 0.25, view.device_data()});
    // Start: 7 additions; a round: 2 roundings, and 3/4 of what was there; 7 additions and a product.
    this->expect_close(this->read(view), want, terms, 7 + 8 + 8);
  }
}

TYPED_TEST(VectorKernels, ResidualAndFill) {
  for (const int size : sizes) {
    std::vector<double> b, product, x, r;
    const auto vb = this->random_vector(size, b), vp = this->random_vector(size, product),
               vx = this->random_vector(size, x), vr = this->random_vector(size, r);
    const View<double> rr = this->scalars({0, 0}), xx = this->scalars({0, 0}), bb = this->scalars({0, 0});
    kernel_table<TypeParam>(this->context_)
        .residual(stream_of(this->context_),
                  {this->active_.active(), static_cast<std::size_t>(size), vb.device_data(), vp.device_data(),
                   vx.device_data(), vr.device_data(), rr.device_data(), xx.device_data(), bb.device_data()});
    std::vector<double> terms;
    for (std::size_t e = 0; e < b.size(); ++e) terms.push_back(std::abs(b[e]) + std::abs(product[e]));
    const std::vector<double> got = this->read(vr);
    this->expect_close(got, add_scaled(b, -1, product), terms, 1);
    for (int i = 0; i < batch; ++i) {
      const auto k = static_cast<std::size_t>(i);
      this->expect_sum(this->read_scalars(rr)[k], got, got, size, i);
      this->expect_sum(this->read_scalars(xx)[k], x, x, size, i);
      this->expect_sum(this->read_scalars(bb)[k], b, b, size, i);
    }
    fill<TypeParam>(this->context_, vr, TypeParam(0.125));
    EXPECT_EQ(this->read(vr), std::vector<double>(static_cast<std::size_t>(batch * size), 0.125));
    this->tensors_.clear();
  }
}

/// Per-image state of conjugate gradients on the device.
template <class Fixture>
struct State {
  View<double> rz, rr, pap, beta, target, slope, iterations;
  kernels::CgState args;

  State(Fixture& f, ActiveSet& active, double cap)
      : rz(f.scalars({2, 3})),
        rr(f.scalars({1, 1})),
        pap(f.scalars({0.5, 4})),
        beta(f.scalars({9, 9})),
        target(f.scalars({0, 1e9})),
        slope(f.scalars({-1, -2})),
        iterations(f.scalars({5, 6})),
        args{rz.device_data(),         rr.device_data(),     pap.device_data(),
             beta.device_data(),       target.device_data(), slope.device_data(),
             iterations.device_data(), active.mask(),        cap} {}
};

template <class T>
class ConjugateGradientKernels : public VectorKernels<T> {
 public:
  using VectorKernels<T>::scalars;
};
TYPED_TEST_SUITE(ConjugateGradientKernels, Precisions);

TYPED_TEST(ConjugateGradientKernels, Start) {
  for (const int size : sizes)
    for (const bool jacobi : {false, true})
      for (const bool given : {false, true}) {
        this->active_.reset(this->context_);
        std::vector<double> source, inverse, x, r, p;
        const auto vs = this->random_vector(size, source), vi = this->random_vector(size, inverse, 0.1, 2),
                   vx = this->random_vector(size, x), vr = this->random_vector(size, r),
                   vp = this->random_vector(size, p);
        State state(*this, this->active_, 100);
        kernel_table<TypeParam>(this->context_)
            .cg_start(stream_of(this->context_),
                      {this->active_.active(), static_cast<std::size_t>(size),
                       given ? vs.device_data() : nullptr, -1, jacobi ? vi.device_data() : nullptr, given,
                       vx.device_data(), vr.device_data(), vp.device_data(), state.args});
        if (given) {
          for (std::size_t e = 0; e < r.size(); ++e) r[e] = -source[e];
          x.assign(x.size(), 0);
        }
        EXPECT_EQ(this->read(vx), x);
        EXPECT_EQ(this->read(vr), r);
        std::vector<double> z = r;
        for (std::size_t e = 0; e < z.size(); ++e) z[e] *= jacobi ? inverse[e] : 1;
        const std::vector<double> got = this->read(vp);
        this->expect_close(got, z, std::vector<double>(z.size(), 2), 1);
        for (int i = 0; i < batch; ++i) {
          this->expect_sum(this->read_scalars(state.rr)[static_cast<std::size_t>(i)], r, r, size, i);
          this->expect_sum(this->read_scalars(state.rz)[static_cast<std::size_t>(i)], r, got, size, i);
        }
        // image 1 meets its target at once
        EXPECT_EQ(this->active_.refresh(this->context_), 1);
        this->tensors_.clear();
      }
}

TYPED_TEST(ConjugateGradientKernels, UpdateAndDirection) {
  for (const int size : sizes)
    for (const bool jacobi : {false, true}) {
      this->active_.reset(this->context_);
      std::vector<double> p, product, inverse, x, r;
      const auto vp = this->random_vector(size, p), va = this->random_vector(size, product),
                 vi = this->random_vector(size, inverse, 0.1, 2), vx = this->random_vector(size, x),
                 vr = this->random_vector(size, r);
      State state(*this, this->active_, 100);
      const auto& table = kernel_table<TypeParam>(this->context_);
      table.cg_update(
          stream_of(this->context_),
          {this->active_.active(), static_cast<std::size_t>(size), vp.device_data(), va.device_data(),
           jacobi ? vi.device_data() : nullptr, vx.device_data(), vr.device_data(), state.args});
      const double rz[2] = {2, 3}, pap[2] = {0.5, 4};
      std::vector<double> want_x = x, want_r = r, terms(x.size(), 10);
      for (std::size_t e = 0; e < x.size(); ++e) {
        const std::size_t i = e / static_cast<std::size_t>(size);
        want_x[e] += rz[i] / pap[i] * p[e];
        want_r[e] -= rz[i] / pap[i] * product[e];
      }
      const std::vector<double> got = this->read(vr);
      this->expect_close(this->read(vx), want_x, terms, 3);
      this->expect_close(got, want_r, terms, 3);
      std::vector<double> z = got;
      for (std::size_t e = 0; e < z.size(); ++e) z[e] *= jacobi ? inverse[e] : 1;
      for (int i = 0; i < batch; ++i) {
        const auto k = static_cast<std::size_t>(i);
        this->expect_sum(this->read_scalars(state.rr)[k], got, got, size, i);
        this->expect_sum(this->read_scalars(state.rz)[k], got, z, size, i, 1);
        EXPECT_DOUBLE_EQ(this->read_scalars(state.beta)[k], this->read_scalars(state.rz)[k] / rz[i]);
        EXPECT_DOUBLE_EQ(this->read_scalars(state.slope)[k], -1.0 - i - rz[i] / pap[i] * rz[i]);
        EXPECT_EQ(this->read_scalars(state.iterations)[k], 6 + i);
      }
      EXPECT_EQ(this->active_.refresh(this->context_), 1);  // image 1 met its target

      this->active_.reset(this->context_);
      const std::vector<double> beta = this->read_scalars(state.beta);
      table.cg_direction(stream_of(this->context_),
                         {this->active_.active(), static_cast<std::size_t>(size), vr.device_data(),
                          jacobi ? vi.device_data() : nullptr, vp.device_data(), state.beta.device_data()});
      std::vector<double> want = z;
      for (std::size_t e = 0; e < want.size(); ++e) {
        const double pull = beta[e / static_cast<std::size_t>(size)] * p[e];
        want[e] += pull;
        terms[e] = std::abs(z[e]) + std::abs(pull);
      }
      this->expect_close(this->read(vp), want, terms, 4);
      this->tensors_.clear();
    }
}

TYPED_TEST(ConjugateGradientKernels, BreakdownEndsTheImageAndKeepsItsState) {
  const double nan = std::nan("");
  for (const double bad : {0.0, -1.0, nan}) {
    this->active_.reset(this->context_);
    std::vector<double> p, x, r;
    const auto vp = this->random_vector(5, p), vx = this->random_vector(5, x), vr = this->random_vector(5, r);
    State state(*this, this->active_, 100);
    upload<double>(this->context_, std::vector<double>{1, bad}, state.pap);
    kernel_table<TypeParam>(this->context_)
        .cg_update(stream_of(this->context_), {this->active_.active(), 5, vp.device_data(), vp.device_data(),
                                               nullptr, vx.device_data(), vr.device_data(), state.args});
    EXPECT_EQ(this->active_.refresh(this->context_), 1);
    const std::vector<double> after = this->read(vx);
    for (std::size_t e = 5; e < 10; ++e) EXPECT_EQ(after[e], x[e]);
    EXPECT_EQ(this->read_scalars(state.iterations)[1], 6);
  }
}

TYPED_TEST(ConjugateGradientKernels, CapEndsTheImage) {
  this->active_.reset(this->context_);
  std::vector<double> p, x, r;
  const auto vp = this->random_vector(5, p), vx = this->random_vector(5, x), vr = this->random_vector(5, r);
  State state(*this, this->active_, 7);  // counts become 6 and 7
  upload<double>(this->context_, std::vector<double>{0, 0}, state.target);
  kernel_table<TypeParam>(this->context_)
      .cg_update(stream_of(this->context_), {this->active_.active(), 5, vp.device_data(), vp.device_data(),
                                             nullptr, vx.device_data(), vr.device_data(), state.args});
  EXPECT_EQ(this->active_.refresh(this->context_), 1);
}

}  // namespace
}  // namespace bilevel
