#include <gmock/gmock.h>

#include "bilevel/core/error.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/model/evaluate.hpp"
#include "tests/support/sums_setup.hpp"
#include "tests/support/thrown.hpp"

// Colour: all differences of a pixel under one modulus, against plain loops and against grey images.

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

constexpr TvOptions tv{}, huber{TvPotential::huber_c2}, h1{TvPotential::quadratic};
const Shape colour{2, 3, 7, 9}, grey{2, 1, 7, 9};

double rho(TvPotential potential, double square, double nu) {
  const double r = std::sqrt(square);
  if (potential == TvPotential::quadratic) return square / 2;
  if (potential == TvPotential::charbonnier) return std::sqrt(square + nu * nu);
  return r <= nu ? square / nu - square * r / (3 * nu * nu) : r - nu / 3;
}

/// Phi of an image [3][h][w].
double energy_of(TvPotential potential, const Shape& s, std::span<const double> x, std::span<const double> y,
                 std::span<const double> mask, double alpha, double nu, double xi) {
  const std::size_t width = static_cast<std::size_t>(s.w), size = width * static_cast<std::size_t>(s.h);
  double sum = 0;
  for (std::size_t p = 0; p < size; ++p) {
    double square = 0;
    for (std::size_t e = p; e < x.size(); e += size) {
      if ((p + 1) % width != 0) square += std::pow(x[e + 1] - x[e], 2);
      if (p + width < size) square += std::pow(x[e + width] - x[e], 2);
      sum += 0.5 * (mask.empty() ? 1 : mask[p]) * std::pow(x[e] - y[e], 2) + 0.5 * xi * x[e] * x[e];
    }
    sum += alpha * rho(potential, square, nu);
  }
  return sum;
}

Parameters numbers(double alpha, double nu, double xi, bool smoothed = true) {
  std::vector<Segment> segments{{"alpha", Transform::exp, alpha, 1e-8, 10, true},
                                {"xi", Transform::exp, xi, 1e-8, 10, true}};
  if (smoothed) segments.insert(segments.begin() + 1, {"nu", Transform::exp, nu, 1e-8, 10, true});
  return Parameters(segments);
}

std::vector<double> minimised(Context& context, const ComposedEnergy<double>& energy, const char* solver,
                              double tolerance = 1e-9) {
  Tensor<double> x(context, energy.shape(), std::vector<double>(energy.shape().count(), 0));
  SolveRequest<double> request;
  request.tolerance = tolerance;
  request.max_iterations = 100000;
  EXPECT_EQ(make_minimiser<double>(solver)->minimise(context, energy, request, x.view()).status,
            SolveStatus::converged)
      << solver;
  return download(context, x);
}

/// Value by the formula; gradient, Hessian product and B by differences of it and of each other.
TEST(Colour, IsItsFormulaWithItsDerivatives) {
  Random random(seed(2901));
  Context context(Device::open(test_device("cpu:2")));
  const double alpha = 0.3, nu = 0.4, xi = 0.1, step = 1e-5;
  for (const DataKind kind : {DataKind::colour, DataKind::masked_colour})
    for (const TvOptions& options : {tv, huber, h1}) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + potential_name(options.potential));
      const SumData<double> data(kind, context, colour.h, colour.w, random);
      const auto energy = data.energy(numbers(alpha, nu, xi, options.smoothed()), options);
      const std::vector<double> y = download(context, data.y), x = random.normal_vector(colour.count()),
                                p = random.normal_vector(colour.count());
      const auto formula = [&](double t, std::size_t i, double by_alpha = 0) {
        const std::vector<double> at = add_scaled(x, t, p);
        const std::size_t each = colour.image();
        return energy_of(options.potential, colour, std::span(at).subspan(i * each, each),
                         std::span(y).subspan(i * each, each), data.mask, alpha * std::exp(by_alpha), nu, xi);
      };
      const Evaluated here = evaluate<double>(context, *energy, x, p, {{"alpha", 1}}),
                      before = evaluate<double>(context, *energy, add_scaled(x, -step, p), p, {}),
                      after = evaluate<double>(context, *energy, add_scaled(x, step, p), p, {});
      for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_NEAR(here.value[i], formula(0, i), 1e-12 * here.value[i]);
        const std::vector<double> g = image_of(here.gradient, colour.image(), static_cast<int>(i)),
                                  own = image_of(p, colour.image(), static_cast<int>(i)),
                                  b = image_of(here.forward, colour.image(), static_cast<int>(i));
        EXPECT_NEAR((formula(step, i) - formula(-step, i)) / (2 * step), dot(g, own), 1e-7 * here.value[i]);
        const auto mixed = [&](double t) {
          return (formula(t, i, step) - formula(t, i, -step)) / (2 * step);
        };
        EXPECT_NEAR((mixed(1e-4) - mixed(-1e-4)) / 2e-4, dot(b, own), 1e-5 * here.value[i]);
      }
      std::vector<double> change = add_scaled(after.gradient, -1, before.gradient);
      for (double& v : change) v /= 2 * step;
      EXPECT_LT(max_relative_difference(here.product, change),
                options.potential == TvPotential::huber_c2 ? 1e-4 : 1e-7);
      EXPECT_LE(norm(here.product), energy->curvature().lipschitz * norm(p));
    }
}

/// Three equal channels are grey with |K x| longer by sqrt 3: alpha and nu are those of grey times sqrt 3.
TEST(Colour, OfEqualChannelsIsGrey) {
  Random random(seed(2902));
  Context context(Device::open(test_device("cpu:2")));
  const double alpha = 0.2, nu = 0.05, root = std::sqrt(3.0);
  for (const bool masked : {false, true})
    for (const TvOptions& options : {tv, huber, h1}) {
      SCOPED_TRACE(std::string(potential_name(options.potential)) + (masked ? ", masked" : ""));
      const std::vector<double> mask =
          masked ? random_mask(grey.h, grey.w, 0.6, random) : std::vector<double>();
      const std::vector<double> one = random.normal_vector(grey.count());
      const auto thrice = [](const std::vector<double>& v) {
        std::vector<double> out;
        for (std::size_t i = 0; i < 2; ++i)
          for (int k = 0; k < 3; ++k)
            out.insert(out.end(), v.begin() + static_cast<std::ptrdiff_t>(i * grey.image()),
                       v.begin() + static_cast<std::ptrdiff_t>((i + 1) * grey.image()));
        return out;
      };
      const bool smoothed = options.smoothed();
      const Tensor<double> y(context, grey, one), all(context, colour, thrice(one));
      ComposedEnergy<double> of_grey(context, y.view(), numbers(alpha, nu, 0.1, smoothed), options, mask),
          of_colour(context, all.view(), numbers(smoothed ? alpha * root : alpha, nu * root, 0.1, smoothed),
                    options, mask);
      of_colour.keep_single_precision(context);
      const std::vector<double> wanted = thrice(minimised(context, of_grey, "newton"));
      for (const char* solver : {"newton", "mixed:newton", "pdhg", "fista-restart"})
        EXPECT_LT(distance(minimised(context, of_colour, solver), wanted), 4e-9) << solver;
      const Tensor<double> x(context, grey, one), of_all(context, colour, thrice(one));
      if (!smoothed) {
        EXPECT_NEAR(of_colour.mean_stiffness(context, of_all.view()),
                    of_grey.mean_stiffness(context, x.view()), 1e-12);
      }
      EXPECT_LT(relative_difference(of_colour.curvature().mu, of_grey.curvature().mu), 1e-14);
      EXPECT_LT(relative_difference(of_colour.curvature().lipschitz, of_grey.curvature().lipschitz), 1e-12);
    }
}

/// H1 does not couple, total variation does.
TEST(Colour, CouplesChannels) {
  Random random(seed(2903));
  Context context(Device::open(test_device("cpu:2")));
  std::vector<double> values = random.normal_vector(colour.count()), other = values;
  for (std::size_t e = 0; e < grey.image(); ++e) other[e] = 3 * random.normal();  // red of the first image
  const Tensor<double> y(context, colour, values), red(context, colour, other);
  for (const TvOptions& options : {tv, h1}) {
    const Parameters parameters = numbers(0.3, 0.05, 0.1, options.smoothed());
    const std::vector<double> a = minimised(context, {context, y.view(), parameters, options}, "newton"),
                              b = minimised(context, {context, red.view(), parameters, options}, "newton");
    const auto channel = [](const std::vector<double>& v, int k) { return image_of(v, grey.image(), k); };
    EXPECT_GT(distance(channel(a, 0), channel(b, 0)), 0.1);
    for (const int green_or_blue : {1, 2}) {
      const double moved = distance(channel(a, green_or_blue), channel(b, green_or_blue));
      if (options.smoothed()) {
        EXPECT_GT(moved, 1e-2);
      } else {
        EXPECT_LT(moved, 4e-9);
      }
    }
    EXPECT_LT(distance(image_of(a, colour.image(), 1), image_of(b, colour.image(), 1)), 4e-9);
  }
}

TEST(Colour, TruthOfOtherChannelsIsRefused) {
  Random random(seed(2906));
  Context context(Device::open(test_device("cpu:1")));
  const Tensor<double> y(context, colour, random.normal_vector(colour.count())),
      luma(context, grey, random.normal_vector(grey.count()));
  const Parameters parameters = numbers(0.3, 0.05, 0.1, true);
  const auto problem = [&](const Tensor<double>& truth) {
    BilevelProblem<double>(std::make_unique<ComposedEnergy<double>>(context, y.view(), parameters, tv),
                           truth.view(), parameters);
  };
  EXPECT_NO_THROW(problem(y));
  EXPECT_THAT(message_of<ShapeError>([&] { problem(luma); }), HasSubstr("true"));
}

TEST(Colour, OtherRegularisersAreRefused) {
  Random random(seed(2904));
  Context context(Device::open(test_device("cpu:1")));
  const Tensor<double> y(context, {1, 3, 8, 8}, random.normal_vector(192)),
      pairs(context, {1, 2, 8, 8}, random.normal_vector(128));
  using P = TvPotential;
  const auto refusal = [&](const Parameters& p, const RegulariserSum& sum) {
    return message_of<ConfigError>([&] { ComposedEnergy<double>(context, y.view(), p, sum); });
  };
  const TvOptions separate{P::charbonnier, false}, second{P::charbonnier, true, false, TvDifferences::second};
  const std::vector<double> reference(64, 0);
  const std::vector<std::pair<Parameters, RegulariserSum>> others{
      {tv_parameters(separate), separate},
      {tv_parameters(second), second},
      {wavelet_parameters(), WaveletSparsity{}},
      {tgv_parameters(), TgvOptions{}},
      {experts_parameters(2, 3, FilterInit::dct, 0.1, 0.1), ExpertsOptions{}},
      {directional_parameters(), DirectionalTv{P::charbonnier, 0.1, reference}},
      {joined_parameters({tv_parameters(), tv_parameters(second)}),
       RegulariserSum(std::vector<RegulariserOptions>{tv, second})}};
  for (const auto& [parameters, sum] : others)
    EXPECT_THAT(refusal(parameters, sum), HasSubstr("take isotropic total variation"));
  EXPECT_THAT(message_of<ShapeError>([&] { ComposedEnergy<double>(context, pairs.view(), tv_parameters()); }),
              HasSubstr("of colour [N,3,H,W]"));
}

}  // namespace
}  // namespace bilevel
