// What the arithmetic of a device can do: chains of multiply-adds in registers, against which measurements
// compare kernels.

#include <cstring>

#include "kernels/launch.hpp"
#include "kernels/probe_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// The elements that one thread takes at a time: on the CPU as many as a register holds.
template <class T>
struct Lanes {
#ifdef __CUDACC__
  using type = T;
#else
  typedef T type __attribute__((vector_size(__BIGGEST_ALIGNMENT__)));
#endif
  static constexpr int count = static_cast<int>(sizeof(type) / sizeof(T));
};

/// On CUDA each step is one fused multiply-add (two instructions in the checking variant). On the CPU, where
/// contraction is off, it is a multiplication and an addition: the rate that kernels compiled alike can
/// reach, half of what fused instructions give. A register there holds the same chain of several elements,
/// and the chains hide the latency of each other.
template <class T>
struct FmaLoop {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  FmaLoopArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    using Register = typename Lanes<T>::type;
    constexpr int lanes = Lanes<T>::count;
    T* x = image_of(a.x, a.size, t);
    const T factor = T(a.factor), addend = T(a.addend);
    const int rounds = a.rounds, begin = t.column, end = t.column + t.columns;
    block.for_elements(0, (t.columns + lanes - 1) / lanes, [=](int group) {
      const int first = begin + group * lanes;
      T part[lanes];
      for (int l = 0; l < lanes; ++l) part[l] = x[minimum(first + l, end - 1)];
      Register v[fma_chains];
      std::memcpy(&v[0], part, sizeof(part));
      for (int j = 1; j < fma_chains; ++j) v[j] = v[j - 1] + addend;
      for (int k = 0; k < rounds; ++k)
        for (int j = 0; j < fma_chains; ++j) v[j] = v[j] * factor + addend;
      for (int j = 1; j < fma_chains; ++j) v[0] += v[j];
      v[0] *= T(1) / T(fma_chains);
      std::memcpy(part, &v[0], sizeof(part));
      for (int l = 0; l < minimum(lanes, end - first); ++l) x[first + l] = part[l];
    });
  }
};

template <class T>
void fma_loop(const Stream& stream, const FmaLoopArgs<T>& a) {
  launch_elements(stream, a.active, a.size, FmaLoop<T>{a});
}

}  // namespace

template <class T>
void fill_probe(Table<T>& table) {
  table.fma_loop = fma_loop<T>;
}
template void fill_probe(Table<float>&);
template void fill_probe(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
