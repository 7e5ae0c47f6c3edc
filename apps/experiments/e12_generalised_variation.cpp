// E12: both weights of total generalised variation learned on a piecewise affine image and a photograph,
// against learned total variation; and what a weight of the second part does that is too small or too large,
// the first one learned beside it.

#include <algorithm>
#include <cmath>

#include "apps/common/noise.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/denoising.hpp"
#include "apps/experiments/registry.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;

constexpr double kSigma = 0.1;
constexpr double kNu = 0.002;                                 ///< of tgv_parameters()
constexpr double kFactors[] = {1.0 / 30, 0.1, 10, 30, 1000};  ///< of alpha0 against the learned one
constexpr double kQuickFactors[] = {0.1, 10};

/// Planes of several slopes that meet along lines, a circle and a square.
double affine(double x, double y) {
  if (x > 0.1 && x < 0.35 && y > 0.7 && y < 0.92) return 0.2 + 2 * (x - 0.1);
  if ((x - 0.6) * (x - 0.6) + (y - 0.55) * (y - 0.55) < 0.06) return 0.1 + 0.7 * y + 0.2 * x;
  return x + y < 0.9 ? 0.15 + 0.8 * x : 0.9 - 0.5 * y;
}

ImageBatch affine_image(int size, std::uint64_t seed) {
  ImageBatch batch;
  batch.images = 1;
  batch.size = size;
  for (int r = 0; r < size; ++r)
    for (int c = 0; c < size; ++c) batch.clean.push_back(affine(c / (size - 1.0), r / (size - 1.0)));
  batch.noisy = batch.clean;
  add_noise(batch.noisy, kSigma, seed, 0);
  batch.names = {"piecewise affine"};
  return batch;
}

ImageBatch first_photograph(const Settings& s, int size) {
  DataOptions options;
  options.data = s.data;
  options.sigma = kSigma;
  options.images = 1;
  options.crop = size;
  options.seed = s.seed;
  return load_crops(options);
}

/// Learned total generalised variation with alpha0 fixed at a factor of what was learned.
Parameters with_fixed_alpha0(const Learned& learned, double factor) {
  std::vector<Segment> segments = learned.model.parameters;
  for (Segment& s : segments)
    if (s.name == "alpha0") {
      s.initial = std::min(factor * s.initial, s.upper);
      s.learned = false;
    }
  return Parameters(std::move(segments));
}

/// Total variation with the nu of total generalised variation: what a large alpha0 makes of the latter.
Parameters limit_parameters() {
  std::vector<Segment> segments = tv_parameters().segments();
  for (Segment& s : segments)
    if (s.name == "nu") {
      s.initial = kNu;
      s.learned = false;
    }
  return Parameters(std::move(segments));
}

/// What was learned on one image.
struct OfImage {
  std::string name;
  ImageBatch batch;
  Learned tv, tgv;
  Learned limit;                                   ///< tv with the nu of tgv2
  std::vector<std::pair<double, Learned>> others;  ///< factor of alpha0, alpha1 learned

  const Learned* with_factor(double factor) const {
    for (const auto& [own, learned] : others)
      if (own == factor) return &learned;
    return nullptr;
  }
};

OfImage learn(const Settings& s, ImageBatch batch) {
  const auto go = [&](const char* name, const std::string& what, const RegulariserSum& sum,
                      const Parameters& parameters) {
    s.tell(batch.names.front() + ": " + what);
    Denoising problem(s.device, batch, sum, parameters);
    return learned_by_maid(name, problem);
  };
  const RegulariserSum tv = regulariser_options("tv"), tgv = regulariser_options("tgv2");
  OfImage out{batch.names.front(),
              batch,
              go("tv", "tv", tv, tv_parameters()),
              go("tgv2", "tgv2", tgv, tgv_parameters()),
              go("tv", "tv, nu fixed", tv, limit_parameters()),
              {}};
  const std::span<const double> factors = s.quick ? std::span<const double>(kQuickFactors) : kFactors;
  for (const double factor : factors)
    out.others.emplace_back(
        factor, go("tgv2", format("alpha0 x %.4g", factor), tgv, with_fixed_alpha0(out.tgv, factor)));
  return out;
}

double psnr_of(const OfImage& image, const Learned& learned) {
  return quality_of(image.batch, learned.x).psnr;
}

void add_rows(const OfImage& image, bool is_affine, std::vector<Row>& rows) {
  const double tv = psnr_of(image, image.tv), tgv = psnr_of(image, image.tgv);
  const Quality noisy = quality_of(image.batch, image.batch.noisy);
  rows.push_back(reported({image.name + ", noisy: PSNR, dB", {}, noisy.psnr}));
  const auto add = [&](const std::string& what, const Learned& learned) {
    const Quality q = quality_of(image.batch, learned.x);
    rows.push_back(reported({image.name + ", " + what + ": PSNR, dB", {}, q.psnr}));
    rows.push_back(reported({image.name + ", " + what + ": SSIM", {}, q.ssim}));
  };
  add("tv", image.tv);
  add("tgv2", image.tgv);
  for (const auto& [factor, learned] : image.others) add(format("alpha0 x %.4g", factor), learned);
  const Quantity gain{image.name + ": tgv2 over tv, dB", {}, tgv - tv};
  rows.push_back(is_affine ? at_least(gain, 0.5) : reported(gain));
  for (const auto& [factor, learned] : image.others)
    rows.push_back(at_least({format("%s: loss with alpha0 x %.4g, alpha1 learned anew, over the least one",
                                    image.name.c_str(), factor),
                             {},
                             learned.run.report.last.loss / image.tgv.run.report.last.loss},
                            1));
  if (const Learned* large = image.with_factor(1000)) {
    const Quantity psnr{image.name + ", alpha0 x 1000: PSNR, dB", {}, psnr_of(image, *large)};
    rows.push_back(because(distance_to(psnr, tv, 0.1, "that of tv"),
                           "tv has learned its nu, which tgv2 keeps; the next row has the same for both"));
    rows.push_back(distance_to(psnr, psnr_of(image, image.limit), 0.1, "that of tv with the nu of tgv2"));
  }
}

Picture pictures_of(const OfImage& image, int number) {
  std::vector<std::span<const double>> parts{image.batch.clean, image.batch.noisy, image.tv.x};
  std::string caption = image.name + ", from the left: the truth, noisy, tv";
  const auto add = [&](const Learned& learned, const std::string& what) {
    parts.push_back(learned.x);
    caption += ", " + what;
  };
  bool learned_is_there = false;
  for (const auto& [factor, learned] : image.others) {
    if (factor > 1 && !std::exchange(learned_is_there, true)) add(image.tgv, "tgv2 as learned");
    add(learned, format("alpha0 x %.4g", factor));
  }
  return {format("image-%d", number), caption + ".", strip(parts, image.batch.size, image.batch.size)};
}

/// Loss against the factor of alpha0.
Series losses_of(const OfImage& image) {
  Series series{image.name, {1}, {image.tgv.run.report.last.loss}};
  for (const auto& [factor, learned] : image.others) {
    const auto at = std::lower_bound(series.x.begin(), series.x.end(), factor) - series.x.begin();
    series.x.insert(series.x.begin() + at, factor);
    series.y.insert(series.y.begin() + at, learned.run.report.last.loss);
  }
  return series;
}

Result run(const Settings& s) {
  const int size = s.quick ? 64 : 128;
  std::vector<OfImage> images{learn(s, affine_image(size, s.seed))};
  if (!s.data.empty()) images.push_back(learn(s, first_photograph(s, s.quick ? 48 : size)));
  Result result;
  Panel losses{"Loss with alpha0 a factor of the learned one", {"factor", true}, {"f", true}, {}};
  for (std::size_t k = 0; k < images.size(); ++k) {
    add_rows(images[k], k == 0, result.rows);
    losses.series.push_back(losses_of(images[k]));
    result.pictures.push_back(pictures_of(images[k], static_cast<int>(k) + 1));
    result.notes.push_back(images[k].name + ": learned tv " + numbers_text(images[k].tv.model) + "; tgv2 " +
                           numbers_text(images[k].tgv.model) + ".");
    result.notes.push_back(images[k].name + ": " + ending(images[k].tv.run) + " " +
                           ending(images[k].tgv.run));
  }
  result.curves = {std::move(losses)};
  result.notes.insert(
      result.notes.begin(),
      format("Data: a piecewise affine image of %d x %d pixels%s, noise 0.1, seed %llu. No number is "
             "published. tgv2: alpha1 |D x - v| + alpha0 |E v|, smoothed by nu = 0.002, xi = xi_v = 0.001.",
             size, size, s.data.empty() ? " (--data PATH adds a photograph)" : " and the first of --data",
             static_cast<unsigned long long>(s.seed)));
  return result;
}

}  // namespace

Experiment generalised_variation() {
  return {
      "E12",
      "Total generalised variation, two weights",
      "Learning both weights finds the regulariser between oscillation, when the second is too small, and "
      "total variation, when it is too large.",
      "Ehrhardt, talk; Bredies, Kunisch and Pock 2010 for the regulariser",
      true,
      DataKind::photographs,
      run,
      true};
}

}  // namespace bilevel_app::experiments
