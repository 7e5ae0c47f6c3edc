// Limited-memory BFGS (Nocedal 1980) on batches: the two-loop recursion runs on the coefficients of the
// direction in the basis of gradient and pairs, from inner products that one pass over the pairs gathers
// (Chen, Wang and Zhou 2014). The line search uses directional derivatives (approximate Wolfe, Hager and
// Zhang 2005, eq. 4.1).

#include "kernels/launch.hpp"
#include "kernels/lbfgs_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

constexpr int memory = lbfgs_memory;

template <class T>
BILEVEL_HD inline T* image_of(T* batch, std::size_t size, int image) {
  return batch + static_cast<std::size_t>(image) * size;
}
/// Pair `slot` of an image in a ring [memory][n][size].
template <class T>
BILEVEL_HD inline T* pair_of(T* ring, std::size_t size, int n, int slot, int image) {
  return ring + (static_cast<std::size_t>(slot) * n + image) * size;
}

BILEVEL_HD inline int slot_of(const LbfgsState& l, int age) { return (l.head - 1 - age + memory) % memory; }

BILEVEL_HD inline void take_gradient(LbfgsState& l) {
  l.filled = 0;
  l.on_g = -1;
  l.gradient_step = true;
}

/// d = -H g by the two-loop recursion; total[4 j] = <g, s_j>, total[4 j + 1] = <g, y_j>.
BILEVEL_HD inline void two_loops(LbfgsState& l, const double* total) {
  l.gradient_step = false;
  if (l.filled == 0) return take_gradient(l);
  // r = g; newest to oldest: first_i = <s_i, r> / <s_i, y_i>, r -= first_i y_i
  for (int age = 0; age < l.filled; ++age) {
    const int i = slot_of(l, age);
    double product = total[4 * i];
    for (int newer = 0; newer < age; ++newer)
      product -= l.first[slot_of(l, newer)] * l.sy[i][slot_of(l, newer)];
    l.first[i] = product / l.sy[i][i];
  }
  // r = gamma r, gamma = <s,y> / <y,y> of the newest; oldest to newest: second_i = <y_i, r> / <s_i, y_i>,
  // r += (first_i - second_i) s_i
  const int newest = slot_of(l, 0);
  const double gamma = l.sy[newest][newest] / l.yy[newest][newest];
  for (int age = l.filled - 1; age >= 0; --age) {
    const int i = slot_of(l, age);
    double product = total[4 * i + 1];
    for (int other = 0; other < l.filled; ++other)
      product -= l.first[slot_of(l, other)] * l.yy[i][slot_of(l, other)];
    product *= gamma;
    for (int older = l.filled - 1; older > age; --older) {
      const int j = slot_of(l, older);
      product += (l.first[j] - l.second[j]) * l.sy[j][i];
    }
    l.second[i] = product / l.sy[i][i];
  }
  l.on_g = -gamma;
  for (int age = 0; age < l.filled; ++age) {
    const int i = slot_of(l, age);
    l.on_y[i] = gamma * l.first[i];
    l.on_s[i] = l.second[i] - l.first[i];
  }
}

template <class T>
struct Trial {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  LbfgsTrialArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* base = image_of(a.base, a.size, t.image);
    const T* d = image_of(a.d, a.size, t.image);
    T* x = image_of(a.x, a.size, t.image);
    const T step = T(a.state[t.image].step);
    block.for_elements(t.column, t.columns, [=](int e) { x[e] = base[e] + step * d[e]; });
  }
};

template <class T>
struct Search {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4;
  LbfgsSearchArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* g = image_of(a.g, a.size, t.image);
    const T* d = image_of(a.d, a.size, t.image);
    block.reduce_elements<1>(
        t.column, t.columns, [=](int e) -> Sums<1> { return {{double(g[e]) * d[e]}}; }, partial);
  }

  /// Accepts when slope >= 0.9 slope0 and Phi fell: for a convex Phi it did when slope <= 0, and otherwise
  /// slope <= (1 - 2e-4)|slope0| with Phi not above its start by more than rounding.
  BILEVEL_HD void finish(int image, const double* total) const {
    LbfgsState& l = a.state[image];
    const double slope = total[0], value = a.value[image];
    const bool fell =
        slope <= 0 || (slope <= -(1 - 2e-4) * l.slope0 && value <= l.value0 + a.slack * std::fabs(l.value0));
    if (l.gradient_step || (fell && slope >= 0.9 * l.slope0)) {
      l.value0 = value;
      a.accepted[image] = 1;
      return;
    }
    l.tries += 1;
    if (l.tries >= 20) {
      take_gradient(l);
      a.redo[image] = 1;
      return;
    }
    if (slope > 0) {
      l.high = l.step;
      l.slope_high = slope;
    } else {
      l.low = l.step;
      l.slope_low = slope;
    }
    const double secant = l.slope_low / (l.slope_low - l.slope_high);
    l.step = l.high < HUGE_VAL ? l.low + (l.high - l.low) * minimum(maximum(secant, 0.1), 0.9) : 4 * l.step;
  }
};

/// Sums: <g,s_j>, <g,y_j>, <y,s_j>, <y,y_j> for every slot j, then <s,s>; s, y the new pair.
template <class T>
struct Update {
  static constexpr int sums = 4 * memory + 1;
  static constexpr int scratch = 0, resident = 4;
  LbfgsUpdateArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const LbfgsState& l = a.state[t.image];
    const T* x = image_of(a.x, a.size, t.image);
    const T* g = image_of(a.g, a.size, t.image);
    T* base = image_of(a.base, a.size, t.image);
    T* base_g = image_of(a.base_g, a.size, t.image);
    T* s = pair_of(a.s, a.size, a.n, l.head, t.image);
    T* y = pair_of(a.y, a.size, a.n, l.head, t.image);
    block.reduce_elements<1>(
        t.column, t.columns,
        [=](int e) -> Sums<1> {
          const T ds = x[e] - base[e];
          s[e] = ds;
          y[e] = g[e] - base_g[e];
          base[e] = x[e];
          base_g[e] = g[e];
          return {{double(ds) * ds}};
        },
        partial + 4 * memory);
    for (int age = -1; age < minimum(l.filled, memory - 1); ++age) {
      const int slot = age < 0 ? l.head : slot_of(l, age);
      const T* s_j = pair_of(a.s, a.size, a.n, slot, t.image);
      const T* y_j = pair_of(a.y, a.size, a.n, slot, t.image);
      block.reduce_elements<4>(
          t.column, t.columns,
          [=](int e) -> Sums<4> {
            const double v = g[e], w = y[e], vs = s_j[e], vy = y_j[e];
            return {{v * vs, v * vy, w * vs, w * vy}};
          },
          partial + 4 * slot);
    }
  }

  /// Keeps the pair when <s,y> >= mu/2 |s|^2, which holds exactly for a mu-strongly convex Phi.
  BILEVEL_HD void finish(int image, const double* total) const {
    LbfgsState& l = a.state[image];
    const int h = l.head;
    const double curvature = total[4 * h + 2];
    if (l.filled == memory) l.filled -= 1;  // the slot of the oldest pair was written
    if (curvature > 0 && curvature >= 0.5 * a.mu * total[4 * memory]) {
      for (int age = -1; age < l.filled; ++age) {
        const int j = age < 0 ? h : slot_of(l, age);
        l.sy[j][h] = total[4 * j + 2];
        l.yy[j][h] = total[4 * j + 3];
        l.yy[h][j] = total[4 * j + 3];
      }
      l.head = (h + 1) % memory;
      l.filled += 1;
    }
    two_loops(l, total);
  }
};

template <class T>
struct Direction {
  static constexpr int sums = 3;
  static constexpr int scratch = 0, resident = 4;
  LbfgsDirectionArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const LbfgsState& l = a.state[t.image];
    const T* g = image_of(a.base_g, a.size, t.image);
    T* d = image_of(a.d, a.size, t.image);
    const T on_g = T(l.on_g);
    block.for_elements(t.column, t.columns, [=](int e) { d[e] = on_g * g[e]; });
    for (int age = l.filled - 1; age >= 0; --age) {
      const int slot = slot_of(l, age);
      const T* s = pair_of(a.s, a.size, a.n, slot, t.image);
      const T* y = pair_of(a.y, a.size, a.n, slot, t.image);
      const T on_s = T(l.on_s[slot]), on_y = T(l.on_y[slot]);
      block.for_elements(t.column, t.columns, [=](int e) { d[e] += on_s * s[e] + on_y * y[e]; });
    }
    block.reduce_elements<3>(
        t.column, t.columns,
        [=](int e) -> Sums<3> {
          const double v = g[e], w = d[e];
          return {{v * w, w * w, v * v}};
        },
        partial);
  }

  BILEVEL_HD void finish(int image, const double* total) const {
    LbfgsState& l = a.state[image];
    a.accepted[image] = 0;
    a.redo[image] = 0;
    if (!l.gradient_step && !(total[0] < -1e-12 * std::sqrt(total[1] * total[2]))) {
      take_gradient(l);
      a.redo[image] = 1;
      return;
    }
    l.slope0 = total[0];
    l.step = l.gradient_step ? a.gradient_step : 1.0;
    l.low = 0;
    l.slope_low = total[0];
    l.high = HUGE_VAL;
    l.slope_high = 0;
    l.tries = 0;
  }
};

template <class T, template <class> class Body, class Args>
void elements(const Stream& stream, const Args& a) {
  launch_elements(stream, a.active, a.size, Body<T>{a});
}

}  // namespace

template <class T>
void fill_lbfgs(Table<T>& table) {
  table.lbfgs_trial = elements<T, Trial, LbfgsTrialArgs<T>>;
  table.lbfgs_search = elements<T, Search, LbfgsSearchArgs<T>>;
  table.lbfgs_update = elements<T, Update, LbfgsUpdateArgs<T>>;
  table.lbfgs_direction = elements<T, Direction, LbfgsDirectionArgs<T>>;
}
template void fill_lbfgs(Table<float>&);
template void fill_lbfgs(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
