#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/ops/blur.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

/// Regularisers of a sum with the parameters that each has alone.
struct SumCase {
  std::string name;
  std::vector<RegulariserOptions> parts;
  std::vector<Parameters> parameters;
  std::shared_ptr<const std::vector<double>> reference = {};  ///< of directional total variation

  RegulariserSum sum() const { return RegulariserSum(parts); }
  Parameters joined() const { return joined_parameters(parameters); }
  /// Whether a potential of it is huber_c2.
  bool any_huber() const {
    return std::any_of(parts.begin(), parts.end(), [](const RegulariserOptions& part) {
      return std::visit([](const auto& o) { return o.potential == TvPotential::huber_c2; }, part);
    });
  }
};

inline SumCase sum_case(std::string name, std::vector<RegulariserOptions> parts, double ridge,
                        Random& random) {
  SumCase out{std::move(name), std::move(parts), {}};
  for (const RegulariserOptions& part : out.parts) {
    const auto* tv = std::get_if<TvOptions>(&part);
    std::vector<Segment> segments =
        std::holds_alternative<WaveletSparsity>(part) ? wavelet_parameters().segments()
        : std::holds_alternative<DirectionalTv>(part) ? directional_parameters().segments()
        : std::holds_alternative<TgvOptions>(part)    ? tgv_parameters().segments()
        : tv                                          ? tv_parameters(*tv).segments()
             : experts_parameters(2, 3, FilterInit::random, 0.05, 0.1, random.bits() % 1000).segments();
    for (Segment& s : segments) {
      if (s.name.starts_with("alpha")) s.initial = random.log_uniform(0.02, 0.3);
      if (s.name == "nu") s.initial = random.log_uniform(0.05, 0.3);
      if (s.name.starts_with("xi") || s.name == "mu") s.initial = ridge;
      if (std::holds_alternative<TgvOptions>(part)) s.learned = true;
    }
    out.parameters.emplace_back(segments);
  }
  return out;
}

/// Colour: all differences of a pixel under one modulus, and what goes beside it.
inline std::vector<SumCase> colour_cases(double ridge, Random& random) {
  using P = TvPotential;
  const TvOptions tv{}, huber{P::huber_c2}, h1{P::quadratic},
      tikhonov{P::quadratic, true, false, TvDifferences::none};
  return {sum_case("tv colour", {tv}, ridge, random), sum_case("h1 colour", {h1}, ridge, random),
          sum_case("tv huber_c2+h1 colour", {huber, h1}, ridge, random),
          sum_case("tikhonov+tv colour", {tikhonov, tv}, ridge, random)};
}

/// Sums of one to three, wavelets among them where the sides are even; of three channels those of colour.
inline std::vector<SumCase> sum_cases(const Shape& images, double ridge, Random& random) {
  if (images.c == 3) return colour_cases(ridge, random);
  using P = TvPotential;
  const TvOptions tv{}, separate{P::charbonnier, false, false, TvDifferences::first},
      huber{P::huber_c2, true, false, TvDifferences::first},
      second{P::charbonnier, true, false, TvDifferences::second},
      h1{P::quadratic, true, false, TvDifferences::first},
      tikhonov{P::quadratic, true, false, TvDifferences::none};
  const ExpertsOptions foe{}, inside{FilterPadding::valid, P::huber_c2, false};
  std::vector<SumCase> out;
  const auto add = [&](const char* name, std::vector<RegulariserOptions> parts) {
    out.push_back(sum_case(name, std::move(parts), ridge, random));
  };
  add("tv+h1", {tv, h1});
  add("tv2+tv-aniso", {second, separate});
  add("tikhonov+tv2+tv huber_c2", {tikhonov, second, huber});
  if (images.h % 2 == 0 && images.w % 2 == 0) {
    const WaveletSparsity haar{{WaveletFilter::haar, 2, false}, P::charbonnier},
        all{{WaveletFilter::db2, 1, true}, P::huber_c2};
    add("wavelet haar", {haar});
    add("tv+wavelet db2", {tv, all});
    add("wavelet db2+h1", {all, h1});
  }
  add("alpha foe", {foe});
  std::vector<Segment> segments = out.back().parameters[0].segments();
  segments.insert(segments.begin(), {"alpha", Transform::exp, random.uniform(0.5, 2), 1e-8, 1e2, true});
  out.back().parameters[0] = Parameters(segments);
  add("foe+h1", {foe, h1});
  add("tv+foe", {tv, foe});
  add("foe+foe valid", {foe, inside});
  const std::size_t pixels = Shape{1, 1, images.h, images.w}.count();
  const auto directional = [&](const char* name, int references, auto parts) {
    const auto kept = std::make_shared<const std::vector<double>>(
        random.normal_vector(pixels * static_cast<std::size_t>(references)));
    add(name, parts(*kept));
    out.back().reference = kept;
  };
  using Parts = std::vector<RegulariserOptions>;
  directional("dtv", 1, [](std::span<const double> r) {
    return Parts{DirectionalTv{P::charbonnier, 0.01, r}};
  });
  directional("dtv huber_c2+h1", images.n, [&](std::span<const double> r) {
    return Parts{DirectionalTv{P::huber_c2, 0.5, r}, h1};
  });
  directional("tv+dtv", 1, [&](std::span<const double> r) {
    return Parts{tv, DirectionalTv{P::charbonnier, 1, r}};
  });
  return out;
}

/// Those, and total generalised variation, which stands alone.
inline std::vector<SumCase> all_cases(const Shape& images, double ridge, Random& random) {
  std::vector<SumCase> out = sum_cases(images, ridge, random);
  if (images.c == 3) return out;
  out.push_back(sum_case("tgv2", {TgvOptions{}}, ridge, random));
  out.push_back(sum_case("tgv2 huber_c2", {TgvOptions{TvPotential::huber_c2}}, ridge, random));
  return out;
}

enum class DataKind {
  denoising,
  inpainting,
  fourier,
  complex_fourier,
  coils,
  blur,
  colour,
  masked_colour,
  colour_blur
};
inline constexpr DataKind every_kind[] = {
    DataKind::denoising,       DataKind::inpainting,    DataKind::fourier,
    DataKind::complex_fourier, DataKind::coils,         DataKind::blur,
    DataKind::colour,          DataKind::masked_colour, DataKind::colour_blur};
inline const char* name_of(DataKind kind) {
  constexpr const char* names[] = {"denoising", "inpainting", "real Fourier",  "complex Fourier", "coils",
                                   "blur",      "colour",     "masked colour", "blurred colour"};
  return names[static_cast<int>(kind)];
}

/// Data of two images and what an energy of them needs; values are representable in single precision.
template <class T>
struct SumData {
  DataKind kind;
  Context& context;
  Shape shape;
  Tensor<T> y{};
  std::vector<double> mask{};
  std::vector<std::complex<T>> kspace{};
  std::vector<std::complex<double>> maps{};  // of two coils
  std::unique_ptr<SamplingPattern> pattern{};
  std::vector<double> s{};
  std::shared_ptr<const LinearOperator<T>> blur{};

  SumData(DataKind of, Context& on, int h, int w, Random& random)
      : kind(of),
        context(on),
        shape{2,
              of == DataKind::complex_fourier || of == DataKind::coils ? 2
              : of >= DataKind::colour                                 ? 3
                                                                       : 1,
              h, w} {
    const auto number = [&random] { return static_cast<T>(static_cast<float>(random.normal() / 2)); };
    const bool coils = kind == DataKind::coils;
    if (kind != DataKind::fourier && kind != DataKind::complex_fourier && !coils) {
      std::vector<T> values(shape.count());
      std::generate(values.begin(), values.end(), number);
      y = Tensor<T>(context, shape, values);
      if (kind == DataKind::inpainting || kind == DataKind::masked_colour)
        mask = random_mask(h, w, 0.6, random);
      if (kind == DataKind::blur || kind == DataKind::colour_blur)
        blur = std::make_shared<Blur<T>>(context, shape,
                                         BlurKernel{3, 5, scaled_to(random.normal_vector(15), 0.5)});
      return;
    }
    pattern = std::make_unique<SamplingPattern>(PatternKind::rows, h, w);
    for (std::size_t k = 0; k < pattern->groups(); ++k) s.push_back(random.uniform(0.01, 0.99));
    for (int e = 0; e < (coils ? 4 : 2) * h * w; ++e) {
      const T re = number(), im = number();
      kspace.emplace_back(re, im);
      if (coils && e % 2 == 0) maps.emplace_back(re, im);
    }
  }

  /// Those of the regularisers, and s.
  Parameters parameters(const Parameters& regularisers) const {
    std::vector<Segment> segments = regularisers.segments();
    if (pattern) {
      Segment sampling{"s", Transform::identity, 1, 0, 1, true};
      sampling.shape = {static_cast<int>(s.size())};
      sampling.values = s;
      segments.insert(segments.begin() + 1, sampling);
    }
    return Parameters(segments);
  }
  std::unique_ptr<ComposedEnergy<T>> energy(const Parameters& regularisers, const RegulariserSum& sum) const {
    const Parameters all = parameters(regularisers);
    if (pattern)
      return std::make_unique<ComposedEnergy<T>>(context, shape, kspace, *pattern, all, sum,
                                                 maps.empty() ? CoilMaps{} : CoilMaps{2, maps});
    if (blur) return std::make_unique<ComposedEnergy<T>>(context, blur, y.view(), all, sum);
    return std::make_unique<ComposedEnergy<T>>(context, y.view(), all, sum, mask);
  }
};

}  // namespace bilevel::testing_support
