// Between single and double precision: conversions and distances of batches of vectors.

#include "kernels/launch.hpp"
#include "kernels/precision_args.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// A number in [-1,1) per element: the multiplicative hash of Knuth (1998, section 6.4), its halves mixed.
BILEVEL_HD inline double spread(int e) {
  unsigned h = static_cast<unsigned>(e) * 2654435769u;
  h = (h ^ (h >> 15)) * 2654435769u;
  return static_cast<double>(static_cast<int>(h ^ (h >> 16))) * 0x1p-31;
}

struct Narrow {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  NarrowArgs a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const double* source = image_of(a.source, a.size, t);
    float* target = image_of(a.target, a.size, t);
    const double dither = a.dither;
    if (dither != 0)
      block.for_elements(t.column, t.columns, [=](int e) {
        target[e] = static_cast<float>(source[e] * (1 + dither * spread(e)));
      });
    else
      block.for_elements(t.column, t.columns, [=](int e) { target[e] = static_cast<float>(source[e]); });
  }
};

struct Widen {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  WidenArgs a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const float* source = image_of(a.source, a.size, t);
    double* target = image_of(a.target, a.size, t);
    if (a.add)
      block.for_elements(t.column, t.columns, [=](int e) { target[e] += double(source[e]); });
    else
      block.for_elements(t.column, t.columns, [=](int e) { target[e] = double(source[e]); });
  }
};

struct Distance {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4;
  DistanceArgs a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const double* x = image_of(a.x, a.size, t);
    const float* y = image_of(a.y, a.size, t);
    block.reduce_elements<1>(
        t.column, t.columns,
        [=](int e) -> Sums<1> {
          const double d = x[e] - double(y[e]);
          return {{d * d}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.out[image] = total[0]; }
};

}  // namespace

void narrow(const Stream& stream, const NarrowArgs& a) {
  launch_elements(stream, a.active, a.size, Narrow{a});
}
void widen(const Stream& stream, const WidenArgs& a) { launch_elements(stream, a.active, a.size, Widen{a}); }
void distance(const Stream& stream, const DistanceArgs& a) {
  launch_elements(stream, a.active, a.size, Distance{a});
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
