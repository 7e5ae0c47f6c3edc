// The two vector updates of conjugate gradients with 16-byte loads and stores: one instruction moves two
// doubles or four floats, so that a quarter to a half of the memory instructions is left. Images whose size
// is not a multiple of a pack take the generic bodies.

#include "kernels/krylov_steps.hpp"
#include "kernels/launch.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_krylov(Table<T>& table);

namespace {

template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T v[size];
};

template <class T>
BILEVEL_HD inline const Pack<T>* packs(const T* p) {
  return reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
BILEVEL_HD inline Pack<T>* packs(T* p) {
  return reinterpret_cast<Pack<T>*>(p);
}

/// 5r 2w.
template <class T, bool preconditioned>
struct PackedUpdate {
  static constexpr int sums = 2;
  static constexpr int scratch = 0, resident = 4;
  CgUpdateArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    constexpr int size = Pack<T>::size;
    const T step = cg_step<T>(a.state, t.image);
    const Pack<T>* p = packs(image_of(a.p, a.size, t));
    const Pack<T>* product = packs(image_of(a.product, a.size, t));
    const Pack<T>* inverse = packs(image_of(a.inverse_diagonal, a.size, t));
    Pack<T>* x = packs(image_of(a.x, a.size, t));
    Pack<T>* r = packs(image_of(a.r, a.size, t));
    block.reduce_elements<2>(
        t.column / size, t.columns / size,
        [=](int e) -> Sums<2> {
          const Pack<T> direction = p[e], bent = product[e];
          const Pack<T> scale = preconditioned ? inverse[e] : Pack<T>{};
          Pack<T> point = x[e], residual = r[e];
          Sums<2> s = {};
          for (int k = 0; k < size; ++k) {
            point.v[k] += step * direction.v[k];
            const T left = residual.v[k] - step * bent.v[k];
            residual.v[k] = left;
            s.v[0] += double(left) * left;
            s.v[1] += double(left) * (preconditioned ? scale.v[k] * left : left);
          }
          x[e] = point;
          r[e] = residual;
          return s;
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { finish_cg_update(a.state, image, total); }
};

/// 3r 1w.
template <class T, bool preconditioned>
struct PackedDirection {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  CgDirectionArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    constexpr int size = Pack<T>::size;
    const Pack<T>* r = packs(image_of(a.r, a.size, t));
    const Pack<T>* inverse = packs(image_of(a.inverse_diagonal, a.size, t));
    Pack<T>* p = packs(image_of(a.p, a.size, t));
    const T beta = T(a.beta[t.image]);
    block.for_elements(t.column / size, t.columns / size, [=](int e) {
      const Pack<T> residual = r[e];
      const Pack<T> scale = preconditioned ? inverse[e] : Pack<T>{};
      Pack<T> direction = p[e];
      for (int k = 0; k < size; ++k)
        direction.v[k] =
            (preconditioned ? scale.v[k] * residual.v[k] : residual.v[k]) + beta * direction.v[k];
      p[e] = direction;
    });
  }
};

template <class T>
bool packable(std::size_t size, std::initializer_list<const T*> arrays) {
  bool all = size % Pack<T>::size == 0;
  for (const T* p : arrays) all = all && reinterpret_cast<std::uintptr_t>(p) % sizeof(Pack<T>) == 0;
  return all;
}

/// The bodies for what is not packable.
template <class T>
const Table<T>& generic() {
  static const Table<T> table = [] {
    Table<T> t{};
    fill_krylov(t);
    return t;
  }();
  return table;
}

template <class T>
void update(const Stream& stream, const CgUpdateArgs<T>& a) {
  if (!packable<T>(a.size, {a.p, a.product, a.inverse_diagonal, a.x, a.r}))
    return generic<T>().cg_update(stream, a);
  if (a.inverse_diagonal)
    launch_elements(stream, a.active, a.size, PackedUpdate<T, true>{a});
  else
    launch_elements(stream, a.active, a.size, PackedUpdate<T, false>{a});
}

template <class T>
void direction(const Stream& stream, const CgDirectionArgs<T>& a) {
  if (!packable<T>(a.size, {a.r, a.inverse_diagonal, a.p})) return generic<T>().cg_direction(stream, a);
  if (a.inverse_diagonal)
    launch_elements(stream, a.active, a.size, PackedDirection<T, true>{a});
  else
    launch_elements(stream, a.active, a.size, PackedDirection<T, false>{a});
}

}  // namespace

template <class T>
void override_kernels(Table<T>& table) {
  table.cg_update = update<T>;
  table.cg_direction = direction<T>;
}
template void override_kernels(Table<float>&);
template void override_kernels(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
