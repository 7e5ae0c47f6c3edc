#include <complex>

#include "tests/kernels/mri_lab.hpp"

// The kernels on Fourier coefficients against plain loops in double over the whole k-space: half spectra are
// taken from Hermitian ones, and what the kernels do to them must be the Hermitian part of what the loops do.

namespace bilevel {
namespace {

using namespace testing_support;
using Complex = std::complex<double>;

/// A whole k-space of H x W frequencies per image and coil, and how its spectra are stored.
struct Layout {
  int n, coils, height, width;
  bool pair, by_column;

  int columns() const { return pair ? width / 2 + 1 : width; }
  int channels() const { return pair ? 2 : 1; }
  int size() const { return height * columns(); }
  int points() const { return height * width; }
  int arrays() const { return n * coils; }
  kernels::SpectrumShape shape() const { return {n, coils, height, columns(), width, pair, by_column}; }
  /// Frequency of coefficient e; of the second channel the opposite one.
  int frequency(int e, int channel) const {
    int k = by_column ? e % height : e / columns(), l = by_column ? e / height : e % columns();
    if (channel == 1) {
      k = (height - k) % height;
      l = (width - l) % width;
    }
    return k * width + l;
  }
  int opposite(int frequency) const {
    return (height - frequency / width) % height * width + (width - frequency % width) % width;
  }
  std::string str() const {
    return std::to_string(n) + " x " + std::to_string(coils) + " x " + std::to_string(height) + " x " +
           std::to_string(width) + (pair ? ", half" : ", whole") + (by_column ? ", by column" : ", by row");
  }
};

/// One, single rows and columns, odd and even, and sizes around the chunk of a launch (4096).
std::vector<Layout> layouts() {
  const struct {
    int n, coils, h, w;
  } sizes[] = {{1, 1, 1, 1},   {3, 1, 1, 6},   {2, 1, 5, 1},  {3, 1, 3, 5},   {2, 1, 4, 6},   {2, 1, 64, 64},
               {2, 1, 63, 66}, {2, 1, 85, 97}, {2, 3, 9, 10}, {1, 2, 65, 64}, {1, 1, 64, 126}};
  std::vector<Layout> out;
  for (const auto& s : sizes)
    for (const bool by_column : {false, true}) {
      out.push_back({s.n, s.coils, s.h, s.w, false, by_column});
      if (s.coils == 1) out.push_back({s.n, 1, s.h, s.w, true, by_column});
    }
  return out;
}

template <class T>
class SpectrumKernels : public ::testing::Test {
 protected:
  double number() { return static_cast<double>(static_cast<T>(random_.normal())); }
  Numbers numbers(std::size_t size) {
    Numbers out(size);
    for (double& v : out) v = number();
    return out;
  }
  /// [arrays][points]; of real images where the layout is of half spectra.
  std::vector<Complex> kspace(const Layout& s, bool real) {
    std::vector<Complex> out(static_cast<std::size_t>(s.arrays() * s.points()));
    for (Complex& v : out) v = {number(), number()};
    if (!real) return out;
    for (int a = 0; a < s.arrays(); ++a)
      for (int j = 0; j < s.points(); ++j) {
        const int other = s.opposite(j);
        Complex& v = out[static_cast<std::size_t>(a * s.points() + j)];
        if (other == j) v = v.real();
        if (other < j) v = std::conj(out[static_cast<std::size_t>(a * s.points() + other)]);
      }
    return out;
  }
  /// What the kernels take: [arrays][channels][size] interleaved, the second channel conjugated.
  static Numbers stored(const Layout& s, const std::vector<Complex>& full, int channels) {
    Numbers out;
    for (int a = 0; a < s.arrays(); ++a)
      for (int channel = 0; channel < channels; ++channel)
        for (int e = 0; e < s.size(); ++e) {
          const Complex v = full[static_cast<std::size_t>(a * s.points() + s.frequency(e, channel))];
          out.push_back(v.real());
          out.push_back(channel == 1 ? -v.imag() : v.imag());
        }
    return out;
  }
  static Numbers stored(const Layout& s, const Numbers& w) {
    Numbers out;
    for (int channel = 0; channel < s.channels(); ++channel)
      for (int e = 0; e < s.size(); ++e) out.push_back(w[static_cast<std::size_t>(s.frequency(e, channel))]);
    return out;
  }
  /// [arrays][1][size] of the Hermitian part of the k-space.
  static Numbers hermitian(const Layout& s, std::vector<Complex> full) {
    if (s.pair) {
      const std::vector<Complex> all = full;
      for (int a = 0; a < s.arrays(); ++a)
        for (int j = 0; j < s.points(); ++j)
          full[static_cast<std::size_t>(a * s.points() + j)] =
              0.5 * (all[static_cast<std::size_t>(a * s.points() + j)] +
                     std::conj(all[static_cast<std::size_t>(a * s.points() + s.opposite(j))]));
    }
    return stored(s, full, 1);
  }

  Random random_{seed(2301)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SpectrumKernels, Precisions);

// X = scale x: the pass gives scale w (X - y) with three sums, or scale w X.
TYPED_TEST(SpectrumKernels, Passes) {
  using T = TypeParam;
  using kernels::SpectrumPass;
  const double u = unit_roundoff<T>;
  for (const Layout& s : layouts())
    for (const auto pass : {SpectrumPass::gradient, SpectrumPass::weigh, SpectrumPass::normal}) {
      SCOPED_TRACE(s.str() + ", pass " + std::to_string(static_cast<int>(pass)));
      KernelLab<T> lab(s.n);
      const bool normal = pass == SpectrumPass::normal;
      const auto x = this->kspace(s, s.pair), y = this->kspace(s, false);
      Numbers w = this->numbers(static_cast<std::size_t>(s.points()));
      if (pass != SpectrumPass::weigh)
        for (double& v : w) v = std::abs(v);
      if (normal && s.pair)  // one channel: the mean of conjugate frequencies, which are symmetric
        for (int j = 0; j < s.points(); ++j)
          w[static_cast<std::size_t>(j)] = w[static_cast<std::size_t>(std::min(j, s.opposite(j)))];
      const double scale = 0.3;
      std::vector<Complex> want(x.size()), size(x.size());
      const Numbers unset(static_cast<std::size_t>(3 * s.coils * s.n), -7.0);
      Numbers sums = unset, terms = unset;
      for (int i = 0; i < s.n; ++i)
        for (int c = 0; c < s.coils; ++c) {
          double sum[3] = {}, term[3] = {};
          for (int j = 0; j < s.points(); ++j) {
            const auto e = static_cast<std::size_t>((i * s.coils + c) * s.points() + j);
            const double weight = w[static_cast<std::size_t>(j)];
            const Complex big = scale * x[e], r = normal ? big : big - y[e];
            want[e] = lab.frozen(i) ? x[e] : scale * weight * r;
            const double length = std::abs(big) + (normal ? 0 : std::abs(y[e]));
            size[e] = lab.frozen(i) ? 0 : std::abs(scale * weight) * length * Complex(1, 1);
            sum[0] += weight * std::norm(r);
            sum[1] += weight * weight * std::norm(r);
            sum[2] += 2 * weight * weight * (std::norm(big) + std::norm(y[e]));
            term[0] += std::abs(weight) * length * length;
            term[1] += weight * weight * length * length;
            term[2] += 2 * weight * weight * length * length;
          }
          for (int k = 0; k < 3 && pass == SpectrumPass::gradient && !lab.frozen(i); ++k) {
            sums[static_cast<std::size_t>((3 * c + k) * s.n + i)] = sum[k];
            terms[static_cast<std::size_t>((3 * c + k) * s.n + i)] = term[k];
          }
        }
      auto spectra = lab.put(this->stored(s, x, 1)), data = lab.put(this->stored(s, y, s.channels())),
           weights = lab.put(this->stored(s, w));
      auto results = lab.template put<double>(unset);
      lab.table().spectrum(lab.stream(), {pass, s.shape(), lab.active(), scale, at(weights),
                                          normal ? nullptr : at(data), at(spectra), at(results)});
      Numbers bound = this->hermitian(s, size);  // the second coordinate of the mean may cancel
      for (std::size_t e = 0; e + 1 < bound.size(); e += 2) bound[e + 1] = bound[e];
      const Numbers got = lab.get(spectra);
      expect_entries<T>(got, this->hermitian(s, want), bound, 10, "coefficients");
      const Numbers got_sums = lab.get(results);
      for (std::size_t k = 0; k < sums.size(); ++k)
        EXPECT_NEAR(got_sums[k], sums[k], (16 * u + 300 * unit_roundoff<double>)*std::abs(terms[k])) << k;
      if (this->HasFailure()) return;
    }
}

// u <- w (X - y + u / sigma) / (1 + w / sigma), which solves (u - v) / sigma + u / w + y = 0 at v = u + sigma
// X, and scale u; the start does not look at u.
TYPED_TEST(SpectrumKernels, DualPass) {
  using T = TypeParam;
  for (const Layout& s : layouts())
    for (const double inverse : {0.0, 0.75}) {
      SCOPED_TRACE(s.str() + ", 1/sigma " + std::to_string(inverse));
      KernelLab<T> lab(s.n);
      const auto x = this->kspace(s, s.pair), y = this->kspace(s, false);
      auto u = this->kspace(s, false);
      Numbers w = this->numbers(static_cast<std::size_t>(s.points()));
      for (double& v : w) v = std::max(0.0, v);
      const double scale = 0.3;
      std::vector<Complex> want(x), dual(u), size(x.size()), dual_size(x.size());
      for (std::size_t e = 0; e < x.size(); ++e) {
        const double weight = w[e % static_cast<std::size_t>(s.points())];
        if (lab.frozen(static_cast<int>(e) / (s.coils * s.points()))) continue;
        const double length = std::abs(scale * x[e]) + std::abs(y[e]) + inverse * std::abs(u[e]);
        dual[e] = weight / (1 + inverse * weight) * (scale * x[e] - y[e] + inverse * u[e]);
        want[e] = scale * dual[e];
        dual_size[e] = weight * length * Complex(1, 1);
        size[e] = scale * dual_size[e];
        if (inverse == 0) u[e] = std::nan("");
      }
      auto spectra = lab.put(this->stored(s, x, 1)), data = lab.put(this->stored(s, y, s.channels())),
           weights = lab.put(this->stored(s, w)), duals = lab.put(this->stored(s, u, s.channels()));
      lab.table().spectrum(lab.stream(), {kernels::SpectrumPass::dual, s.shape(), lab.active(), scale,
                                          at(weights), at(data), at(spectra), nullptr, inverse, at(duals)});
      const auto bound =
          [](Numbers pairs) {  // the second coordinate cancels in means, is negated in channels
            for (std::size_t e = 0; e + 1 < pairs.size(); e += 2) pairs[e + 1] = pairs[e];
            return pairs;
          };
      expect_entries<T>(lab.get(spectra), this->hermitian(s, want), bound(this->hermitian(s, size)), 10,
                        "coefficients");
      expect_entries<T>(lab.get(duals), this->stored(s, dual, s.channels()),
                        bound(this->stored(s, dual_size, s.channels())), 10, "dual variable");
      if (this->HasFailure()) return;
    }
}

TYPED_TEST(SpectrumKernels, MixedSumsPerFrequency) {
  using T = TypeParam;
  for (const Layout& s : layouts())
    for (const bool powers : {false, true}) {
      SCOPED_TRACE(s.str() + (powers ? ", powers" : ", product"));
      KernelLab<T> lab(s.n);
      const auto x = this->kspace(s, s.pair), q = this->kspace(s, s.pair), y = this->kspace(s, false);
      const double scale = 0.3;
      const int rows = s.channels() * s.size();
      Numbers want(static_cast<std::size_t>((powers ? 2 : 1) * rows * s.n), -7.0), size = want;
      for (int i = 0; i < s.n; ++i)
        for (int channel = 0; channel < s.channels(); ++channel)
          for (int e = 0; e < s.size() && !lab.frozen(i); ++e) {
            double first = 0, second = 0, length = 0;
            for (int c = 0; c < s.coils; ++c) {
              const auto j =
                  static_cast<std::size_t>((i * s.coils + c) * s.points() + s.frequency(e, channel));
              const Complex r = scale * x[j] - y[j], big = scale * q[j];
              first += powers ? std::norm(r) : (std::conj(big) * r).real();
              second += std::norm(big);
              const double of_r = std::abs(scale * x[j]) + std::abs(y[j]);
              length += of_r * (powers ? of_r : std::abs(big));
            }
            const auto at_row = static_cast<std::size_t>((channel * s.size() + e) * s.n + i);
            want[at_row] = first;
            size[at_row] = length;
            if (powers) want[at_row + static_cast<std::size_t>(rows * s.n)] = second;
            if (powers) size[at_row + static_cast<std::size_t>(rows * s.n)] = second;
          }
      auto fx = lab.put(this->stored(s, x, 1)), fq = lab.put(this->stored(s, q, 1)),
           data = lab.put(this->stored(s, y, s.channels()));
      auto out = lab.template put<double>(Numbers(want.size(), -7.0));
      lab.table().spectrum_mixed(lab.stream(),
                                 {s.shape(), lab.active(), powers, scale, at(fx), at(fq), at(data), at(out)});
      const Numbers got = lab.get(out);
      for (std::size_t e = 0; e < want.size(); ++e)
        ASSERT_NEAR(got[e], want[e], 16 * unit_roundoff<double> * std::abs(size[e])) << e;
    }
}

/// [arrays][components][points] to interleaved complex numbers.
Numbers interleaved(const Numbers& planes, int arrays, int components) {
  const std::size_t points =
      planes.size() / static_cast<std::size_t>(arrays) / static_cast<std::size_t>(components);
  Numbers out;
  for (int a = 0; a < arrays; ++a)
    for (std::size_t p = 0; p < points; ++p) {
      const std::size_t first = static_cast<std::size_t>(a * components) * points + p;
      out.push_back(planes[first]);
      out.push_back(components == 2 ? planes[first + points] : 0);
    }
  return out;
}

const struct {
  int n, coils;
  std::size_t points;
} plane_sizes[] = {{1, 1, 1}, {3, 1, 5}, {2, 3, 4097}, {3, 2, 4096}};

// The whole batch is packed, the active images are unpacked.
TYPED_TEST(SpectrumKernels, PackAndUnpack) {
  using T = TypeParam;
  for (const auto& s : plane_sizes)
    for (const int components : {1, 2}) {
      SCOPED_TRACE(std::to_string(s.points) + " points, components " + std::to_string(components));
      KernelLab<T> lab(s.n);
      const int arrays = s.n * s.coils;
      const Numbers planes = this->numbers(static_cast<std::size_t>(arrays * components) * s.points);
      const Numbers mixed = interleaved(planes, arrays, components);
      auto in = lab.put(planes), out = lab.put(Numbers(mixed.size(), -7.0));
      lab.table().pack(lab.stream(), {lab.active(), s.n, s.coils, components, s.points, 1, at(in), at(out)});
      EXPECT_EQ(lab.get(out), mixed);

      auto back = lab.put(Numbers(planes.size(), -7.0));
      lab.table().unpack(lab.stream(),
                         {lab.active(), s.n, s.coils, components, s.points, 0.5, at(out), at(back)});
      Numbers want = planes;
      const std::size_t each = planes.size() / static_cast<std::size_t>(s.n);
      for (std::size_t e = 0; e < want.size(); ++e)
        want[e] = lab.frozen(static_cast<int>(e / each)) ? -7 : 0.5 * want[e];
      EXPECT_EQ(lab.get(back), want);
    }
}

TYPED_TEST(SpectrumKernels, CoilsExpandAndCombine) {
  using T = TypeParam;
  for (const auto& s : plane_sizes)
    for (const int components : {1, 2}) {
      SCOPED_TRACE(std::to_string(s.points) + " points, components " + std::to_string(components));
      KernelLab<T> lab(s.n);
      const std::size_t points = s.points, coils = static_cast<std::size_t>(s.coils),
                        c2 = static_cast<std::size_t>(components), n = static_cast<std::size_t>(s.n);
      const Numbers maps = this->numbers(2 * coils * points), x = this->numbers(n * c2 * points),
                    z = this->numbers(n * coils * 2 * points);
      const auto value = [&](const Numbers& v, std::size_t array, std::size_t planes, std::size_t p) {
        return Complex(v[array * planes * points + p], planes == 2 ? v[(2 * array + 1) * points + p] : 0);
      };
      Numbers expanded(z.size()), combined(x.size(), -7.0), expanded_size = expanded, combined_size(x.size());
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t p = 0; p < points; ++p) {
          Complex sum = 0;
          double length = 0;
          for (std::size_t c = 0; c < coils; ++c) {
            const Complex s_c = value(maps, c, 2, p), from = value(x, i, c2, p),
                          own = value(z, i * coils + c, 2, p);
            const std::size_t first = (i * coils + c) * 2 * points + p;
            expanded[first] = (s_c * from).real();
            expanded[first + points] = (s_c * from).imag();
            expanded_size[first] = expanded_size[first + points] = std::abs(s_c) * std::abs(from);
            sum += std::conj(s_c) * own;
            length += std::abs(s_c) * std::abs(own);
          }
          if (lab.frozen(static_cast<int>(i))) continue;
          combined[i * c2 * points + p] = sum.real();
          if (components == 2) combined[(2 * i + 1) * points + p] = sum.imag();
          for (std::size_t k = 0; k < c2; ++k) combined_size[(i * c2 + k) * points + p] = length;
        }
      auto sigma = lab.put(maps), image = lab.put(x), coil_images = lab.put(z),
           out = lab.put(Numbers(z.size(), -7.0)), joined = lab.put(Numbers(x.size(), -7.0));
      lab.table().coil_expand(
          lab.stream(), {lab.active(), s.n, s.coils, components, points, at(sigma), at(image), at(out)});
      expect_entries<T>(lab.get(out), expanded, expanded_size, 4, "expanded");
      lab.table().coil_combine(lab.stream(), {lab.active(), s.n, s.coils, components, points, at(sigma),
                                              at(coil_images), at(joined)});
      expect_entries<T>(lab.get(joined), combined, combined_size, 8, "combined");
    }
}

TYPED_TEST(SpectrumKernels, ScaleSpectra) {
  using T = TypeParam;
  for (const auto& s : plane_sizes) {
    KernelLab<T> lab(s.n);
    const Numbers w = this->numbers(s.points),
                  x = this->numbers(2 * static_cast<std::size_t>(s.n) * s.points);
    Numbers want = x, size = x;
    for (std::size_t e = 0; e < x.size(); ++e) {
      want[e] *= 0.3 * w[e / 2 % s.points];
      size[e] = std::abs(want[e]);
    }
    auto weight = lab.put(w), spectra = lab.put(x);
    lab.table().scale_spectra(lab.stream(), {s.n, s.points, 0.3, at(weight), at(spectra)});
    expect_entries<T>(lab.get(spectra), want, size, 4, "scaled");
  }
}

}  // namespace
}  // namespace bilevel
