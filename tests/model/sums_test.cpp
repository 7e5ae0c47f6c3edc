#include <gmock/gmock.h>

#include <map>

#include "bilevel/core/error.hpp"
#include "bilevel/ops/host_operator.hpp"
#include "bilevel/ops/operator_check.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/model/evaluate.hpp"
#include "tests/support/sums_setup.hpp"
#include "tests/support/thrown.hpp"

// Sums of regularisers against the energies of their parts, which have oracles of their own, rounding of
// chained passes, and misuse.

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

void add(std::vector<double>& to, double factor, const std::vector<double>& from) {
  if (to.empty()) to.assign(from.size(), 0);
  for (std::size_t e = 0; e < to.size(); ++e) to[e] += factor * from[e];
}

/// The sum of the parts, each with data and ridge, less those counted too often.
template <class T>
void expect_sum_of_parts(const SumCase& c, const SumData<T>& data, double ridge, double tolerance,
                         Random& random) {
  Context& context = data.context;
  const std::vector<double> x = representable<T>(random.normal_vector(data.shape.count())),
                            p = representable<T>(random.normal_vector(data.shape.count()));
  const std::map<std::string, double> direction{
      {"alpha", 0.3},    {"nu", -0.2},         {"s", 0.1},         {"weight", 0.4},   {"smoothing", 0.2},
      {"filters", -0.1}, {"2.alpha", 0.3},     {"2.nu", -0.2},     {"2.weight", 0.4}, {"3.alpha", 0.3},
      {"3.nu", -0.2},    {"2.smoothing", 0.2}, {"2.filters", -0.1}};
  const std::unique_ptr<ComposedEnergy<T>> sum = data.energy(c.joined(), c.sum());
  const Evaluated got = evaluate<T>(context, *sum, x, p, direction);
  const Parameters none(
      {{"alpha", Transform::identity, 0, 0, 1, false}, {"xi", Transform::identity, ridge, 0, 1, false}});
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  Evaluated wanted = evaluate<T>(context, *data.energy(none, tikhonov), x, p, direction);
  const double surplus = 1 - static_cast<double>(c.parts.size());
  double largest = 0;
  for (std::vector<double>* v : {&wanted.value, &wanted.gradient, &wanted.diagonal, &wanted.product,
                                 &wanted.inner, &wanted.dual_product, &wanted.forward})
    for (double& e : *v) e *= surplus;
  bool experts = false;
  for (std::size_t k = 0; k < c.parts.size(); ++k) {
    experts = experts || std::holds_alternative<ExpertsOptions>(c.parts[k]);
    const Evaluated part = evaluate<T>(context, *data.energy(c.parameters[k], c.parts[k]), x, p, direction);
    add(wanted.value, 1, part.value);
    add(wanted.gradient, 1, part.gradient);
    add(wanted.diagonal, 1, part.diagonal);
    add(wanted.product, 1, part.product);
    add(wanted.inner, 1, part.inner);
    add(wanted.dual_product, 1, part.dual_product);
    add(wanted.forward, 1, part.forward);
    for (const auto& [name, z] : part.mixed) {
      const std::string own = name == "s" ? name : part_prefix(k) + name;
      ASSERT_TRUE(got.mixed.contains(own)) << own;
      EXPECT_LT(max_relative_difference(got.mixed.at(own), z), tolerance) << own;
      largest = std::max(largest, norm(z));
    }
  }
  EXPECT_LT(max_relative_difference(got.value, wanted.value), tolerance);
  EXPECT_LT(max_relative_difference(got.gradient, wanted.gradient), tolerance);
  if (!experts) {
    EXPECT_LT(max_relative_difference(got.diagonal, wanted.diagonal), tolerance);
  }
  EXPECT_LT(max_relative_difference(got.product, wanted.product), tolerance);
  EXPECT_LT(max_relative_difference(got.inner, wanted.inner), tolerance);
  EXPECT_LT(max_relative_difference(got.dual_product, wanted.dual_product), std::max(tolerance, 1e-6));
  EXPECT_LT(max_relative_difference(got.forward, wanted.forward), tolerance);
  EXPECT_GT(largest, 0);
  const std::size_t each = data.shape.image();
  for (std::size_t i = 0; i < 2; ++i) {
    double norm2 = 0, forward2 = 0;
    for (std::size_t e = i * each; e < (i + 1) * each; ++e) {
      norm2 += got.gradient[e] * got.gradient[e];
      forward2 += got.forward[e] * got.forward[e];
    }
    EXPECT_LT(relative_difference(got.norm2[i], norm2), 1e-6);
    EXPECT_LT(relative_difference(got.forward2[i], forward2), 1e-6);
  }
}

template <class T>
class Sums : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Sums, Precisions);

TYPED_TEST(Sums, AreThoseOfTheirParts) {
  using T = TypeParam;
  Random random(seed(2801));
  const double tolerance = sizeof(T) == 4 ? 2e-4 : 1e-12, ridge = 0.05;
  for (const DataKind kind : every_kind)
    for (const Shape& size : {Shape{1, 1, 9, 11}, Shape{1, 1, 38, 70}}) {
      Context context(Device::open(test_device("cpu:2")));
      const SumData<T> data(kind, context, size.h, size.w, random);
      for (const SumCase& c : sum_cases(data.shape, ridge, random)) {
        SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name + ", " + size.str());
        expect_sum_of_parts<T>(c, data, ridge, tolerance, random);
      }
    }
}

/// Traces by products with unit images; filters inside the image alone, whose diagonal has no reflections.
TEST(MeanStiffness, IsTheMeanDiagonalOfTheRegularisers) {
  Random random(seed(2808));
  const ExpertsOptions inside{FilterPadding::valid, TvPotential::huber_c2, false};
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  const Parameters none(
      {{"alpha", Transform::identity, 0, 0, 1, false}, {"xi", Transform::identity, 0.1, 0, 1, false}});
  for (const DataKind kind :
       {DataKind::denoising, DataKind::fourier, DataKind::complex_fourier, DataKind::coils}) {
    Context context(Device::open(test_device("cpu:1")));
    const SumData<double> data(kind, context, 5, 6, random);
    const std::vector<double> x = random.normal_vector(data.shape.count());
    const auto trace = [&](const ComposedEnergy<double>& e) {
      double sum = 0;
      for (std::size_t k = 0; k < data.shape.image(); ++k) {
        std::vector<double> unit(data.shape.count(), 0);
        unit[k] = unit[data.shape.image() + k] = 1;
        sum += dot(unit, evaluate<double>(context, e, x, unit, {}).product);
      }
      return sum / static_cast<double>(data.shape.count());
    };
    const double of_data = trace(*data.energy(none, tikhonov));
    for (const SumCase& c :
         {sum_case("foe", {inside}, 0.1, random), sum_case("foe+tv", {inside, TvOptions{}}, 0.1, random),
          sum_case("tv+foe", {TvOptions{}, inside}, 0.1, random)}) {
      SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
      const auto energy = data.energy(c.joined(), c.sum());
      const double wanted = trace(*energy) - of_data;
      const Tensor<double> at(context, data.shape, x);
      EXPECT_LT(relative_difference(energy->mean_stiffness(context, at.view()) * energy->symbol(4), wanted),
                1e-10);
    }
  }
}

/// Data of an operator against the operator itself, and the identity against pointwise data.
TEST(OperatorData, IsTheSquaredResidual) {
  Random random(seed(2804));
  Context context(Device::open(test_device("cpu:2")));
  const SumData<double> data(DataKind::blur, context, 13, 10, random);
  const double ridge = 0.3;
  const Parameters none(
      {{"alpha", Transform::identity, 0, 0, 1, false}, {"xi", Transform::identity, ridge, 0, 1, false}});
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  const std::vector<double> x = random.normal_vector(data.shape.count());
  const Evaluated got = evaluate<double>(context, *data.energy(none, tikhonov), x, x, {});
  Frame frame(context);
  const ActiveSet all(context, frame, 2);
  const Tensor<double> at(context, data.shape, x);
  Tensor<double> residual(context, data.shape), gradient(context, data.shape);
  data.blur->apply(context, all.active(), at.view(), residual.view());
  const std::vector<double> r = add_scaled(download(context, residual), -1, download(context, data.y));
  residual.upload(context, r);
  data.blur->adjoint(context, all.active(), std::as_const(residual).view(), gradient.view());
  EXPECT_LT(max_relative_difference(got.gradient, add_scaled(download(context, gradient), ridge, x)), 1e-12);
  EXPECT_LT(relative_difference(got.value[0] + got.value[1], 0.5 * dot(r, r) + 0.5 * ridge * dot(x, x)),
            1e-12);
  data.blur->normal(context, all.active(), at.view(), gradient.view());
  EXPECT_LT(max_relative_difference(got.product, add_scaled(download(context, gradient), ridge, x)), 1e-12);
}

TEST(OperatorData, OfTheIdentityIsDenoising) {
  Random random(seed(2805));
  Context context(Device::open(test_device("cpu:1")));
  SumData<double> denoising(DataKind::denoising, context, 9, 12, random);
  const SumCase c = sum_case("tv", {TvOptions{}}, 0.1, random);
  const std::vector<double> x = random.normal_vector(denoising.shape.count());
  const auto energy = denoising.energy(c.joined(), c.sum());
  const Evaluated wanted = evaluate<double>(context, *energy, x, x, {});
  denoising.blur = std::make_shared<Blur<double>>(context, denoising.shape, BlurKernel{});
  const auto same = denoising.energy(c.joined(), c.sum());
  const Evaluated got = evaluate<double>(context, *same, x, x, {});
  EXPECT_LT(max_relative_difference(got.gradient, wanted.gradient), 1e-12);
  EXPECT_LT(max_relative_difference(got.value, wanted.value), 1e-12);
  EXPECT_LT(max_relative_difference(got.product, wanted.product), 1e-12);
  EXPECT_GE(same->curvature().lipschitz, energy->curvature().lipschitz * (1 - 1e-12));
  EXPECT_GE(same->curvature().product_scale(), same->curvature().lipschitz);
}

/// Ranges of any number of channels: three copies of an image, each with data of its own.
TEST(OperatorData, CountsEveryChannelOfTheRange) {
  Random random(seed(2807));
  Context context(Device::open(test_device("cpu:2")));
  const Shape fine{2, 1, 5, 6}, range{2, 3, 5, 6};
  const auto thrice = std::make_shared<HostOperator<double>>(
      fine, range,
      [](std::span<const double> x, std::span<double> z) {
        for (std::size_t e = 0; e < z.size(); ++e) z[e] = x[e % x.size()];
      },
      [](std::span<const double> z, std::span<double> x) {
        for (std::size_t e = 0; e < x.size(); ++e) x[e] = z[e] + z[e + x.size()] + z[e + 2 * x.size()];
      },
      HostOperator<double>::Constants{3, 4, 3});
  EXPECT_EQ(check_operator(context, *thrice).fault, "");
  const std::vector<double> x = random.normal_vector(fine.count()), y = random.normal_vector(range.count());
  const Tensor<double> data(context, range, y);
  const Parameters none(
      {{"alpha", Transform::identity, 0, 0, 1, false}, {"xi", Transform::identity, 0, 0, 1, false}});
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  const ComposedEnergy<double> energy(context, thrice, data.view(), none, tikhonov);
  const Evaluated got = evaluate<double>(context, energy, x, x, {});
  double value = 0;
  std::vector<double> gradient(x.size(), 0);
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t e = 0; e < 30; ++e) {
        const double r = x[i * 30 + e] - y[(i * 3 + c) * 30 + e];
        value += 0.5 * r * r;
        gradient[i * 30 + e] += r;
      }
  EXPECT_LT(relative_difference(got.value[0] + got.value[1], value), 1e-12);
  EXPECT_LT(max_relative_difference(got.gradient, gradient), 1e-12);
}

TEST(OperatorData, MisuseIsRefused) {
  Random random(seed(2806));
  Context context(Device::open(test_device("cpu:1")));
  const SumData<double> data(DataKind::blur, context, 8, 9, random);
  using Energy = ComposedEnergy<double>;
  EXPECT_THAT(message_of<ConfigError>([&] { Energy(context, nullptr, data.y.view(), tv_parameters()); }),
              HasSubstr("none is given"));
  Tensor<double> other(context, {2, 1, 9, 8}, std::vector<double>(144, 0));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { Energy(context, data.blur, std::as_const(other).view(), tv_parameters()); }),
              HasSubstr("data of an operator"));
  Energy energy(context, data.blur, data.y.view(), tv_parameters());
  EXPECT_THAT(message_of<ConfigError>([&] { energy.keep_single_precision(context); }),
              HasSubstr("in double"));
  EXPECT_EQ(energy.proximal(), nullptr);
  Parameters flat({{"alpha", Transform::exp, 0.1, 1e-8, 1, true},
                   {"nu", Transform::exp, 0.1, 1e-8, 1, true},
                   {"xi", Transform::identity, 0, 0, 1, false}});
  EXPECT_THAT(message_of<ConfigError>([&] { Energy(context, data.blur, data.y.view(), flat); }),
              HasSubstr("strongly convex"));
}

/// The bound on rounding, of single against double precision, at points of several scales.
TEST(SumsRounding, CoversThatOfChainedPasses) {
  Random random(seed(2802));
  RatioRecorder ratios("error of the gradient/rounding bound, sums in single precision");
  for (const DataKind kind : every_kind)
    for (int round = 0; round < 3; ++round) {
      Context context(Device::open(test_device("cpu:1")));
      const std::uint64_t same = random.bits();
      Random first(same), second(same);
      const SumData<float> single(kind, context, 12, 14, first);
      const SumData<double> twice(kind, context, 12, 14, second);
      for (const SumCase& c : all_cases(single.shape, 0.02, random)) {
        SCOPED_TRACE(std::string(name_of(kind)) + ", " + c.name);
        const auto a = single.energy(c.joined(), c.sum());
        const auto b = twice.energy(c.joined(), c.sum());
        std::vector<double> x = random.normal_vector(a->shape().count());
        const double size = random.log_uniform(1e-3, 1e3);
        for (double& e : x) e *= size;
        x = representable<float>(x);
        const Evaluated low = evaluate<float>(context, *a, x, x, {}),
                        high = evaluate<double>(context, *b, x, x, {});
        const std::size_t each = a->shape().image();
        for (std::size_t i = 0; i < 2; ++i) {
          double error = 0;
          for (std::size_t e = i * each; e < (i + 1) * each; ++e)
            error += std::pow(low.gradient[e] - high.gradient[e], 2);
          ASSERT_LE(std::sqrt(error), low.rounding[i]);
          ratios.add(std::sqrt(error) / low.rounding[i]);
        }
      }
    }
}

/// sum_p rho_nu of images [C][h][w], the first of a batch, by charbonnier.
double directional_sum(std::span<const double> x, int h, int w, std::span<const double> reference, double eta,
                       double nu) {
  const auto width = static_cast<std::size_t>(w), size = width * static_cast<std::size_t>(h);
  double sum = 0;
  for (std::size_t e = 0; e < size; ++e) {
    const bool right = (e + 1) % width == 0, low = e + width >= size;
    const auto dx = [&](std::span<const double> v) { return right ? 0 : v[e + 1] - v[e]; };
    const auto dy = [&](std::span<const double> v) { return low ? 0 : v[e + width] - v[e]; };
    const double rx = dx(reference), ry = dy(reference), length = eta * eta + rx * rx + ry * ry;
    double square = nu * nu;
    for (std::size_t first = 0; first < x.size(); first += size) {
      const auto plane = x.subspan(first, size);
      const double along = (rx * dx(plane) + ry * dy(plane)) / length;
      square += std::pow(dx(plane) - rx * along, 2) + std::pow(dy(plane) - ry * along, 2);
    }
    sum += std::sqrt(square);
  }
  return sum;
}

/// Its value by the formula, and after the reference is gone, in single precision too.
TEST(DirectionalVariation, IsItsFormula) {
  Random random(seed(2818));
  Context context(Device::open(test_device("cpu:2")));
  const SumData<double> data(DataKind::denoising, context, 7, 9, random);
  const std::vector<double> x = random.normal_vector(data.shape.count());
  std::vector<double> reference = random.normal_vector(data.shape.count());
  const double alpha = 0.3, nu = 0.2, xi = 0.1, eta = 0.4;
  const Parameters parameters({{"alpha", Transform::exp, alpha, 1e-8, 1, true},
                               {"nu", Transform::exp, nu, 1e-8, 1, true},
                               {"xi", Transform::identity, xi, 0, 1, false}});
  const auto energy = data.energy(parameters, DirectionalTv{TvPotential::charbonnier, eta, reference});
  const std::vector<double> y = download(context, data.y);
  std::vector<double> wanted;
  for (const std::size_t first : {0U, 63U})
    wanted.push_back(alpha * directional_sum(std::span(x).subspan(first, 63), 7, 9,
                                             std::span(reference).subspan(first, 63), eta, nu));
  for (std::size_t e = 0; e < x.size(); ++e)
    wanted[e / 63] += 0.5 * (x[e] - y[e]) * (x[e] - y[e]) + 0.5 * xi * x[e] * x[e];
  EXPECT_LT(max_relative_difference(evaluate<double>(context, *energy, x, x, {}).value, wanted), 1e-12);
  std::fill(reference.begin(), reference.end(), std::nan(""));
  energy->keep_single_precision(context);
  SolveRequest<double> request;
  request.tolerance = 1e-9;
  Tensor<double> exact(context, data.shape, y), mixed(context, data.shape, y);
  for (auto& [solver, at] : {std::pair{"newton", &exact}, {"mixed:newton", &mixed}})
    EXPECT_EQ(make_minimiser<double>(solver)->minimise(context, *energy, request, at->view()).status,
              SolveStatus::converged);
  EXPECT_LE(distance(download(context, exact), download(context, mixed)), 3e-9);
  EXPECT_THAT(message_of<ShapeError>([&] { (void)data.energy(parameters, DirectionalTv{}); }),
              HasSubstr("the reference has 0 pixels"));
}

/// Real and imaginary part under one modulus: its value by the formula beside one coil and two, and its
/// derivatives by differences.
TEST(DirectionalVariation, OfComplexImagesHasOneModulus) {
  Random random(seed(2819));
  Context context(Device::open(test_device("cpu:2")));
  const double alpha = 0.3, nu = 0.2, eta = 0.4, step = 1e-5;
  const std::vector<double> reference = random.normal_vector(63);
  const Parameters parameters({{"alpha", Transform::exp, alpha, 1e-8, 1, true},
                               {"nu", Transform::exp, nu, 1e-8, 1, true},
                               {"xi", Transform::identity, 0, 0, 1, false}}),
      none({{"alpha", Transform::identity, 0, 0, 1, false}, {"xi", Transform::identity, 0, 0, 1, false}});
  const TvOptions tikhonov{TvPotential::quadratic, true, false, TvDifferences::none};
  for (const DataKind kind : {DataKind::complex_fourier, DataKind::coils}) {
    SCOPED_TRACE(name_of(kind));
    const SumData<double> data(kind, context, 7, 9, random);
    const std::vector<double> x = random.normal_vector(data.shape.count()),
                              p = random.normal_vector(data.shape.count());
    const auto energy = data.energy(parameters, DirectionalTv{TvPotential::charbonnier, eta, reference});
    const auto at = [&](double t) { return evaluate<double>(context, *energy, add_scaled(x, t, p), p, {}); };
    const Evaluated here = at(0), before = at(-step), after = at(step),
                    without = evaluate<double>(context, *data.energy(none, tikhonov), x, p, {});
    for (std::size_t i = 0; i < 2; ++i) {
      const double own =
          alpha * directional_sum(std::span(x).subspan(126 * i, 126), 7, 9, reference, eta, nu);
      EXPECT_NEAR(here.value[i] - without.value[i], own, 1e-12 * here.value[i]);
      double slope = 0;
      for (std::size_t e = 126 * i; e < 126 * (i + 1); ++e) slope += here.gradient[e] * p[e];
      EXPECT_NEAR((after.value[i] - before.value[i]) / (2 * step), slope, 1e-7 * here.value[i]);
    }
    std::vector<double> change = add_scaled(after.gradient, -1, before.gradient);
    for (double& v : change) v /= 2 * step;
    EXPECT_LT(max_relative_difference(here.product, change), 1e-7);
  }
}

TEST(SumsMisuse, IsRefusedAndLeavesTheEnergyAlone) {
  Random random(seed(2803));
  Context context(Device::open(test_device("cpu:1")));
  const SumData<double> data(DataKind::denoising, context, 8, 9, random);
  const SumCase c = sum_case("tv+h1", {TvOptions{}, TvOptions{TvPotential::quadratic}}, 0.01, random);
  const auto refusal = [&](const Parameters& p, const RegulariserSum& sum) {
    return message_of<ConfigError>([&] { (void)data.energy(p, sum); });
  };
  EXPECT_THAT(refusal(c.parameters[0], c.sum()), HasSubstr("'2.alpha'"));
  EXPECT_THAT(refusal(c.joined(), TvOptions{}), HasSubstr("'2.alpha' belongs to no term"));
  EXPECT_THAT(refusal(c.joined(), RegulariserSum(std::vector<RegulariserOptions>{})),
              HasSubstr("needs a regulariser"));
  TvOptions inside;
  inside.xi_inside_alpha = true;
  EXPECT_THAT(refusal(joined_parameters({tv_parameters(), tv_parameters()}),
                      RegulariserSum(std::vector<RegulariserOptions>{TvOptions{}, inside})),
              HasSubstr("first regulariser of a sum"));
  EXPECT_THAT(message_of<ConfigError>([] { (void)joined_parameters({}); }), HasSubstr("needs parts"));
  const auto energy = data.energy(c.joined(), c.sum());
  const Curvature before = energy->curvature();
  std::vector<double> theta = c.joined().initial();
  theta.back() = 800;  // e^800
  EXPECT_THROW(energy->bind(theta), ConfigError);
  EXPECT_EQ(energy->curvature().lipschitz, before.lipschitz);
  EXPECT_EQ(energy->value("2.alpha"), c.parameters[1].value("alpha", c.parameters[1].initial()));
}

}  // namespace
}  // namespace bilevel
