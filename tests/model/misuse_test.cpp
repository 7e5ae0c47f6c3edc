#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "bilevel/core/error.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "tests/model/experts_lab.hpp"
#include "tests/model/mri_lab.hpp"
#include "tests/model/tv_lab.hpp"
#include "tests/support/thrown.hpp"

// Energies and problems refuse arguments that do not fit, with both numbers, before anything is enqueued.

namespace bilevel {
namespace {

using namespace testing_support;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Every function of an energy with one argument that does not fit.
template <class T>
void refuse_all(Context& context, const Energy<T>& energy) {
  const Shape shape = energy.shape(), turned{shape.n, shape.c, shape.w, shape.h};
  ASSERT_NE(shape, turned);
  Frame frame(context);
  const ActiveSet all(context, frame, shape.n);
  const Active active = all.active();
  const View<T> image = frame.view<T>(shape), wrong = frame.view<T>(turned), none{nullptr, shape};
  const View<T> weights = frame.view<T>({shape.n * energy.weight_arrays(), shape.c, shape.h, shape.w});
  const View<float> dual = frame.view<float>({shape.n * energy.dual_arrays(), shape.c, shape.h, shape.w}),
                    short_dual = frame.view<float>({1, 1, 1, 1});
  const View<double> sums =
      frame.view<double>({std::max(energy.mixed_sums(), energy.bound_sums()), shape.n, 1, 1});
  const Scalars each = frame.view<double>({shape.n, 1, 1, 1}), nothing{};
  const GradientSums good{each, each, each};
  const std::vector<double> theta(energy.parameters(), 1), longer(energy.parameters() + 1, 1);
  const std::string differ = shape.str() + " and " + turned.str();
  const auto refused = [](const std::function<void()>& call, const std::string& numbers) {
    EXPECT_THAT(message_of<ShapeError>(call), HasSubstr(numbers));
  };

  refused([&] { energy.value_and_gradient(context, active, wrong, image, good); }, differ);
  refused([&] { energy.value_and_gradient(context, active, image, wrong, good); }, differ);
  refused([&] { energy.value_and_gradient(context, active, none, image, good); }, "no memory");
  refused(
      [&] {
        energy.value_and_gradient(context, active, image, image, {each, nothing, each});
      },
      std::to_string(shape.n) + " numbers are needed");
  refused([&] { energy.linearise(context, active, wrong, {}, weights, image); }, differ);
  refused([&] { energy.linearise(context, active, image, {}, image, image); }, "numbers are needed");
  refused([&] { energy.linearise(context, active, image, short_dual, weights, image); }, "holds 1");
  refused([&] { energy.linearise(context, active, image, {}, weights, wrong); }, differ);
  refused([&] { energy.hessian_product(context, active, {}, image, image, each); }, "without memory");
  refused([&] { energy.hessian_product(context, active, weights, wrong, image, each); }, differ);
  refused([&] { energy.hessian_product(context, active, weights, image, wrong, each); }, differ);
  refused([&] { energy.hessian_product(context, active, weights, image, image, nothing); }, "are needed");
  refused([&] { energy.start_dual(context, active, wrong, dual); }, differ);
  refused([&] { energy.start_dual(context, active, image, short_dual); }, "holds 1");
  refused([&] { energy.update_dual(context, active, image, wrong, each, dual); }, differ);
  refused([&] { energy.update_dual(context, active, image, image, nothing, dual); }, "are needed");
  refused([&] { energy.mixed_adjoint(context, active, image, wrong, sums); }, differ);
  refused([&] { energy.mixed_adjoint(context, active, image, image, {}); }, "are needed");
  refused([&] { (void)energy.mixed(std::vector<double>(1)); }, "1 are given");
  refused(
      [&] { energy.mixed_forward(context, active, image, longer, image, each); },
      std::to_string(theta.size()) + " numbers are needed, " + std::to_string(longer.size()) + " are given");
  refused([&] { energy.mixed_forward(context, active, wrong, theta, image, each); }, differ);
  refused([&] { energy.directional_sums(context, active, image, wrong, {}, {each, each}, sums); }, differ);
  refused([&] { energy.directional_sums(context, active, image, image, wrong, {each, each}, sums); }, differ);
  refused(
      [&] {
        energy.directional_sums(context, active, image, image, {}, {each, nothing}, sums);
      },
      "are needed");
  refused(
      [&] {
        energy.directional_sums(context, active, image, image, {}, {each, each}, {});
      },
      "are needed");
  refused([&] { (void)energy.directional(std::vector<double>(1), 0, 1, 1, 1); }, "1 are given");
  const std::vector<double> rows(static_cast<std::size_t>(energy.bound_sums() * shape.n), 1);
  for (const int image_number : {-1, shape.n})
    refused([&] { (void)energy.directional(rows, image_number, 1, 1, 1); },
            "image " + std::to_string(image_number) + " of " + std::to_string(shape.n));
}

/// theta of another length, and with entries that are no numbers.
template <class T>
void refuse_theta(Energy<T>& energy, const std::vector<double>& good) {
  std::vector<double> theta = good;
  theta.push_back(0);
  EXPECT_THAT(message_of<ShapeError>([&] { energy.bind(theta); }),
              AllOf(HasSubstr(std::to_string(theta.size())), HasSubstr(std::to_string(good.size()))));
  EXPECT_THAT(message_of<ShapeError>([&] { energy.bind({}); }), HasSubstr(std::to_string(good.size())));
  for (std::size_t j = 0; j < good.size(); ++j)
    for (const double wrong : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
      theta = good;
      theta[j] = wrong;
      if (wrong < 0 && energy.layout()->learned(j).transform == Transform::exp &&
          energy.layout()->learned(j).name != "nu" && energy.layout()->learned(j).name != "smoothing")
        continue;  // e^-inf = 0 may be a value of weights
      EXPECT_THROW(energy.bind(theta), ConfigError) << "entry " << j << " = " << wrong;
    }
  EXPECT_NO_THROW(energy.bind(good));
}

oracle::TvModel small_tv() {
  oracle::TvModel m;
  m.height = 3;
  m.width = 4;
  return m;
}

TEST(EnergyMisuse, OfTotalVariation) {
  TvLab<double> lab(small_tv(), 2, std::vector<double>(24, 0.5));
  refuse_all<double>(lab.context(), lab.energy());
  refuse_theta<double>(lab.energy(), {std::log(0.1), std::log(0.01), std::log(1e-3)});
  const View<const double> none{nullptr, {1, 1, 3, 4}};
  EXPECT_THAT(message_of<ShapeError>([&] { ComposedEnergy<double>(lab.context(), none, tv_parameters()); }),
              HasSubstr("no memory"));
}

TEST(EnergyMisuse, OfExperts) {
  Random random(seed(2721));
  ExpertsLab<double> lab(oracle::random_foe(oracle::FoeKind::generic, foe_shape(2, 5, 6, 2, 3), random));
  refuse_all<double>(lab.context(), lab.energy());
  refuse_theta<double>(lab.energy(), lab.parameters().initial());
  const View<const double> none{nullptr, {1, 1, 5, 6}};
  EXPECT_THAT(message_of<ShapeError>([&] { ComposedEnergy<double>(lab.context(), none, lab.parameters()); }),
              HasSubstr("no memory"));
}

TEST(EnergyMisuse, OfMagneticResonance) {
  Random random(seed(2722));
  MriProblem shape = mri_shape(2, 4, 5);
  shape.learn_alpha = shape.learn_nu = shape.learn_xi = true;
  MriLab<double> lab(oracle::random_mri(shape, 0.01, random));
  refuse_all<double>(lab.context(), lab.energy());
  refuse_theta<double>(lab.energy(), lab.problem().theta());
}

/// A smoothing whose square is no normal number of the precision would make the gradient wrong in silence.
TEST(EnergyMisuse, SmoothingsBeyondThePrecisionAreRefused) {
  Context context(Device::open(test_device("cpu:1")));
  Tensor<double> y(context, {1, 1, 3, 4});
  Tensor<float> single(context, {1, 1, 3, 4});
  fill<double>(context, y.view(), 0.5);
  const auto with = [](double nu) {
    return Parameters({{"alpha", Transform::exp, 1e-300, 0, 1e3, false},
                       {"nu", Transform::exp, nu, 0, 1e300, false},
                       {"xi", Transform::exp, 1e-3, 0, 1, false}});
  };
  for (const double nu : {1e-17, 1e19}) {
    EXPECT_THAT(message_of<ConfigError>([&] { ComposedEnergy<float>(context, single.view(), with(nu)); }),
                AllOf(HasSubstr("'nu'"), HasSubstr("compute in double")));
    EXPECT_NO_THROW(ComposedEnergy<double>(context, y.view(), with(nu)));
  }
  for (const double nu : {1e-148, 1e154})
    EXPECT_THAT(message_of<ConfigError>([&] { ComposedEnergy<double>(context, y.view(), with(nu)); }),
                HasSubstr("'nu'"));
}

TEST(ProblemMisuse, EnergyTruthAndParametersMustFit) {
  Context context(Device::open(test_device("cpu:1")));
  Tensor<double> y(context, {2, 1, 3, 4});
  fill<double>(context, y.view(), 0.5);
  const auto energy = [&](const Parameters& p) {
    return std::make_unique<ComposedEnergy<double>>(context, y.view(), p);
  };
  const Segment alpha{"alpha", Transform::exp, 0.05, 1e-8, 1e3, true},
      nu{"nu", Transform::exp, 0.01, 1e-6, 1e2, true}, xi{"xi", Transform::exp, 1e-3, 1e-10, 1e2, false};
  const Parameters usual({alpha, nu, xi});
  const auto make = [&](std::unique_ptr<Energy<double>> e, View<const double> truth, const Parameters& p) {
    return message_of<Error>([&] { BilevelProblem<double>(std::move(e), truth, p); });
  };
  EXPECT_THAT(make(nullptr, y.view(), usual), HasSubstr("none is given"));
  EXPECT_THAT(make(energy(usual), {nullptr, {2, 1, 3, 4}}, usual), HasSubstr("no memory"));
  EXPECT_THAT(make(energy(usual), {}, usual), HasSubstr("[2,1,3,4] and [0,0,0,0]"));
  // the same names in another order, another scale, another parameter
  EXPECT_THAT(make(energy(usual), y.view(), Parameters({nu, alpha, xi})),
              HasSubstr("entry 0 of theta is 'alpha' (exp) in the energy and 'nu' (exp) in the problem"));
  Segment decimal = nu, ridge = xi, fixed = nu;
  decimal.transform = Transform::log10;
  ridge.learned = true;
  fixed.learned = false;
  EXPECT_THAT(make(energy(usual), y.view(), Parameters({alpha, decimal, xi})),
              HasSubstr("entry 1 of theta is 'nu' (exp) in the energy and 'nu' (log10) in the problem"));
  EXPECT_THAT(make(energy(usual), y.view(), Parameters({alpha, fixed, ridge})), HasSubstr("'xi' (exp)"));
  // a parameter that is not learned has no entry in theta
  EXPECT_NO_THROW(BilevelProblem<double>(energy(usual), y.view(), Parameters({xi, alpha, nu})));

  const BilevelProblem<double> problem(energy(usual), y.view(), usual);
  std::vector<double> gradient(2);
  EXPECT_THAT(message_of<ShapeError>([&] { (void)problem.penalty(std::vector<double>(3), gradient); }),
              HasSubstr("2 numbers are needed, 3 are given"));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)problem.penalty(std::vector<double>(2), {}); }),
              HasSubstr("2 numbers are needed, 0 are given"));
}

TEST(ProblemMisuse, LossesNeedOneNumberPerImage) {
  Context context(Device::open(test_device("cpu:1")));
  const Tensor<double> truth(context, {2, 1, 3, 4});
  const auto loss = squared_error<double>(truth.view(), {2, 1, 3, 4});
  const std::vector<double> two(2, 1), three(3, 1);
  const auto plain = [&](const std::vector<double>& measured, const std::vector<double>& epsilon) {
    return message_of<ShapeError>([&] { (void)enclose_loss<double>(*loss, measured, epsilon, 0); });
  };
  const auto sharp = [&](const std::vector<double>& product, const std::vector<double>& error) {
    return message_of<ShapeError>([&] { (void)enclose_loss<double>(*loss, two, two, product, error, 0); });
  };
  EXPECT_THAT(plain(two, three), HasSubstr("2 numbers are needed, 3 are given"));
  EXPECT_THAT(plain(three, two), HasSubstr("2 numbers are needed, 3 are given"));
  EXPECT_THAT(sharp(three, two), HasSubstr("3 are given"));
  EXPECT_THAT(sharp(two, three), HasSubstr("3 are given"));
  // what is not known encloses nothing: never an upper bound
  for (const double unknown : {std::nan(""), HUGE_VAL}) {
    const LossEnclosure f = enclose_loss<double>(*loss, two, std::vector<double>{1, unknown}, 0);
    EXPECT_FALSE(f.upper < HUGE_VAL);
    EXPECT_FALSE(f.lower > 0);
  }
}

TEST(ProblemMisuse, LossAndEnergyMustFit) {
  Context context(Device::open(test_device("cpu:1")));
  const Shape shape{2, 1, 3, 4}, other{2, 1, 4, 3}, field{2, 3, 3, 4};
  const Tensor<double> y(context, shape, std::vector<double>(shape.count(), 0.5));
  const auto energy = [&] {
    return std::make_unique<ComposedEnergy<double>>(context, y.view(), tv_parameters());
  };
  const auto make = [&](std::shared_ptr<const UpperLoss<double>> loss) {
    return message_of<Error>([&] { BilevelProblem<double>(energy(), std::move(loss), tv_parameters()); });
  };
  EXPECT_THAT(make(nullptr), HasSubstr("needs a loss"));
  EXPECT_THAT(make(squared_error<double>(y.view(), field)), HasSubstr("[2,1,3,4] and [2,3,3,4]"));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)squared_error<double>(y.view(), other); }),
              HasSubstr("[2,1,4,3] and [2,1,3,4]"));
  const auto weighted = [&](std::vector<double> w) {
    return message_of<Error>([&] { (void)squared_error<double>(context, y.view(), w, shape); });
  };
  EXPECT_THAT(weighted(std::vector<double>(11, 1)), HasSubstr("12 numbers are needed, 11 are given"));
  EXPECT_THAT(weighted(std::vector<double>(12, 0)), HasSubstr("not zero"));
  EXPECT_THAT(weighted(std::vector<double>(12, -1)), HasSubstr("not negative"));
  EXPECT_THAT(weighted(std::vector<double>(12, HUGE_VAL)), HasSubstr("finite"));
  const HostLoss<double>::Value value = [](int, std::span<const double>) { return 0.0; };
  const HostLoss<double>::Gradient gradient = [](int, std::span<const double>, std::span<double>) {};
  EXPECT_THAT(message_of<ConfigError>([&] { HostLoss<double>(shape, value, nullptr, {}); }),
              HasSubstr("two functions"));
  EXPECT_THAT(message_of<ConfigError>([&] { HostLoss<double>(shape, value, gradient, {-1}); }),
              HasSubstr("not negative"));
  EXPECT_THAT(message_of<ConfigError>([&] {
                HostLoss<double>(shape, value, gradient, {1, false, HUGE_VAL});
              }),
              HasSubstr("lower bound"));
}

TEST(ParameterMisuse, ThetaOfAnotherLengthIsRefused) {
  const Parameters p = tv_parameters();
  const std::vector<double> one(1);
  EXPECT_THAT(message_of<ShapeError>([&] { (void)p.value("nu", one); }),
              AllOf(HasSubstr("1 entries"), HasSubstr("2.")));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)p.project(one); }),
              AllOf(HasSubstr("1 entries"), HasSubstr("2.")));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)p.at(one); }),
              AllOf(HasSubstr("1 entries"), HasSubstr("2.")));
  EXPECT_EQ(p.value("xi", {}), 1e-3);  // fixed
}

TEST(ParameterMisuse, PatternsRefuseArraysOfAnotherLength) {
  const SamplingPattern pattern(PatternKind::rows, 4, 5);
  const std::vector<double> good(4, 0.5), wrong(3, 0.5), frequencies(20, 1);
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { (void)pattern.weights(wrong); }, [&] { (void)pattern.rate(wrong); },
           [&] { (void)pattern.slope_bound(wrong); }, [&] { (void)pattern.forward(wrong, good); },
           [&] { (void)pattern.forward(good, wrong); }, [&] { (void)pattern.adjoint(wrong, frequencies); },
           [&] { (void)pattern.threshold(wrong); }, [&] { (void)pattern.threshold_to_rate(wrong, 0.5); },
           [&] { (void)pattern.norm_bound(wrong, frequencies); }})
    EXPECT_THAT(message_of<ShapeError>(call), HasSubstr("4 numbers are needed, 3 are given"));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)pattern.adjoint(good, good); }),
              HasSubstr("20 numbers are needed, 4 are given"));
  EXPECT_THAT(message_of<ShapeError>([&] { (void)pattern.norm_bound(good, good); }),
              HasSubstr("20 numbers are needed, 4 are given"));
}

}  // namespace
}  // namespace bilevel
