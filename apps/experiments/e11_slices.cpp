// Parts of E11 on slices of a volume: learned patterns against others of equal size (.2, .6), learned lines
// against lines chosen one after the other (.3), a pattern for each regulariser used with each (.5), the
// number of slices learned from (.7), weights of the regulariser under one pattern (.9).

#include "apps/experiments/e11_slices.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "apps/common/text.hpp"
#include "apps/experiments/pattern_learning.hpp"
#include "apps/mri/greedy.hpp"
#include "apps/mri/pattern_choice.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/volume_file.hpp"
#include "bilevel/learn/baseline_patterns.hpp"

namespace bilevel_app::experiments {

namespace {

using namespace bilevel;
using mri::MriData;
using mri::MriModel;

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
       return variable_density(pattern, count, seed);
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
  const std::size_t count = chosen_groups(learned.model);
  std::vector<Row>& rows = result.rows;
  add_quality(".2: learned", learned, kPublishedPsnr, kPublishedSsim, rows);
  std::vector<Used> others;
  std::vector<HostImage> patterns{pattern_image(learned.model, learned.model.s)};
  std::vector<HostImage> images{first_slice(slices.test, slices.test.truth),
                                first_slice(slices.test, learned.x)};
  std::string names = "learned";
  for (const Choice& choice : kChoices) {
    s.tell(std::string(".2: ") + choice.name);
    const MriModel model = with_pattern(s.device, slices.train, full_sampling(slices.train, "tv"),
                                        choice.groups(slices.train, pattern, count, s.seed));
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
void add_cross_table(const Settings& s, const Slices& slices,
                     const std::map<std::string, LearnedPattern>& learned,
                     const std::vector<std::string>& names, Result& result) {
  std::vector<Row>& rows = result.rows;
  std::vector<HostImage> patterns;
  std::string caption;
  for (const std::string& own : names) {
    double best = -std::numeric_limits<double>::infinity(), diagonal = 0;
    for (const std::string& other : names) {
      s.tell(".5: " + own + " under the pattern of " + other);
      MriModel model = learned.at(own).model;
      model.s = learned.at(other).model.s;
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
        reported({".5: " + own + ": mean radius of its pattern", {}, learned.at(own).model.mean_radius()}));
    patterns.push_back(pattern_image(learned.at(own).model, learned.at(own).model.s));
    caption += (caption.empty() ? "" : ", ") + own;
  }
  rows.push_back(below({".5: mean radius of the pattern of h1 over that of tv",
                        {},
                        learned.at("h1").model.mean_radius() / learned.at("tv").model.mean_radius()},
                       1, "nearer to zero frequency"));
  result.pictures.push_back(
      {"patterns-by-regulariser", "Part .5: patterns learned with " + caption + ".", beside(patterns)});
}

// Part .3. One solve is one reconstruction of all training slices.

/// 192 lines of which 79 are chosen, and as many free samples.
constexpr double kLineRate = 0.406, kPublishedGreedy = 12087, kPublishedLines = 4192, kPublishedFree = 6494,
                 kPublishedFreeGreedy = 3.9e8;

/// Solves of a greedy selection: n - t in step t.
double greedy_solves(std::size_t groups, std::size_t count) {
  return static_cast<double>(count) * static_cast<double>(2 * groups - count + 1) / 2;
}

/// As many lines as `model` has, chosen one after the other with its weight, which is then tuned.
MriModel choose_greedily(const Settings& s, const MriData& data, const MriModel& model, Work& work) {
  mri::CandidateReconstruction candidates(s.device, data, model, {});
  const std::size_t count = chosen_groups(model), groups = model.s.size();
  const auto losses = [&](std::span<const int> chosen, std::span<const int> tried) {
    return candidates.losses(chosen, tried, work);
  };
  const auto added = [&](std::span<const int> order) {
    candidates.advance(order, work);
    s.tell(format(".3: %zu of %zu lines one after the other", order.size(), count));
    return true;
  };
  const std::vector<int> order = greedy_groups(groups, count, {}, losses, added);
  if (order.size() < count) throw Interrupted();
  return with_pattern(s.device, data, model, groups_listed(groups, order));
}

void add_lines(const Settings& s, const Slices& slices, const LearnedPattern& free, RateOptions options,
               Result& result) {
  options.kind = PatternKind::rows;
  options.rate = kLineRate;
  const LearnedPattern lines = learn_at_rate(s, slices.train, "tv", options);
  Work work;
  const MriModel greedy = choose_greedily(s, slices.train, lines.model, work);
  const Used learned = use(s, slices, lines.model), chosen = use(s, slices, greedy);
  const auto solves = [](std::uint64_t count) { return static_cast<double>(count); };
  std::vector<Row>& rows = result.rows;
  rows.push_back(reported({".3: solves, learned lines", kPublishedLines, solves(lines.solves())}));
  rows.push_back(
      reported({".3: of these by methods with certified decrease", {}, solves(lines.certified_solves)}));
  rows.push_back(reported({".3: solves, greedy lines", kPublishedGreedy, solves(work.solves)}));
  rows.push_back(at_full_size(
      s, at_most({".3: solves of learned lines over those of greedy ones", kPublishedLines / kPublishedGreedy,
                  solves(lines.solves()) / solves(work.solves)},
                 0.5)));
  rows.push_back(reported({".3: solves, learned free pattern", kPublishedFree, solves(free.solves())}));
  rows.push_back(reported({".3: what a greedy free pattern would take", kPublishedFreeGreedy,
                           greedy_solves(free.model.s.size(), chosen_groups(free.model))}));
  add_quality(".3: learned lines", learned, {}, {}, rows);
  add_quality(".3: greedy lines", chosen, {}, {}, rows);
  rows.push_back(at_least(
      {".3: learned over greedy lines, slices learned from, dB", {}, learned.train.psnr - chosen.train.psnr},
      -0.2));
  result.pictures.push_back(
      {"lines",
       format("Part .3: learned lines and lines chosen greedily, %.1f %%.", 100 * lines.model.rate()),
       beside({pattern_image(lines.model, lines.model.s), pattern_image(greedy, greedy.s)})});
}

// Part .7.

/// `count` of the images, at equal distances.
MriData some_images(const MriData& data, int count) {
  MriData some = data;
  const auto chosen = [&](auto& values) {
    const auto all = std::exchange(values, {});
    const std::size_t each = all.size() / static_cast<std::size_t>(data.images);
    for (int k = 0; k < count; ++k) {
      const auto from =
          all.begin() + static_cast<std::ptrdiff_t>(
                            static_cast<std::size_t>((2 * k + 1) * data.images / (2 * count)) * each);
      values.insert(values.end(), from, from + static_cast<std::ptrdiff_t>(each));
    }
  };
  chosen(some.truth);
  chosen(some.kspace);
  chosen(some.names);
  some.images = count;
  return some;
}

void add_training_size(const Settings& s, const Slices& slices, const Used& all, const RateOptions& options,
                       Result& result) {
  const std::vector<int> counts = s.quick ? std::vector<int>{1} : std::vector<int>{1, 2, 5};
  Series psnr{"test slices", {}, {}};
  for (const int count : counts) {
    s.tell(format(".7: learned from %d", count));
    const Slices fewer{some_images(slices.train, count), slices.test};
    psnr.x.push_back(count);
    psnr.y.push_back(use(s, fewer, learn_at_rate(s, fewer.train, "tv", options).model).test.psnr);
    result.rows.push_back(
        reported({format(".7: learned from %d: PSNR of the test slices, dB", count), {}, psnr.y.back()}));
  }
  const double last = all.test.psnr - psnr.y.back();
  psnr.x.push_back(slices.train.images);
  psnr.y.push_back(all.test.psnr);
  result.rows.push_back(at_full_size(
      s, at_most(
             {format(".7: %d slices over %d, test slices, dB", slices.train.images, counts.back()), {}, last},
             0.3)));
  result.curves.push_back(
      {"Part .7: how much data is needed", {"slices", false}, {"PSNR, dB", false}, {psnr}});
}

// Part .9.

/// Test slices reconstructed to 1e-9 per pixel.
mri::Reconstruction reconstructed_with(const Settings& s, const MriData& data, MriModel model, double alpha) {
  s.tell(format(".9: alpha = %g", alpha));
  model.alpha = alpha;
  mri::Reconstruction r = mri::reconstruct(s.device, data, model, {.tolerance = 1e-9});
  if (r.status == SolveStatus::decided) throw Interrupted();
  if (r.status != SolveStatus::converged) throw Error("the reconstruction ended early: " + r.message);
  return r;
}

/// The largest difference between zero filling, F^* S y, and 1 + xi times the minimiser for alpha = 0, which
/// is extrapolated from the least alpha that there is and its double.
double from_zero_filling(const MriModel& model, const mri::Reconstruction& once,
                         const mri::Reconstruction& twice) {
  double largest = 0;
  for (std::size_t k = 0; k < once.x.size(); ++k)
    largest =
        std::max(largest, std::abs((1 + model.xi) * (2 * once.x[k] - twice.x[k]) - once.zero_filled[k]));
  return largest;
}

/// The test slices under variable density with weights of total variation.
void add_weights(const Settings& s, const Slices& slices, double rate, Result& result) {
  constexpr double least = 1e-8;
  MriModel model = full_sampling(slices.test, "tv");
  model.s = variable_density(model.pattern(), groups_at_rate(model.pattern(), rate), s.seed);
  std::vector<double> errors;
  std::vector<HostImage> images;
  for (const double alpha : {least, 1e-4, 1e-3, 1.0}) {
    const mri::Reconstruction r = reconstructed_with(s, slices.test, model, alpha);
    errors.push_back(squared_error(slices.test, r.x));
    images.push_back(first_slice(slices.test, r.x));
    result.rows.push_back(reported({format(".9: loss with alpha = %g", alpha), {}, errors.back()}));
    if (alpha == least)
      result.rows.push_back(at_most(
          {".9: largest difference of 1 + xi times a pixel from zero filling, alpha extrapolated to 0",
           {},
           from_zero_filling(model, r, reconstructed_with(s, slices.test, model, 2 * least))},
          1e-6));
  }
  result.rows.push_back(below({".9: least loss inside over the lesser one of the ends",
                               {},
                               std::min(errors[1], errors[2]) / std::min(errors.front(), errors.back())},
                              1, "below 1"));
  result.pictures.push_back(
      {"weights", "Part .9: test slice, alpha = 1e-08, 0.0001, 0.001, 1 from the left.", beside(images)});
}

}  // namespace

void add_slices(const Settings& s, Result& result) {
  const Slices slices = load_slices(s, s.quick ? 2 : 8, s.quick ? 32 : 64);
  const std::vector<std::string> names =
      s.quick ? std::vector<std::string>{"h1", "tv"} : std::vector<std::string>{"h1", "wavelet", "tv", "tv2"};
  RateOptions options;
  options.rate = kRate;
  if (s.quick) options.runs = 1, options.relax.max_iterations = 40;
  std::map<std::string, LearnedPattern> learned;
  for (const std::string& name : names) learned.emplace(name, learn_at_rate(s, slices.train, name, options));
  const Used tv = use(s, slices, learned.at("tv").model);
  add_comparison(s, slices, tv, result);
  add_lines(s, slices, learned.at("tv"), options, result);
  add_cross_table(s, slices, learned, names, result);
  add_training_size(s, slices, tv, options, result);
  add_weights(s, slices, kRate, result);
  result.notes.push_back(
      format("Parts .2, .3, .5, .6, .7, .9: %s to learn from and %s to test, %d x %d pixels, noise %g, %g of "
             "k-space (lines: %g); the published ones are other slices of 192 x 192, with directional total "
             "variation.",
             slices.train.names.front().c_str(), slices.test.names.front().c_str(), slices.train.height,
             slices.train.width, kSliceNoise, kRate, kLineRate));
  result.notes.insert(result.notes.end(), slices.train.notes.begin(), slices.train.notes.end());
}

}  // namespace bilevel_app::experiments
