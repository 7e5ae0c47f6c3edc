// E11: sampling patterns of magnetic resonance learned with the weight of the regulariser. Here part .1, the
// published warm-up problem, .4, the same for growing penalties, and .8, high resolution; the others are in
// e11_slices.cpp.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "apps/common/noise.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/e11_slices.hpp"
#include "apps/experiments/pattern_learning.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "apps/mri/resample.hpp"
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

/// A real square image, measured with complex noise of this deviation in real and imaginary part.
MriData measured_image(const std::string& name, int side, const std::vector<double>& image, double noise,
                       std::uint64_t seed) {
  MriData data;
  data.images = 1;
  data.height = data.width = side;
  data.sigma = noise * std::sqrt(2.0);
  data.names = {name};
  data.truth = image;
  data.truth.resize(2 * image.size(), 0.0);
  data.kspace = mri::fourier(mri::Complexes(image.begin(), image.end()), 1, side, side);
  const CounterRandom random(seed, Purpose::noise, 0);
  for (std::size_t k = 0; k < data.kspace.size(); ++k) {
    const auto pair = random.normal_pair(k);
    data.kspace[k] += noise * std::complex<double>(pair[0], pair[1]);
  }
  return data;
}

MriData bump(std::uint64_t seed) {
  std::vector<double> image(static_cast<std::size_t>(kSide) * kSide, 0.0);
  for (int row = 8; row < 24; ++row)
    for (int column = 8; column < 24; ++column) image[static_cast<std::size_t>(row * kSide + column)] = 1;
  return measured_image("square", kSide, image, kBumpNoise, seed);
}

/// The published set-up: s and the weight together from full sampling, nothing held.
Relaxed relax_bump(const Settings& s, const MriData& data, const MriModel& full, double beta) {
  const RelaxOptions options{s.quick ? 150 : 1000, s.quick ? 1e-3 : 1e-5, false};
  return relax(s.device, data, full, {beta, beta}, options);
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
  MriModel learned = with_pattern(s.device, data, full, kept);
  MriModel largest = with_pattern(s.device, data, full,
                                  largest_groups(mri::group_energies(data, pattern), chosen_groups(learned)));
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

// --- Part .8: one image of high resolution.

/// The phantom of Shepp and Logan with the contrasts of Toft 1996: value, half axes, centre, angle.
struct Ellipse {
  double value, a, b, x, y, degrees;
};
constexpr Ellipse kPhantom[] = {{1, .69, .92, 0, 0, 0},        {-.8, .6624, .874, 0, -.0184, 0},
                                {-.2, .11, .31, .22, 0, -18},  {-.2, .16, .41, -.22, 0, 18},
                                {.1, .21, .25, 0, .35, 0},     {.1, .046, .046, 0, .1, 0},
                                {.1, .046, .046, 0, -.1, 0},   {.1, .046, .023, -.08, -.605, 0},
                                {.1, .023, .023, 0, -.606, 0}, {.1, .023, .046, .06, -.605, 0}};
constexpr double kPhantomNoise = 0.01;

MriData phantom(int side, std::uint64_t seed) {
  std::vector<double> image;
  for (int row = 0; row < side; ++row)
    for (int column = 0; column < side; ++column) {
      const double x = (2.0 * column + 1) / side - 1, y = 1 - (2.0 * row + 1) / side;
      double value = 0;
      for (const Ellipse& e : kPhantom) {
        const double angle = e.degrees * std::numbers::pi / 180, dx = x - e.x, dy = y - e.y,
                     u = (std::cos(angle) * dx + std::sin(angle) * dy) / e.a,
                     v = (std::cos(angle) * dy - std::sin(angle) * dx) / e.b;
        if (u * u + v * v <= 1) value += e.value;
      }
      image.push_back(value);
    }
  return measured_image("phantom", side, image, kPhantomNoise, seed);
}

void add_high_resolution(const Settings& s, Result& result) {
  const int large = s.device.kind() == DeviceKind::cuda ? 1024 : 256;  // 16 times the work
  const int side = s.quick ? 64 : large;
  const MriData data = phantom(side, s.seed);
  std::vector<HostImage> images;
  for (const PatternKind kind : {PatternKind::rows, PatternKind::free}) {
    const std::string name =
        format(".8: %s of %d x %d", kind == PatternKind::rows ? "lines" : "samples", side, side);
    s.tell(name);
    RateOptions options{.kind = kind, .runs = 1, .relax = {}};
    options.relax.max_iterations = 30;  // also of the exchange
    const auto start = std::chrono::steady_clock::now();
    const LearnedPattern learned = learn_at_rate(s, data, "tv", options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const MriModel other =
        with_pattern(s.device, data, learned.model,
                     variable_density(learned.model.pattern(), chosen_groups(learned.model), s.seed));
    const auto psnr = [&](const MriModel& m) {
      return mri::mean_quality(data, reconstructed(s.device, data, m)).psnr;
    };
    const double ours = psnr(learned.model), theirs = psnr(other);
    std::vector<Row>& rows = result.rows;
    rows.push_back(reported({name + ": PSNR of the learned pattern, dB", {}, ours}));
    rows.push_back(at_least({name + ": learned over variable density, dB", {}, ours - theirs}, 0));
    rows.push_back(reported({name + ": solves", {}, static_cast<double>(learned.solves())}));
    rows.push_back(reported({name + ": seconds of learning", {}, seconds}));
    images.push_back(pattern_image(learned.model, learned.model.s));
    images.push_back(pattern_image(other, other.s));
  }
  result.rows.push_back(
      reported({".8: most memory of the process, MB", {}, static_cast<double>(peak_memory()) / (1 << 20)}));
  result.pictures.push_back(
      {"high-resolution",
       format(
           "Part .8, %d x %d, 30 %%, from the left: lines learned and of variable density, samples learned "
           "and of variable density.",
           side, side),
       beside(images)});
}

Result run(const Settings& s) {
  Result result;
  add_warm_up(s, result);
  add_sparsity(s, result);
  add_high_resolution(s, result);
  if (!s.data.empty())
    add_slices(s, result);
  else
    result.notes.push_back(
        "Parts .2, .3, .5, .6, .7 and .9 need slices; give --data FILE, a volume (NIfTI).");
  if (s.quick) result.notes.push_back(kQuickNote);
  result.notes.insert(
      result.notes.begin(),
      format("Parts .1 and .4: a real square of 16 x 16 in 32 x 32, complex noise 0.03, seeds from %llu on, "
             "beta1 = beta2 = 0.1 and from 0.001 to 1. Part .8: the phantom of Shepp and Logan with the "
             "contrasts of Toft (1024 x 1024 on a GPU, 256 x 256 on a CPU), complex noise 0.01. Total "
             "variation, Huber, nu = xi = 0.01.",
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
