// E11: sampling patterns of magnetic resonance learned with the weight of the regulariser. Part .1 is the
// published warm-up problem, .4 the same for growing penalties; parts .2 and .6 compare learned patterns of
// slices with others of equal size, part .5 makes one for each regulariser and uses it with each.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "apps/common/noise.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/pattern_learning.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "apps/mri/resample.hpp"
#include "bilevel/io/volume_file.hpp"
#include "bilevel/learn/baseline_patterns.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;
using mri::MriData;
using mri::MriModel;

// --- Parts .1 and .4: one real square, 32 x 32, whose complex k-space is noisy.

constexpr int kSide = 32;
constexpr double kBumpNoise = 0.03;  ///< of real and imaginary part
/// What the published notebook holds: at full sampling, and after L-BFGS-B with beta = 0.1.
constexpr double kPublishedFullWeight = 0.03776, kPublishedWeight = 0.01176, kPublishedRate = 0.047,
                 kPublishedCalls = 401;

MriData bump(std::uint64_t seed) {
  MriData data;
  data.images = 1;
  data.height = data.width = kSide;
  data.sigma = kBumpNoise * std::sqrt(2.0);
  data.names = {"square"};
  mri::Complexes image(static_cast<std::size_t>(kSide) * kSide);
  for (int row = 8; row < 24; ++row)
    for (int column = 8; column < 24; ++column) image[static_cast<std::size_t>(row * kSide + column)] = 1;
  for (const auto& v : image) data.truth.push_back(v.real());
  for (const auto& v : image) data.truth.push_back(v.imag());
  data.kspace = mri::fourier(image, 1, kSide, kSide);
  const CounterRandom random(seed, Purpose::noise, 0);
  for (std::size_t k = 0; k < data.kspace.size(); ++k) {
    const auto pair = random.normal_pair(k);
    data.kspace[k] += kBumpNoise * std::complex<double>(pair[0], pair[1]);
  }
  return data;
}

/// The published set-up: s and the weight together from full sampling, nothing held.
Relaxed relax_bump(const Settings& s, const MriData& data, const MriModel& full, double beta) {
  const RelaxOptions options{s.quick ? 150 : 1000, s.quick ? 1e-3 : 1e-5, false};
  return relax(s.device, data, full, {beta, beta}, options);
}

/// The model with `s` in place of full sampling, its weight tuned.
MriModel with_pattern(const Device& device, const MriData& data, const MriModel& from,
                      std::vector<double> s) {
  MriModel model = from;
  model.s = std::move(s);
  tune_weight(device, data, model);
  return model;
}

/// One draw of the warm-up problem.
struct WarmUp {
  double full_weight = 0, relaxed_error = 0, learned_error = 0, largest_error = 0;
  Relaxed relaxed;
  MriModel learned, largest;
};

WarmUp warm_up(const Settings& s, std::uint64_t seed) {
  const MriData data = bump(seed);
  MriModel full = full_sampling(data, "tv");
  tune_weight(s.device, data, full);
  const double full_weight = full.alpha;
  Relaxed relaxed = relax_bump(s, data, full, 0.1);
  const SamplingPattern pattern = full.pattern();
  const std::vector<double> kept = pattern.threshold(relaxed.s(), 0);
  const auto count = static_cast<std::size_t>(std::count(kept.begin(), kept.end(), 1.0));
  MriModel learned = with_pattern(s.device, data, full, kept);
  MriModel largest =
      with_pattern(s.device, data, full, largest_groups(mri::group_energies(data, pattern), count));
  const auto error = [&](const MriModel& m) { return squared_error(data, reconstructed(s.device, data, m)); };
  const double relaxed_error = squared_error(data, reconstructed(s.device, data, full, relaxed));
  return {full_weight,        relaxed_error,      error(learned),    error(largest),
          std::move(relaxed), std::move(learned), std::move(largest)};
}

std::vector<double> numbers_of(const std::vector<WarmUp>& draws, double (*number)(const WarmUp&)) {
  std::vector<double> out;
  for (const WarmUp& d : draws) out.push_back(number(d));
  return out;
}

void add_warm_up(const Settings& s, Result& result) {
  std::vector<WarmUp> draws;
  for (std::uint64_t k = 0; k < (s.quick ? 1u : 5u); ++k) {
    s.tell(format(".1: draw %d", static_cast<int>(k) + 1));
    draws.push_back(warm_up(s, s.seed + k));
  }
  const std::vector<double> rates = numbers_of(draws, [](const WarmUp&d) { return 100 * d.relaxed.rate(); }),
                            weights = numbers_of(draws, [](const WarmUp&d) { return d.relaxed.alpha(); });
  const auto [least_rate, most_rate] = std::minmax_element(rates.begin(), rates.end());
  const double factor = [&] {
    double worst = 1;
    for (const double w : weights) worst = std::max({worst, w / kPublishedWeight, kPublishedWeight / w});
    return worst;
  }();
  std::vector<Row>& rows = result.rows;
  rows.push_back(reported({".1: weight at full sampling, median of the draws", kPublishedFullWeight,
                           median(numbers_of(draws, [](const WarmUp& d) { return d.full_weight; }))}));
  rows.push_back(
      at_least({".1: sampled, %, the least of the draws", 100 * kPublishedRate, *least_rate}, 3.5));
  rows.push_back(at_most({".1: sampled, %, the most of the draws", 100 * kPublishedRate, *most_rate}, 6.5));
  rows.push_back(reported({".1: weight, median of the draws", kPublishedWeight, median(weights)}));
  rows.push_back(
      at_most({".1: largest factor between the weight of a draw and the published one", {}, factor}, 1.6));
  rows.push_back(
      below({".1: loss of the pattern over that of as many largest coefficients, weights tuned, the "
             "worst of the draws",
             {},
             [&] {
               const auto ratios =
                   numbers_of(draws, [](const WarmUp& d) { return d.learned_error / d.largest_error; });
               return *std::max_element(ratios.begin(), ratios.end());
             }()},
            1, "below 1"));
  rows.push_back(below({".1: lower-level solves, median of the draws", kPublishedCalls,
                        median(numbers_of(draws,
                                          [](const WarmUp& d) {
                                            return static_cast<double>(d.relaxed.run.report.last.work.solves);
                                          }))},
                       kPublishedCalls, "fewer than the published function calls"));
  const WarmUp& first = draws.front();
  result.pictures.push_back(
      {"square-patterns",
       format("Part .1, first draw, zero frequency in the middle. From the left: weights s^2 as learned "
              "(%.2f %%), the same samples with weight 1, as many largest coefficients.",
              rates.front()),
       beside({pattern_image(first.learned, first.relaxed.s()), pattern_image(first.learned, first.learned.s),
               pattern_image(first.largest, first.largest.s)})});
  for (const WarmUp& d : draws) result.notes.push_back(".1: " + ending(d.relaxed.run));
}

/// Part .4: beta = beta1 = beta2 over three decades.
void add_sparsity(const Settings& s, Result& result) {
  const MriData data = bump(s.seed);
  MriModel full = full_sampling(data, "tv");
  tune_weight(s.device, data, full);
  Series rates{"sampled", {}, {}}, errors{"loss of the reconstructions", {}, {}};
  std::vector<HostImage> patterns;
  const int count = s.quick ? 3 : 7;
  for (int k = 0; k < count; ++k) {
    const double beta = std::pow(10, -3 + 3.0 * k / (count - 1));
    s.tell(format(".4: beta = %.3g", beta));
    const Relaxed relaxed = relax_bump(s, data, full, beta);
    rates.x.push_back(beta);
    rates.y.push_back(relaxed.rate());
    errors.x.push_back(beta);
    errors.y.push_back(squared_error(data, reconstructed(s.device, data, full, relaxed)));
    patterns.push_back(pattern_image(full, relaxed.s()));
    result.notes.push_back(format(".4: beta %.3g: %.2f %% sampled, weight %.4g, loss %.4g. ", beta,
                                  100 * rates.y.back(), relaxed.alpha(), errors.y.back()) +
                           ending(relaxed.run));
  }
  double rise = 0, fall = 0;
  for (std::size_t k = 1; k < rates.y.size(); ++k) {
    rise = std::max(rise, rates.y[k] - rates.y[k - 1]);
    fall = std::max(fall, 1 - errors.y[k] / errors.y[k - 1]);
  }
  result.rows.push_back(
      at_most({".4: largest rise of the rate from one penalty to the next larger one", {}, rise}, 0.01));
  result.rows.push_back(at_full_size(
      s, at_most({".4: largest fall of the loss of the reconstructions, relative", {}, fall}, 0.02)));
  result.pictures.push_back(
      {"sparsity", "Part .4: weights s^2 as learned, penalties growing from the left from 0.001 to 1.",
       beside(patterns)});
  result.curves.push_back({"Part .4: fraction that is sampled", {"beta", true}, {"rate", false}, {rates}});
  result.curves.push_back({"Part .4: loss without penalty", {"beta", true}, {"loss", true}, {errors}});
}

// --- Parts .2, .5 and .6: slices of a volume.

constexpr double kRate = 0.3;
constexpr double kSliceNoise = 0.003;

/// Slices to learn from, and others between them.
struct Slices {
  MriData train, test;
};

/// Every second one of 2 `count` slices at equal distances in the middle half of the volume.
Slices load_slices(const Settings& s, int count, int size) {
  const int all = slice_extents(read_volume(s.data.front()), Plane::axial).count;
  const int step = std::max(1, all / 2 / (2 * count)), first = all / 4;
  const auto load = [&](int from, std::uint64_t seed) {
    mri::DataOptions options;
    options.data = s.data;
    options.slices = format("%d:%d:%d", from, std::min(all, from + 2 * step * count), 2 * step);
    options.size = size;
    options.sigma = kSliceNoise;
    options.seed = seed;
    return mri::load_data(options);
  };
  return {load(first, s.seed + 1), load(first + step, s.seed + 2)};
}

/// A pattern with a tuned weight, and how good its reconstructions are.
struct Used {
  MriModel model;
  mri::Quality train, test;
  std::vector<double> x;  ///< of the test slices
};

Used use(const Settings& s, const Slices& slices, const MriModel& model) {
  std::vector<double> x = reconstructed(s.device, slices.test, model);
  return {model, mri::mean_quality(slices.train, reconstructed(s.device, slices.train, model)),
          mri::mean_quality(slices.test, x), std::move(x)};
}

/// What learned patterns are compared with, and what is published of them (with directional total variation).
struct Choice {
  const char* name;
  std::optional<double> psnr, ssim;
  std::vector<double> (*groups)(const MriData&, const SamplingPattern&, std::size_t count,
                                std::uint64_t seed);
};
const Choice kChoices[] = {
    {"largest coefficients", 31.1, .967,
     [](const MriData& data, const SamplingPattern& pattern, std::size_t count, std::uint64_t) {
       return largest_groups(mri::group_energies(data, pattern), count);
     }},
    {"variable density", 28.8, .924,
     [](const MriData&, const SamplingPattern& pattern, std::size_t count, std::uint64_t seed) {
       VariableDensityOptions options;
       options.seed = seed;
       return variable_density_groups(group_distances(pattern), count, options,
                                      [&](std::span<const double> v) { return mri::side_lobe(pattern, v); })
           .s;
     }},
    {"uniform",
     {},
     {},
     [](const MriData&, const SamplingPattern& pattern, std::size_t count, std::uint64_t seed) {
       return uniform_groups(pattern.groups(), count, seed);
     }}};
constexpr double kPublishedPsnr = 32.1, kPublishedSsim = .975, kPublishedGap = 32.5 - 32.1;

/// Magnitudes of the first test slice.
HostImage first_slice(const MriData& data, const std::vector<double>& x) {
  const auto first = std::span(x).first(data.pixels() * static_cast<std::size_t>(data.components()));
  return enlarged({1, data.height, data.width, mri::magnitude(first, data.components())});
}

void add_quality(const std::string& name, const Used& used, std::optional<double> psnr,
                 std::optional<double> ssim, std::vector<Row>& rows) {
  rows.push_back(reported({name + ": PSNR of the test slices, dB", psnr, used.test.psnr}));
  rows.push_back(reported({name + ": their SSIM", ssim, used.test.ssim}));
}

/// Parts .2 and .6.
void add_comparison(const Settings& s, const Slices& slices, const Used& learned, Result& result) {
  const SamplingPattern pattern = learned.model.pattern();
  const auto count =
      static_cast<std::size_t>(std::count(learned.model.s.begin(), learned.model.s.end(), 1.0));
  std::vector<Row>& rows = result.rows;
  add_quality(".2: learned", learned, kPublishedPsnr, kPublishedSsim, rows);
  std::vector<Used> others;
  std::vector<HostImage> patterns{pattern_image(learned.model, learned.model.s)};
  std::vector<HostImage> images{first_slice(slices.test, slices.test.truth),
                                first_slice(slices.test, learned.x)};
  std::string names = "learned";
  for (const Choice& choice : kChoices) {
    s.tell(std::string(".2: ") + choice.name);
    MriModel model = full_sampling(slices.train, "tv");
    model.s = choice.groups(slices.train, pattern, count, s.seed);
    tune_weight(s.device, slices.train, model);
    others.push_back(use(s, slices, model));
    add_quality(std::string(".2: ") + choice.name, others.back(), choice.psnr, choice.ssim, rows);
    patterns.push_back(pattern_image(model, model.s));
    images.push_back(first_slice(slices.test, others.back().x));
    names += std::string(", ") + choice.name;
  }
  const auto gain = [&](std::size_t k) { return learned.test.psnr - others[k].test.psnr; };
  rows.push_back(
      at_least({".2: learned over largest coefficients, dB", kPublishedPsnr - 31.1, gain(0)}, 0.5));
  rows.push_back(at_least({".2: learned over variable density, dB", kPublishedPsnr - 28.8, gain(1)}, 2));
  rows.push_back(
      at_least({".2: the least step of SSIM, learned, largest coefficients, variable density", .975 - .967,
                std::min(learned.test.ssim - others[0].test.ssim, others[0].test.ssim - others[1].test.ssim)},
               0));
  rows.push_back(at_most({".2: PSNR of the training slices over that of the test slices, dB", kPublishedGap,
                          learned.train.psnr - learned.test.psnr},
                         1));
  rows.push_back(at_least({".6: learned over uniform, dB", {}, gain(2)}, 3));
  result.pictures.push_back({"patterns", "Parts .2 and .6, from the left: " + names + ".", beside(patterns)});
  result.pictures.push_back(
      {"reconstructions", "Test slice, from the left: truth, " + names + ".", beside(images)});
}

/// Part .5: patterns by the regulariser that they are learned with.
void add_cross_table(const Settings& s, const Slices& slices, const std::map<std::string, MriModel>& learned,
                     const std::vector<std::string>& names, Result& result) {
  std::vector<Row>& rows = result.rows;
  std::vector<HostImage> patterns;
  std::string caption;
  for (const std::string& own : names) {
    double best = -std::numeric_limits<double>::infinity(), diagonal = 0;
    for (const std::string& other : names) {
      s.tell(".5: " + own + " under the pattern of " + other);
      MriModel model = learned.at(own);
      model.s = learned.at(other).s;
      if (other != own) tune_weight(s.device, slices.train, model);
      const Used used = use(s, slices, model);
      rows.push_back(reported({".5: " + own + " under the pattern of " + other + ": PSNR learned from, dB",
                               {},
                               used.train.psnr}));
      rows.push_back(reported({".5: the same of test slices, dB", {}, used.test.psnr}));
      (other == own ? diagonal : best) = other == own ? used.train.psnr : std::max(best, used.train.psnr);
    }
    rows.push_back(at_least({".5: " + own + ": own pattern over the best other one, slices learned from, dB",
                             {},
                             diagonal - best},
                            -0.1));
    rows.push_back(
        reported({".5: " + own + ": mean radius of its pattern", {}, learned.at(own).mean_radius()}));
    patterns.push_back(pattern_image(learned.at(own), learned.at(own).s));
    caption += (caption.empty() ? "" : ", ") + own;
  }
  rows.push_back(below({".5: mean radius of the pattern of h1 over that of tv",
                        {},
                        learned.at("h1").mean_radius() / learned.at("tv").mean_radius()},
                       1, "nearer to zero frequency"));
  result.pictures.push_back(
      {"patterns-by-regulariser", "Part .5: patterns learned with " + caption + ".", beside(patterns)});
}

void add_slices(const Settings& s, Result& result) {
  const Slices slices = load_slices(s, s.quick ? 2 : 8, s.quick ? 32 : 64);
  const std::vector<std::string> names =
      s.quick ? std::vector<std::string>{"h1", "tv"} : std::vector<std::string>{"h1", "wavelet", "tv", "tv2"};
  RateOptions options;
  options.rate = kRate;
  if (s.quick) options.runs = 1, options.relax.max_iterations = 40;
  std::map<std::string, MriModel> learned;
  for (const std::string& name : names) learned.emplace(name, learn_at_rate(s, slices.train, name, options));
  add_comparison(s, slices, use(s, slices, learned.at("tv")), result);
  add_cross_table(s, slices, learned, names, result);
  result.notes.push_back(format(
      "Parts .2, .5, .6: %s to learn from and %s to test, %d x %d pixels, noise %g, %g of k-space; the "
      "published ones are other slices of 192 x 192, with directional total variation.",
      slices.train.names.front().c_str(), slices.test.names.front().c_str(), slices.train.height,
      slices.train.width, kSliceNoise, kRate));
  result.notes.insert(result.notes.end(), slices.train.notes.begin(), slices.train.notes.end());
}

Result run(const Settings& s) {
  Result result;
  add_warm_up(s, result);
  add_sparsity(s, result);
  if (!s.data.empty())
    add_slices(s, result);
  else
    result.notes.push_back("Parts .2, .5 and .6 need slices; give --data FILE, a volume (NIfTI).");
  if (s.quick) result.notes.push_back(kQuickNote);
  result.notes.insert(
      result.notes.begin(),
      format("Parts .1 and .4: a real square of 16 x 16 in 32 x 32, complex noise 0.03, seeds from %llu on, "
             "beta1 = beta2 = 0.1 and from 0.001 to 1. Total variation, Huber, nu = xi = 0.01.",
             static_cast<unsigned long long>(s.seed)));
  return result;
}

}  // namespace

Experiment sampling_patterns() {
  return {
      "E11",
      "Learned sampling patterns",
      "Patterns that are learned with the weight of the regulariser are sparser and better than those of the "
      "largest coefficients, of variable density and of equal probability, and depend on the regulariser.",
      "Sherry, Benning, De los Reyes, Graves, Maierhofer, Williams, Schoenlieb and Ehrhardt 2020",
      true,
      DataKind::volume,
      run,
      true};
}

}  // namespace bilevel_app::experiments
