// What happens to Fourier coefficients between transforms, and between real planes and complex numbers.

#include "kernels/launch.hpp"
#include "kernels/spectrum_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Address of the spectrum of an image's coil in an array with `channels` per spectrum.
template <class T>
BILEVEL_HD inline T* spectrum_of(T* array, const SpectrumShape& s, int image, int coil, int channels) {
  return array + 2 * (static_cast<long long>(image) * s.coils + coil) * channels *
                     static_cast<long long>(s.height) * s.columns;
}

/// 1 where a coefficient of a half spectrum stands for two frequencies, 1/2 where its conjugate is stored
/// too: columns 0 and W/2.
BILEVEL_HD inline double multiplicity(const SpectrumShape& s, int element) {
  const int column = s.by_column ? element / s.height : element % s.columns;
  return column == 0 || 2 * column == s.width ? 0.5 : 1;
}

template <class T, bool pair>
struct Gradient {
  static constexpr int sums = 3;
  static constexpr int scratch = 0, resident = 4;
  SpectrumArgs<T> a;

  /// Coefficients [first, first + count) of a spectrum.
  BILEVEL_HD void range(Block& block, int image, int coil, int first, int count, T* x,
                        double* partial) const {
    const SpectrumShape& s = a.shape;
    const T* w = a.weight + first;
    const T* y = spectrum_of(a.data, s, image, coil, pair ? 2 : 1) + 2 * static_cast<long long>(first);
    const T scale = T(a.scale);
    if constexpr (pair) {
      const long long size = static_cast<long long>(s.height) * s.columns;
      const T* w2 = w + size;
      const T* y2 = y + 2 * size;
      const bool one_column = s.by_column && first / s.height == (first + count - 1) / s.height;
      const double of_column = multiplicity(s, first);
      block.template reduce_elements<3>(
          0, count,
          [=](int e) -> Sums<3> {
            const T re = scale * x[2 * e], im = scale * x[2 * e + 1];
            const T r1 = re - y[2 * e], i1 = im - y[2 * e + 1], r2 = re - y2[2 * e], i2 = im - y2[2 * e + 1];
            const T g1 = w[e] * r1, h1 = w[e] * i1, g2 = w2[e] * r2, h2 = w2[e] * i2;
            x[2 * e] = T(0.5) * scale * (g1 + g2);
            x[2 * e + 1] = T(0.5) * scale * (h1 + h2);
            const double m = one_column ? of_column : multiplicity(s, first + e);
            const T u1 = w[e] * w[e], u2 = w2[e] * w2[e], power = re * re + im * im;
            return {{m * double(g1 * r1 + h1 * i1 + g2 * r2 + h2 * i2),
                     m * double(g1 * g1 + h1 * h1 + g2 * g2 + h2 * h2),
                     2 * m *
                         double(u1 * (power + y[2 * e] * y[2 * e] + y[2 * e + 1] * y[2 * e + 1]) +
                                u2 * (power + y2[2 * e] * y2[2 * e] + y2[2 * e + 1] * y2[2 * e + 1]))}};
          },
          partial);
    } else {
      block.template reduce_elements<3>(
          0, count,
          [=](int e) -> Sums<3> {
            const T re = scale * x[2 * e], im = scale * x[2 * e + 1], yr = y[2 * e], yi = y[2 * e + 1];
            const T r = re - yr, i = im - yi, g = w[e] * r, h = w[e] * i;
            x[2 * e] = scale * g;
            x[2 * e + 1] = scale * h;
            return {{double(g * r + h * i), double(g * g + h * h),
                     2 * double(w[e] * w[e] * ((re * re + im * im) + (yr * yr + yi * yi)))}};
          },
          partial);
    }
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    range(block, t.image, t.plane, t.column, t.columns,
          spectrum_of(a.x, a.shape, t.image, t.plane, 1) + 2 * static_cast<long long>(t.column), partial);
  }
  BILEVEL_HD void finish(int image, int coil, const double* total) const {
    for (int k = 0; k < 3; ++k) a.sums[(coil * 3 + k) * a.shape.n + image] = total[k];
  }
};

template <class T, bool pair>
struct Weigh {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  SpectrumArgs<T> a;

  BILEVEL_HD void range(Block& block, int image, int coil, int first, int count, T* x, double*) const {
    const SpectrumShape& s = a.shape;
    const T* w = a.weight + first;
    const T* y = spectrum_of(a.data, s, image, coil, pair ? 2 : 1) + 2 * static_cast<long long>(first);
    const T scale = T(a.scale);
    if constexpr (pair) {
      const long long size = static_cast<long long>(s.height) * s.columns;
      const T* w2 = w + size;
      const T* y2 = y + 2 * size;
      block.for_elements(0, count, [=](int e) {
        const T re = scale * x[2 * e], im = scale * x[2 * e + 1];
        x[2 * e] = T(0.5) * scale * (w[e] * (re - y[2 * e]) + w2[e] * (re - y2[2 * e]));
        x[2 * e + 1] = T(0.5) * scale * (w[e] * (im - y[2 * e + 1]) + w2[e] * (im - y2[2 * e + 1]));
      });
    } else {
      block.for_elements(0, count, [=](int e) {
        x[2 * e] = scale * (w[e] * (scale * x[2 * e] - y[2 * e]));
        x[2 * e + 1] = scale * (w[e] * (scale * x[2 * e + 1] - y[2 * e + 1]));
      });
    }
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    range(block, t.image, t.plane, t.column, t.columns,
          spectrum_of(a.x, a.shape, t.image, t.plane, 1) + 2 * static_cast<long long>(t.column), partial);
  }
};

template <class T>
struct Normal {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  SpectrumArgs<T> a;

  BILEVEL_HD void range(Block& block, int, int, int first, int count, T* x, double*) const {
    const T* w = a.weight + first;
    const T factor = T(a.scale * a.scale);
    block.for_elements(0, count, [=](int e) {
      const T f = factor * w[e];
      x[2 * e] *= f;
      x[2 * e + 1] *= f;
    });
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    range(block, t.image, t.plane, t.column, t.columns,
          spectrum_of(a.x, a.shape, t.image, t.plane, 1) + 2 * static_cast<long long>(t.column), partial);
  }
};

template <class T, bool pair>
struct DualStep {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  SpectrumArgs<T> a;

  BILEVEL_HD void range(Block& block, int image, int coil, int first, int count, T* x, double*) const {
    constexpr int channels = pair ? 2 : 1;
    const SpectrumShape& s = a.shape;
    const long long size = static_cast<long long>(s.height) * s.columns;
    const T* w = a.weight + first;
    const T* y = spectrum_of(a.data, s, image, coil, channels) + 2 * static_cast<long long>(first);
    T* u = spectrum_of(a.dual, s, image, coil, channels) + 2 * static_cast<long long>(first);
    const T scale = T(a.scale), inverse = T(a.inverse_step), share = T(pair ? 0.5 : 1) * scale;
    const bool start = !(a.inverse_step > 0);
    block.for_elements(0, count, [=](int e) {
      const T re = scale * x[2 * e], im = scale * x[2 * e + 1];
      T sum_re = T(0), sum_im = T(0);
      for (int channel = 0; channel < channels; ++channel) {
        const T weight = w[channel * size + e], factor = weight / (T(1) + inverse * weight);
        const T* data = y + 2 * (channel * size + e);
        T* dual = u + 2 * (channel * size + e);
        const T next_re = factor * ((re - data[0]) + (start ? T(0) : inverse * dual[0]));
        const T next_im = factor * ((im - data[1]) + (start ? T(0) : inverse * dual[1]));
        dual[0] = next_re;
        dual[1] = next_im;
        sum_re += next_re;
        sum_im += next_im;
      }
      x[2 * e] = share * sum_re;
      x[2 * e + 1] = share * sum_im;
    });
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    range(block, t.image, t.plane, t.column, t.columns,
          spectrum_of(a.x, a.shape, t.image, t.plane, 1) + 2 * static_cast<long long>(t.column), partial);
  }
};

template <class T>
struct Multiply {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  SpectrumArgs<T> a;

  BILEVEL_HD void range(Block& block, int, int, int first, int count, T* x, double*) const {
    const T* m = a.data + 2 * static_cast<long long>(first);
    // Signs that are not constants: GCC 12 makes fused multiply-adds of a difference beside a sum, whatever
    // -ffp-contract says.
    const T factor = T(a.scale * a.scale), sign = T(a.conjugate ? -1 : 1), minus = T(a.conjugate ? 1 : -1);
    block.for_elements(0, count, [=](int e) {
      const T re = factor * x[2 * e], im = factor * x[2 * e + 1];
      const T m_re = m[2 * e], m_im = sign * m[2 * e + 1];
      x[2 * e] = m_re * re + minus * m[2 * e + 1] * im;
      x[2 * e + 1] = m_re * im + m_im * re;
    });
  }
  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    range(block, t.image, t.plane, t.column, t.columns,
          spectrum_of(a.x, a.shape, t.image, t.plane, 1) + 2 * static_cast<long long>(t.column), partial);
  }
};

/// Runs f with the body of the pass.
template <class T, class F>
void with_body(const SpectrumArgs<T>& a, F f) {
  switch (a.pass) {
    case SpectrumPass::gradient:
      a.shape.pair ? f(Gradient<T, true>{a}) : f(Gradient<T, false>{a});
      break;
    case SpectrumPass::weigh:
      a.shape.pair ? f(Weigh<T, true>{a}) : f(Weigh<T, false>{a});
      break;
    case SpectrumPass::dual:
      a.shape.pair ? f(DualStep<T, true>{a}) : f(DualStep<T, false>{a});
      break;
    case SpectrumPass::multiply:
      f(Multiply<T>{a});
      break;
    case SpectrumPass::normal:
      f(Normal<T>{a});
  }
}

template <class T>
void spectrum(const Stream& stream, const SpectrumArgs<T>& a) {
  with_body(a, [&](const auto& body) {
    launch_grid(stream, a.active, 1, static_cast<int>(a.shape.size()), 1, Block::chunk, body, a.shape.coils);
  });
}

#ifndef __CUDACC__
template <class T>
void spectrum_range(const SpectrumArgs<T>& a, int image, int coil, int first, int count, T* x,
                    double* partial) {
  with_body(a, [&](const auto& body) {
    HostBlock block(nullptr);
    body.range(block, image, coil, first, count, x, partial);
  });
}

template <class T>
void spectrum_finish(const SpectrumArgs<T>& a, int image, int coil, const double* total) {
  if (a.pass == SpectrumPass::gradient) Gradient<T, false>{a}.finish(image, coil, total);
}
#endif

template <class T>
struct Mixed {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  SpectrumMixedArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const SpectrumMixedArgs<T> m = a;
    const SpectrumShape& s = a.shape;
    const int channels = s.pair ? 2 : 1, image = t.image;
    const long long size = static_cast<long long>(s.height) * s.columns;
    for (int channel = 0; channel < channels; ++channel)
      block.for_elements(t.column, t.columns, [=](int e) {
        double first = 0, second = 0;
        for (int coil = 0; coil < m.shape.coils; ++coil) {
          const T* x = spectrum_of(m.x, m.shape, image, coil, 1) + 2 * static_cast<long long>(e);
          const T* q = spectrum_of(m.q, m.shape, image, coil, 1) + 2 * static_cast<long long>(e);
          const T* y = spectrum_of(m.data, m.shape, image, coil, channels) + 2 * (channel * size + e);
          const double r = m.scale * x[0] - y[0], i = m.scale * x[1] - y[1], qr = m.scale * q[0],
                       qi = m.scale * q[1];
          first += m.powers ? r * r + i * i : qr * r + qi * i;
          second += qr * qr + qi * qi;
        }
        m.out[(channel * size + e) * m.shape.n + image] = first;
        if (m.powers) m.out[((channels + channel) * size + e) * m.shape.n + image] = second;
      });
  }
};

template <class T>
void spectrum_mixed(const Stream& stream, const SpectrumMixedArgs<T>& a) {
  launch_elements(stream, a.active, a.shape.size(), Mixed<T>{a});
}

template <class T>
struct Pack {
  PlanesArgs<T> a;

  BILEVEL_HD void operator()(std::size_t e) const {
    const std::size_t array = e / a.points, p = e % a.points;
    const bool planes = a.components == 2;
    a.out[2 * e] = a.in[(planes ? 2 * array : array) * a.points + p];
    a.out[2 * e + 1] = planes ? a.in[(2 * array + 1) * a.points + p] : T(0);
  }
};

template <class T>
void pack(const Stream& stream, const PlanesArgs<T>& a) {
  launch_range(stream, a.points * static_cast<std::size_t>(a.n) * static_cast<std::size_t>(a.coils),
               Pack<T>{a});
}

template <class T>
struct Unpack {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  PlanesArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const long long array = static_cast<long long>(t.image) * a.coils + t.plane;
    const auto points = static_cast<long long>(a.points);
    T* out = a.out + array * a.components * points;
    const T* in = a.in + array * 2 * points;
    const T factor = T(a.factor);
    const bool complex_out = a.components == 2;
    block.for_elements(t.column, t.columns, [=](int e) {
      out[e] = factor * in[2 * static_cast<long long>(e)];
      if (complex_out) out[points + e] = factor * in[2 * static_cast<long long>(e) + 1];
    });
  }
};

template <class T>
void unpack(const Stream& stream, const PlanesArgs<T>& a) {
  launch_grid(stream, a.active, 1, static_cast<int>(a.points), 1, Block::chunk, Unpack<T>{a}, a.coils);
}

template <class T>
struct Expand {
  CoilArgs<T> a;

  BILEVEL_HD void operator()(std::size_t e) const {
    const auto coils = static_cast<std::size_t>(a.coils);
    const std::size_t points = a.points, p = e % points, coil = e / points % coils,
                      image = e / points / coils;
    const bool planes = a.components == 2;
    const T sr = a.maps[2 * coil * points + p], si = a.maps[(2 * coil + 1) * points + p];
    const T xr = a.in[(planes ? 2 * image : image) * points + p];
    const T xi = planes ? a.in[(2 * image + 1) * points + p] : T(0);
    T* z = a.out + 2 * (image * coils + coil) * points + p;
    z[0] = sr * xr - si * xi;
    z[points] = sr * xi + si * xr;
  }
};

template <class T>
void coil_expand(const Stream& stream, const CoilArgs<T>& a) {
  launch_range(stream, a.points * static_cast<std::size_t>(a.n) * static_cast<std::size_t>(a.coils),
               Expand<T>{a});
}

template <class T>
struct Combine {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4;
  CoilArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const CoilArgs<T> c = a;
    const auto points = static_cast<long long>(a.points);
    const T* z = a.in + static_cast<long long>(t.image) * a.coils * 2 * points;
    T* out = a.out + static_cast<long long>(t.image) * a.components * points;
    block.for_elements(t.column, t.columns, [=](int e) {
      T re = 0, im = 0;
      for (int coil = 0; coil < c.coils; ++coil) {
        const T* s = c.maps + 2 * coil * points + e;
        const T* v = z + 2 * coil * points + e;
        re += s[0] * v[0] + s[points] * v[points];
        im += s[0] * v[points] - s[points] * v[0];
      }
      out[e] = re;
      if (c.components == 2) out[points + e] = im;
    });
  }
};

template <class T>
void coil_combine(const Stream& stream, const CoilArgs<T>& a) {
  launch_elements(stream, a.active, a.points, Combine<T>{a});
}

template <class T>
struct Scale {
  ScaleSpectraArgs<T> a;

  BILEVEL_HD void operator()(std::size_t e) const {
    const T f = T(a.factor) * a.weight[e % a.points];
    a.x[2 * e] *= f;
    a.x[2 * e + 1] *= f;
  }
};

template <class T>
void scale_spectra(const Stream& stream, const ScaleSpectraArgs<T>& a) {
  launch_range(stream, a.points * static_cast<std::size_t>(a.n), Scale<T>{a});
}

}  // namespace

template <class T>
void fill_spectrum(Table<T>& table) {
  table.spectrum = spectrum<T>;
#ifndef __CUDACC__
  table.host.spectrum_range = spectrum_range<T>;
  table.host.spectrum_finish = spectrum_finish<T>;
#endif
  table.spectrum_mixed = spectrum_mixed<T>;
  table.pack = pack<T>;
  table.unpack = unpack<T>;
  table.coil_expand = coil_expand<T>;
  table.coil_combine = coil_combine<T>;
  table.scale_spectra = scale_spectra<T>;
}
template void fill_spectrum(Table<float>&);
template void fill_spectrum(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
