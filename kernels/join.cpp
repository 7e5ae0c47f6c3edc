// Terms behind linear operators, and on a part of the unknown.

#include "kernels/join_args.hpp"
#include "kernels/launch.hpp"
#include "kernels/math.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

template <class T>
struct Join {
  static constexpr int sums = 2;
  static constexpr int scratch = 0, resident = 4;
  JoinArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* x = image_of(a.x, a.size, t);
    const T* term = image_of(a.term, a.size, t);
    T* gradient = image_of(a.gradient, a.size, t);
    block.reduce_elements<2>(
        t.column, t.columns,
        [=](int e) -> Sums<2> {
          const T v = x[e], g = gradient[e] + term[e];
          gradient[e] = g;
          return {{double(v) * v, double(g) * g}};
        },
        partial);
  }
  BILEVEL_HD void finish(int i, const double* total) const {
    const double own =
        2 * std::sqrt(a.norm2[i]) + a.reading * std::sqrt(total[0]) + a.writing * std::sqrt(a.flux2[i]);
    a.value[i] += a.term_value[i];
    a.norm2[i] = total[1];
    a.rounding[i] =
        bound_where_finite(a.value[i], a.rounding[i] + a.unit * own + a.norm * a.flux_rounding[i]);
  }
};

template <class T>
void join(const Stream& stream, const JoinArgs<T>& a) {
  launch_elements(stream, a.active, a.size, Join<T>{a});
}

template <class T>
struct Part {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  PartArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* x = image_of(a.x, a.from, t);
    T* out = image_of(a.out, a.to, t);
    block.for_elements(t.column, t.columns, [=](int e) { out[e] = x[e]; });
  }
};

template <class T>
void part(const Stream& stream, const PartArgs<T>& a) {
  launch_elements(stream, a.active, a.size, Part<T>{a});
}

template <class T>
struct Diagonal {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  DiagonalArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* term = a.term;
    T* inverse = image_of(a.inverse, a.size, t);
    block.for_elements(t.column, t.columns,
                       [=](int e) { inverse[e] = T(1) / (T(1) / inverse[e] + term[e]); });
  }
};

template <class T>
void add_diagonal(const Stream& stream, const DiagonalArgs<T>& a) {
  launch_elements(stream, a.active, a.size, Diagonal<T>{a});
}

}  // namespace

template <class T>
void fill_join(Table<T>& table) {
  table.join = join<T>;
  table.part = part<T>;
  table.add_diagonal = add_diagonal<T>;
}
template void fill_join(Table<float>&);
template void fill_join(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
