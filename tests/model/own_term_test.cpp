// Terms and analysis operators from outside as parts of an energy, and what the check says of wrong ones.

#include <gtest/gtest.h>

#include <array>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/term.hpp"
#include "bilevel/ops/wavelet.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/log_cosh.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"
#include "tests/support/thrown.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
class OwnTerms : public ::testing::Test {
 protected:
  Context context_{Device::open(test_device("cpu:2"))};
  Random random_{seed(3301)};

  TermReport report(TermMistake mistake, const Shape& shape = {2, 2, 7, 9}) {
    const auto term = log_cosh_term<T>(shape, 0.3, 0.2, mistake);
    return check_term<T>(context_, *term, std::array{0.3, 0.2}, 7);
  }
  Tensor<T> image(const Shape& s, double scale = 1) {
    std::vector<T> values(s.count());
    for (T& v : values) v = static_cast<T>(scale * random_.normal());
    return Tensor<T>(context_, s, values);
  }
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(OwnTerms, Precisions);

TYPED_TEST(OwnTerms, TheCheckFindsNothingInARightTerm) {
  for (const Shape& s : {Shape{2, 2, 7, 9}, Shape{1, 1, 1, 5}, Shape{3, 1, 6, 1}}) {
    const TermReport r = this->report(TermMistake::none, s);
    EXPECT_TRUE(r) << r.fault;
    EXPECT_TRUE(r.leaves_frozen);
    EXPECT_GT(r.lipschitz, 0.3 * 0.3 / 0.2 * (s.h > 1 && s.w > 1 ? 8 : 2))
        << s.str();  // not looked at in vain
  }
}

TYPED_TEST(OwnTerms, TheCheckFindsEveryMistake) {
  const auto fault = [&](TermMistake mistake) { return this->report(mistake).fault; };
  EXPECT_NE(fault(TermMistake::value).find("value and gradient"), std::string::npos);
  EXPECT_NE(fault(TermMistake::hessian).find("hessian_product"), std::string::npos);
  EXPECT_NE(fault(TermMistake::lipschitz).find("above lipschitz"), std::string::npos);
  EXPECT_NE(fault(TermMistake::hessian_lipschitz).find("hessian_lipschitz"), std::string::npos);
  EXPECT_NE(fault(TermMistake::mixed).find("mixed_forward"), std::string::npos);
  EXPECT_NE(fault(TermMistake::mixed_lipschitz).find("mixed_lipschitz"), std::string::npos);
}

/// Everything of an energy with W as an operator from outside is that of the built-in one, to the bit: they
/// are the same passes.
TYPED_TEST(OwnTerms, AnOperatorIsAsGoodAsTheBuiltInOne) {
  using T = TypeParam;
  const Shape s{2, 1, 8, 16};
  const Tensor<T> y = this->image(s), x = this->image(s), q = this->image(s);
  const WaveletSparsity haar{{WaveletFilter::haar, 2, false}, TvPotential::charbonnier};
  const Parameters built = joined_parameters({tv_parameters(), wavelet_parameters(haar)});
  ComposedEnergy<T> inside(this->context_, y.view(), built, RegulariserSum({TvOptions{}, haar}));
  const auto w = std::make_shared<Wavelet<T>>(s, haar.wavelet);
  ComposedEnergy<T> outside(
      this->context_, y.view(), built,
      RegulariserSum({TvOptions{}}, {std::make_shared<OperatorTerm<T>>(w, TvPotential::charbonnier)}));
  Frame frame(this->context_);
  ActiveSet all(this->context_, frame, 2);
  const auto evaluate = [&](const ComposedEnergy<T>& energy) {
    Tensor<T> g(this->context_, s);
    Tensor<double> sums(this->context_, {3, 2, 1, 1});
    const auto row = [&](int k) { return Scalars{sums.view().device_data() + 2 * k, {2, 1, 1, 1}}; };
    energy.value_and_gradient(this->context_, all.active(), x.view(), g.view(), {row(0), row(1), row(2)});
    std::vector<double> out = download(this->context_, sums);
    for (T v : download(this->context_, g)) out.push_back(v);
    Tensor<double> mixed(this->context_, {energy.mixed_sums(), 2, 1, 1});
    energy.mixed_adjoint(this->context_, all.active(), x.view(), q.view(), mixed.view());
    for (double v : energy.mixed(download(this->context_, mixed))) out.push_back(v);
    return out;
  };
  EXPECT_EQ(evaluate(inside), evaluate(outside));
  EXPECT_EQ(inside.curvature().lipschitz, outside.curvature().lipschitz);
}

/// The bound on rounding of a sum with a term holds against the same in double.
TEST(OwnTermRounding, IsBounded) {
  Context context(Device::open(test_device("cpu:1")));
  Random random(seed(3302));
  RatioRecorder tightness("rounding bound / error, a term of the host");
  const Shape s{1, 1, 9, 11};
  for (int trial = 0; trial < 20; ++trial) {
    const double alpha = random.log_uniform(1e-3, 1), nu = random.log_uniform(1e-3, 1);
    const double size = random.log_uniform(1e-6, 1e3);
    std::vector<float> x, y;
    for (std::size_t e = 0; e < s.count(); ++e) {
      x.push_back(static_cast<float>(size * random.normal()));
      y.push_back(static_cast<float>(random.normal()));
    }
    const auto gradient = [&]<class T>(T, double* bound) {
      const Tensor<T> data(context, s, std::vector<T>(y.begin(), y.end())),
          at(context, s, std::vector<T>(x.begin(), x.end()));
      const auto term = log_cosh_term<T>(s, alpha, nu);
      const Parameters p = joined_parameters({tv_parameters(), Parameters(term->segments())});
      ComposedEnergy<T> energy(context, data.view(), p, RegulariserSum({TvOptions{}}, {term}));
      Frame frame(context);
      ActiveSet all(context, frame, 1);
      Tensor<T> g(context, s);
      Tensor<double> sums(context, {3, 1, 1, 1});
      const auto row = [&](int k) { return Scalars{sums.view().device_data() + k, {1, 1, 1, 1}}; };
      energy.value_and_gradient(context, all.active(), at.view(), g.view(), {row(0), row(1), row(2)});
      if (bound) *bound = download(context, sums)[2];
      const std::vector<T> values = download(context, g);
      return std::vector<double>(values.begin(), values.end());
    };
    double bound = 0;
    const std::vector<double> wanted = gradient(double(0), nullptr), got = gradient(float(0), &bound);
    const double error = distance(got, wanted);
    ASSERT_LE(error, bound) << "alpha " << alpha << ", nu " << nu << ", size " << size;
    tightness.add(bound / error);
  }
}

TEST(OwnTermMisuse, IsRefused) {
  Context context(Device::open(test_device("cpu:1")));
  const Shape s{1, 1, 4, 4};
  const Tensor<double> y(context, s);
  const auto term = log_cosh_term<double>(s, 0.1, 0.1);
  const Parameters p = joined_parameters({tv_parameters(), Parameters(term->segments())});
  const auto energy = [&](std::shared_ptr<OwnPart> part) {
    ComposedEnergy<double>(context, y.view(), p, RegulariserSum({TvOptions{}}, {std::move(part)}));
  };
  EXPECT_NO_THROW(energy(term));
  EXPECT_THROW(energy(nullptr), ConfigError);
  EXPECT_THROW(energy(log_cosh_term<float>(s, 0.1, 0.1)), ConfigError);
  EXPECT_THROW(energy(log_cosh_term<double>({1, 1, 4, 5}, 0.1, 0.1)), ShapeError);
  EXPECT_THROW(energy(std::make_shared<OperatorTerm<double>>(nullptr)), ConfigError);
  EXPECT_THROW(HostTerm<double>(s, {}, {}), ConfigError);
  EXPECT_THROW(
      ComposedEnergy<double>(context, y.view(), tv_parameters(), RegulariserSum({TvOptions{}}, {term})),
      ConfigError);  // without its parameters
  ComposedEnergy<double> kept(context, y.view(), p, RegulariserSum({TvOptions{}}, {term}));
  EXPECT_NE(message_of<ConfigError>([&] { kept.keep_single_precision(context); }).find("single"),
            std::string::npos);
}

/// Nothing but a term of one's own and the ridge.
TEST(OwnTerm, MayStandAlone) {
  Context context(Device::open(test_device("cpu:1")));
  const Shape s{1, 1, 4, 4};
  const Tensor<double> y(context, s, std::vector<double>(16, 1.0));
  const auto term = log_cosh_term<double>(s, 0.1, 0.1);
  std::vector<Segment> segments = term->segments();
  segments.push_back({"xi", Transform::exp, 0.25, 1e-3, 1, false});
  const ComposedEnergy<double> energy(context, y.view(), Parameters(segments), RegulariserSum({}, {term}));
  EXPECT_EQ(energy.curvature().mu, 1.25);
  EXPECT_EQ(energy.parameters(), 2u);
  EXPECT_DOUBLE_EQ(energy.curvature().lipschitz, 1.25 + 8 * 0.1 / 0.1);
}

}  // namespace
}  // namespace bilevel
