#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"
#include "device/fft.hpp"
#include "kernels/spectrum_args.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

// Transforms with a pass over the spectrum between them, against sums of the definition.

namespace bilevel {
namespace {

using kernels::SpectrumPass;
using testing_support::on_cuda;
using testing_support::Random;
using testing_support::RatioRecorder;
using testing_support::seed;
using testing_support::test_device;

using Wide = std::complex<double>;

/// Images [n][coils] of a filter.
struct Batch {
  int n, coils, height, width;
  bool real;

  std::size_t points() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
  int arrays() const { return n * coils; }
  int components() const { return real ? 1 : 2; }
  std::size_t values() const { return points() * static_cast<std::size_t>(components()); }  // of an array
  std::size_t opposite(std::size_t j) const {
    const std::size_t h = static_cast<std::size_t>(height), w = static_cast<std::size_t>(width);
    return (h - j / w) % h * w + (w - j % w) % w;
  }
  std::string str() const {
    return std::to_string(n) + " x " + std::to_string(coils) + " x " + std::to_string(height) + " x " +
           std::to_string(width) + (real ? ", real" : ", complex");
  }
};

/// One point, single rows and columns, even, odd, prime; several blocks of columns; several coils.
std::vector<Batch> batches() {
  std::vector<Batch> out;
  const struct {
    int n, h, w;
  } sizes[] = {{1, 1, 1},  {3, 1, 7},   {2, 1, 8},   {2, 5, 1},  {2, 6, 1},  {3, 4, 6},
               {2, 7, 11}, {2, 13, 13}, {2, 16, 36}, {3, 9, 10}, {2, 37, 2}, {1, 12, 35}};
  for (const auto& s : sizes) {
    out.push_back({s.n, 1, s.h, s.w, false});
    out.push_back({s.n, 1, s.h, s.w, true});
  }
  out.push_back({3, 2, 8, 15, false});
  out.push_back({2, 3, 11, 6, false});
  out.push_back({3, 2, 9, 8, true});
  return out;
}

/// sum_p x_p exp(sign 2 pi i <j,p>) / sqrt(H W), the rows and then the columns.
std::vector<Wide> unitary(const Batch& b, const std::vector<Wide>& x, int sign) {
  const auto h = static_cast<std::size_t>(b.height), w = static_cast<std::size_t>(b.width);
  const auto root = [&](std::size_t k, std::size_t n) {
    const double angle = sign * 2 * std::numbers::pi * static_cast<double>(k % n) / static_cast<double>(n);
    return Wide(std::cos(angle), std::sin(angle));
  };
  std::vector<Wide> rows(x.size()), out(x.size());
  for (std::size_t p = 0; p < h; ++p)
    for (std::size_t l = 0; l < w; ++l)
      for (std::size_t q = 0; q < w; ++q) rows[p * w + l] += x[p * w + q] * root(l * q, w);
  for (std::size_t k = 0; k < h; ++k)
    for (std::size_t l = 0; l < w; ++l) {
      for (std::size_t p = 0; p < h; ++p) out[k * w + l] += rows[p * w + l] * root(k * p, h);
      out[k * w + l] /= std::sqrt(static_cast<double>(x.size()));
    }
  return out;
}

double norm(const std::vector<Wide>& x) {
  double sum = 0;
  for (const Wide& v : x) sum += std::norm(v);
  return std::sqrt(sum);
}

/// Data of a filter on the host: planes of the images, weights per frequency, k-space per array.
template <class T>
struct Problem {
  std::vector<T> x;
  std::vector<double> w;
  std::vector<std::vector<Wide>> y;

  /// Array `a` as complex numbers.
  std::vector<Wide> image(const Batch& b, const std::vector<T>& planes, int a) const {
    std::vector<Wide> out;
    const std::size_t first = static_cast<std::size_t>(a) * b.values();
    for (std::size_t p = 0; p < b.points(); ++p)
      out.emplace_back(planes[first + p], b.real ? T(0) : planes[first + b.points() + p]);
    return out;
  }
  double most_weight(SpectrumPass pass) const {
    double most = 0;
    if (pass == SpectrumPass::multiply)
      for (const Wide& v : y[0]) most = std::max(most, std::abs(v));
    else
      for (double v : w) most = std::max(most, std::abs(v));
    return most;
  }
};

template <class T>
Problem<T> random_problem(const Batch& b, SpectrumPass pass, Random& random) {
  const auto number = [&] { return static_cast<T>(random.normal()); };
  Problem<T> p;
  for (std::size_t e = 0; e < static_cast<std::size_t>(b.arrays()) * b.values(); ++e) p.x.push_back(number());
  for (std::size_t j = 0; j < b.points(); ++j) {
    const T w = number();
    p.w.push_back(pass == SpectrumPass::weigh ? w : std::abs(w));
  }
  if (b.real && pass == SpectrumPass::normal)
    for (std::size_t j = 0; j < b.points(); ++j) p.w[j] = p.w[std::min(j, b.opposite(j))];
  for (int a = 0; a < b.arrays(); ++a) {
    p.y.emplace_back();
    for (std::size_t j = 0; j < b.points(); ++j) {
      const T re = number();
      p.y.back().emplace_back(re, number());
    }
  }
  if (b.real && pass == SpectrumPass::multiply)  // by the spectrum of something real
    for (std::size_t j = 0; j < b.points(); ++j) {
      Wide& m = p.y[0][j];
      m = j == b.opposite(j) ? m.real() : std::conj(p.y[0][b.opposite(j)]);
    }
  return p;
}

/// What a filter left behind.
template <class T>
struct Filtered {
  std::vector<T> out;
  std::vector<double> sums;
  bool operator==(const Filtered&) const = default;
};

constexpr double untouched = -7;

/// The images that a filter works on.
struct Selection {
  std::vector<std::uint8_t> mask;
  std::vector<std::int32_t> index;
  std::int32_t count;
};
Selection everything(int n) {
  Selection s{std::vector<std::uint8_t>(static_cast<std::size_t>(n), 1), {}, n};
  for (int i = 0; i < n; ++i) s.index.push_back(i);
  return s;
}

/// A plan, its data in the order of the device, and room for results.
template <class T>
class Lab {
 public:
  using Complex = std::complex<T>;

  Lab(Context& context, const Batch& b, SpectrumPass pass, const Problem<T>& p, const Selection& selected)
      : context_(context),
        batch_(b),
        fft_(make_fft<T>(context, {b.arrays(), b.height, b.width},
                         b.real ? FftKind::real_to_complex : FftKind::complex_to_complex)),
        mask_(context, {b.n, 1, 1, 1}, selected.mask),
        index_(context, {b.n, 1, 1, 1}, selected.index),
        in_(context, flat(p.x.size()), p.x),
        out_(context, flat(p.x.size()), std::vector<T>(p.x.size(), T(untouched))),
        sums_(context, flat(sums()), std::vector<double>(sums(), untouched)) {
    const int channels = b.real ? 2 : 1;
    std::vector<T> weights(static_cast<std::size_t>(channels) * size()),
        data(2 * weights.size() * static_cast<std::size_t>(b.arrays()));
    for (int channel = 0; channel < channels; ++channel)
      for (std::size_t j = 0; j < b.points(); ++j) {
        const std::size_t k = j / static_cast<std::size_t>(b.width),
                          l = j % static_cast<std::size_t>(b.width);
        if (l >= static_cast<std::size_t>(fft_->spectrum_columns())) continue;
        const std::size_t place = static_cast<std::size_t>(channel) * size() + at(k, l),
                          from = channel == 1 ? b.opposite(j) : j;
        weights[place] = static_cast<T>(p.w[from]);
        for (std::size_t a = 0; a < p.y.size(); ++a) {
          const Wide y = channel == 1 ? std::conj(p.y[a][from]) : p.y[a][from];
          data[2 * (a * weights.size() + place)] = static_cast<T>(y.real());
          data[2 * (a * weights.size() + place) + 1] = static_cast<T>(y.imag());
        }
      }
    weight_ = Tensor<T>(context, flat(weights.size()), weights);
    data_ = Tensor<T>(context, flat(data.size()), data);
    dual_ = Tensor<T>(context, flat(data.size()));
    args_ = {pass,
             {b.n, b.coils, b.height, fft_->spectrum_columns(), b.width, b.real,
              fft_->order().row == 1 && b.height > 1},
             {mask_.view().device_data(), index_.view().device_data(), selected.count},
             fft_->scale(),
             weight_.view().device_data(),
             pass == SpectrumPass::normal ? nullptr : data_.view().device_data(),
             nullptr,
             sums_.view().device_data(),
             0,
             dual_.view().device_data()};
  }

  Filtered<T> filter() {
    enqueue();
    return {download(context_, out_), download(context_, sums_)};
  }
  void enqueue() { fft_->filter(context_, in(), out_.view().device_data(), args_); }
  std::vector<T> filter_in_place() {
    fft_->filter(context_, in(), in(), args_);
    return download(context_, in_);
  }
  /// [arrays][points] of the stored columns; the others are zero.
  std::vector<std::vector<Wide>> spectrum() {
    const auto arrays = static_cast<std::size_t>(batch_.arrays());
    Tensor<T> spectra(context_, flat(2 * arrays * size()), std::vector<T>(2 * arrays * size(), T(untouched)));
    fft_->spectrum(context_, args_, in(), reinterpret_cast<Complex*>(spectra.view().device_data()));
    const std::vector<T> values = download(context_, spectra);
    std::vector<std::vector<Wide>> out(arrays, std::vector<Wide>(batch_.points()));
    const auto w = static_cast<std::size_t>(batch_.width);
    for (std::size_t a = 0; a < arrays; ++a)
      for (std::size_t j = 0; j < batch_.points(); ++j)
        if (stored(j)) {
          const std::size_t e = 2 * (a * size() + at(j / w, j % w));
          out[a][j] = {values[e], values[e + 1]};
        }
    return out;
  }
  std::vector<T> input() { return download(context_, in_); }
  bool stored(std::size_t j) const {
    return j % static_cast<std::size_t>(batch_.width) < static_cast<std::size_t>(fft_->spectrum_columns());
  }

 private:
  static Shape flat(std::size_t count) { return {1, 1, 1, static_cast<int>(count)}; }
  std::size_t size() const {
    return static_cast<std::size_t>(batch_.height) * static_cast<std::size_t>(fft_->spectrum_columns());
  }
  std::size_t at(std::size_t k, std::size_t l) const {
    return k * fft_->order().row + l * fft_->order().column;
  }
  std::size_t sums() const { return 3 * static_cast<std::size_t>(batch_.arrays()); }
  T* in() { return in_.view().device_data(); }

  Context& context_;
  Batch batch_;
  std::unique_ptr<Fft<T>> fft_;
  Tensor<std::uint8_t> mask_;
  Tensor<std::int32_t> index_;
  Tensor<T> in_, out_;
  Tensor<double> sums_;
  Tensor<T> weight_, data_, dual_;
  kernels::SpectrumArgs<T> args_;
};

template <class T>
class Filters : public ::testing::Test {
 protected:
  static constexpr double unit = std::numeric_limits<T>::epsilon() / 2.0;
  /// Of one unitary transform, relative to the norm of its input.
  static double transform_error(const Batch& b) {
    return 10 * unit * std::log2(std::max(2.0, static_cast<double>(b.points())));
  }
  /// Image 1, if any, is frozen or not listed; the list runs backwards.
  static Selection without_image_1(int n, bool listed) {
    Selection s = everything(n);
    std::reverse(s.index.begin(), s.index.end());
    if (n == 1) return s;
    if (listed) {
      s.mask[1] = 0;
      return s;
    }
    s.index.erase(std::find(s.index.begin(), s.index.end(), 1));
    s.index.push_back(77);
    s.count = n - 1;
    return s;
  }
  /// The dual pass at its start, where it filters like the gradient.
  static constexpr SpectrumPass passes[] = {SpectrumPass::gradient, SpectrumPass::weigh, SpectrumPass::normal,
                                            SpectrumPass::dual, SpectrumPass::multiply};

  Context context_{Device::open(test_device("cpu-guarded:2"))};
  Random random_{seed(1302)};
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Filters, Precisions);

/// F^-1 of w (F x - y), its real part for real images, and the sums over the k-space of one array.
struct Expected {
  std::vector<Wide> out;
  double sums[3] = {};
};
template <class T>
Expected expected(const Batch& b, SpectrumPass pass, const Problem<T>& p, int array) {
  Expected e;
  std::vector<Wide> x = unitary(b, p.image(b, p.x, array), -1);
  const std::vector<Wide>& y = p.y[static_cast<std::size_t>(array)];
  for (std::size_t j = 0; j < x.size(); ++j) {
    const Wide r = pass == SpectrumPass::normal ? x[j] : x[j] - y[j];
    e.sums[0] += p.w[j] * std::norm(r);
    e.sums[1] += p.w[j] * p.w[j] * std::norm(r);
    e.sums[2] += 2 * p.w[j] * p.w[j] * (std::norm(x[j]) + std::norm(y[j]));
    x[j] = pass == SpectrumPass::multiply ? p.y[0][j] * x[j] : p.w[j] * r;
  }
  e.out = unitary(b, x, 1);
  if (b.real)
    for (Wide& v : e.out) v = v.real();
  return e;
}

TYPED_TEST(Filters, AgreeWithTheDefinitionAndLeaveFrozenImages) {
  using T = TypeParam;
  RatioRecorder ratios(std::string(sizeof(T) == 4 ? "float" : "double") + " filter: error / bound");
  bool listed = true;
  for (const Batch& b : batches())
    for (const SpectrumPass pass : this->passes) {
      SCOPED_TRACE(b.str() + ", pass " + std::to_string(static_cast<int>(pass)));
      const Problem<T> p = random_problem<T>(b, pass, this->random_);
      Lab<T> lab(this->context_, b, pass, p, this->without_image_1(b.n, listed = !listed));
      const Filtered<T> got = lab.filter();
      EXPECT_EQ(lab.input(), p.x) << "the input keeps its values";
      const double error = 3 * this->transform_error(b), most = p.most_weight(pass);
      for (int a = 0; a < b.arrays(); ++a) {
        const int image = a / b.coils, coil = a % b.coils;
        const std::vector<Wide> result = p.image(b, got.out, a), x = p.image(b, p.x, a);
        const auto sum = [&](int k) {
          return got.sums[static_cast<std::size_t>((coil * 3 + k) * b.n + image)];
        };
        if (image == 1) {
          for (const Wide& v : result) EXPECT_EQ(v, Wide(untouched, b.real ? 0 : untouched));
          for (int k = 0; k < 3; ++k) EXPECT_EQ(sum(k), untouched);
          continue;
        }
        const Expected want = expected(b, pass, p, a);
        const double length = norm(x) + norm(p.y[static_cast<std::size_t>(a)]);
        std::vector<Wide> difference = result;
        for (std::size_t j = 0; j < difference.size(); ++j) difference[j] -= want.out[j];
        EXPECT_LE(norm(difference), error * most * length) << "array " << a;
        ratios.add(norm(difference) / (error * most * length));
        const double scales[] = {most, most * most, 2 * most * most};
        for (int k = 0; k < 3; ++k)
          EXPECT_NEAR(sum(k), pass == SpectrumPass::gradient ? want.sums[k] : untouched,
                      error * scales[k] * length * length)
              << "sum " << k << " of array " << a;
      }
    }
}

TYPED_TEST(Filters, InPlaceGivesTheSame) {
  using T = TypeParam;
  for (const Batch& b : batches())
    for (const SpectrumPass pass : this->passes) {
      SCOPED_TRACE(b.str());
      const Problem<T> p = random_problem<T>(b, pass, this->random_);
      Lab<T> lab(this->context_, b, pass, p, this->without_image_1(b.n, true));
      std::vector<T> want = lab.filter().out;
      const std::size_t each = want.size() / static_cast<std::size_t>(b.n);
      if (b.n > 1)
        std::copy_n(p.x.begin() + static_cast<std::ptrdiff_t>(each), each,
                    want.begin() + static_cast<std::ptrdiff_t>(each));
      EXPECT_EQ(lab.filter_in_place(), want);
    }
}

TYPED_TEST(Filters, SpectraAgreeWithTheDefinition) {
  using T = TypeParam;
  for (const Batch& b : batches()) {
    SCOPED_TRACE(b.str());
    const Problem<T> p = random_problem<T>(b, SpectrumPass::normal, this->random_);
    Lab<T> lab(this->context_, b, SpectrumPass::normal, p, this->without_image_1(b.n, true));
    const std::vector<std::vector<Wide>> got = lab.spectrum();
    EXPECT_EQ(lab.input(), p.x) << "the input keeps its values";
    for (int a = 0; a < b.arrays(); ++a) {
      if (a / b.coils == 1) continue;  // frozen
      const std::vector<Wide> x = p.image(b, p.x, a);
      std::vector<Wide> difference = unitary(b, x, -1);
      for (std::size_t j = 0; j < difference.size(); ++j)
        difference[j] = lab.stored(j) ? difference[j] - got[static_cast<std::size_t>(a)][j] /
                                                            std::sqrt(static_cast<double>(b.points()))
                                      : 0;
      EXPECT_LE(norm(difference), this->transform_error(b) * norm(x)) << "array " << a;
    }
  }
}

TYPED_TEST(Filters, EnqueueOnly) {
  using T = TypeParam;
  for (const bool real : {false, true}) {
    const Batch b{2, 1, 12, 10, real};
    const Problem<T> p = random_problem<T>(b, SpectrumPass::gradient, this->random_);
    Lab<T> lab(this->context_, b, SpectrumPass::gradient, p, everything(b.n));
    lab.enqueue();
    const Counters before = this->context_.counters();
    lab.enqueue();
    const Counters after = this->context_.counters();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.host_syncs, before.host_syncs);
    EXPECT_EQ(after.bytes_uploaded + after.bytes_downloaded, before.bytes_uploaded + before.bytes_downloaded);
    EXPECT_LE(after.launches, before.launches + (on_cuda() ? 5 : 1));
  }
}

// Whole images and bands of them, on fewer and more threads than images; an image alone and in its batch.
TYPED_TEST(Filters, BitsDependNeitherOnThreadsNorOnTheBatch) {
  using T = TypeParam;
  Context one(Device::open("cpu:1")), two(Device::open("cpu:2")), five(Device::open("cpu:5"));
  for (const Batch& b : {Batch{7, 1, 13, 13, false}, Batch{5, 1, 9, 10, true}, Batch{3, 2, 16, 36, false},
                         Batch{1, 1, 130, 131, false}, Batch{1, 1, 130, 131, true}})
    for (const SpectrumPass pass : this->passes) {
      SCOPED_TRACE(b.str());
      const Problem<T> p = random_problem<T>(b, pass, this->random_);
      const auto run = [&](Context& context) {
        return Lab<T>(context, b, pass, p, everything(b.n)).filter();
      };
      const Filtered<T> want = run(one);
      EXPECT_EQ(run(two), want);
      EXPECT_EQ(run(five), want);
      for (int i = 0; i < b.n; ++i) {
        Batch single = b;
        single.n = 1;
        Problem<T> own = p;
        const auto each = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(b.coils) * b.values());
        own.x.assign(p.x.begin() + i * each, p.x.begin() + (i + 1) * each);
        const int first = pass == SpectrumPass::multiply ? 0 : i * b.coils;
        own.y.assign(p.y.begin() + first, p.y.begin() + first + b.coils);
        Filtered<T> of_image;
        of_image.out.assign(want.out.begin() + i * each, want.out.begin() + (i + 1) * each);
        for (int row = 0; row < 3 * b.coils; ++row)
          of_image.sums.push_back(want.sums[static_cast<std::size_t>(row * b.n + i)]);
        EXPECT_EQ(Lab<T>(two, single, pass, own, everything(1)).filter(), of_image) << "image " << i;
      }
    }
}

}  // namespace
}  // namespace bilevel
