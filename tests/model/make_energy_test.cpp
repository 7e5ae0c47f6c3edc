#include <gtest/gtest.h>

#include "bilevel/core/error.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel {
namespace {

const Shape shape{2, 1, 9, 11};

std::vector<double> pattern() {
  std::vector<double> values;
  for (std::size_t k = 0; k < shape.count(); ++k) values.push_back(double(k * k % 17) / 17);
  return values;
}

/// The minimiser, to 1e-9.
std::vector<double> minimiser(Context& context, const Energy<double>& energy, const Tensor<double>& data) {
  Tensor<double> x(context, shape);
  copy<double>(context, data.view(), x.view());
  SolveRequest<double> request;
  request.tolerance = 1e-9;
  EXPECT_EQ(make_minimiser<double>("lbfgs")->minimise(context, energy, request, x.view()).status,
            SolveStatus::converged);
  return download(context, x);
}

class MakeEnergy : public testing::Test {
 protected:
  Context context{Device::open(testing_support::test_device("cpu:1"))};
  Tensor<double> data{context, shape, pattern()};
};

TEST_F(MakeEnergy, OfAModelIsBoundToWhatWasLearned) {
  const std::pair<RegulariserOptions, Parameters> kinds[] = {
      {TvOptions{.isotropic = false}, tv_parameters()},
      {ExpertsOptions{}, experts_parameters(3, 3, FilterInit::dct, 0.03, 0.1)}};
  for (const auto& [options, parameters] : kinds) {
    std::vector<double> theta = parameters.initial();
    for (double& t : theta) t += 0.1;
    const auto energy = make_energy<double>(context, data.view(), parameters, options);
    ASSERT_EQ(energy->parameters(), theta.size());
    energy->bind(theta);

    const auto learned =
        make_energy<double>(context, data.view(), DenoiseModel{options, parameters.at(theta)});
    EXPECT_EQ(learned->parameters(), 0u);
    EXPECT_EQ(learned->single_precision(), nullptr);
    const auto a = minimiser(context, *energy, data), b = minimiser(context, *learned, data);
    for (std::size_t k = 0; k < a.size(); ++k) EXPECT_NEAR(a[k], b[k], 2e-9);
  }
}

TEST_F(MakeEnergy, KeepsSinglePrecisionWhenAsked) {
  const RegulariserOptions kinds[] = {TvOptions{}, ExpertsOptions{}};
  const Parameters parameters[] = {tv_parameters(), experts_parameters(2, 3, FilterInit::dct, 0.03, 0.1)};
  for (int k : {0, 1})
    EXPECT_NE(
        make_energy<double>(context, data.view(), parameters[k], kinds[k], {}, true)->single_precision(),
        nullptr);
}

TEST_F(MakeEnergy, SamplingLeavesTheRidgeAlone) {
  std::vector<double> sampling(shape.image(), 1);
  sampling[5] = 0;
  const DenoiseModel tv{TvOptions{}, tv_parameters().segments()};
  const DenoiseModel experts{ExpertsOptions{},
                             experts_parameters(2, 3, FilterInit::dct, 0.03, 0.1).segments()};
  const double xi = tv.value("xi");
  EXPECT_DOUBLE_EQ(make_energy<double>(context, data.view(), tv, sampling)->curvature().mu, xi);
  EXPECT_DOUBLE_EQ(make_energy<double>(context, data.view(), tv)->curvature().mu, 1 + xi);
  EXPECT_DOUBLE_EQ(make_energy<double>(context, data.view(), experts, sampling)->curvature().mu, 1e-3);
  EXPECT_DOUBLE_EQ(make_energy<double>(context, data.view(), experts)->curvature().mu, 1 + 1e-3);
}

}  // namespace
}  // namespace bilevel
