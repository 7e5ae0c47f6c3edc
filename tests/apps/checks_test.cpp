// `check` tells a wrong energy from a right one: each of its tests can fail.

#include "apps/denoise/checks.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>

#include "apps/common/exit_codes.hpp"
#include "apps/denoise/differences.hpp"
#include "bilevel/core/tensor.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/support/counting_energy.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel;
using namespace bilevel_app;
using denoise::Verdict;

/// Factors on what an energy computes; 1 is right.
struct Errors {
  double gradient = 1, product = 1, mixed = 1, adjoint = 1;
  double convexity = 1;     ///< of the modulus mu, from which certificates follow
  double smoothness = 1;    ///< of the constant L, from which steps follow
  bool not_finite = false;  ///< the gradient is NaN at one pixel
};

void scale(Context& context, View<double> view, double factor) {
  if (factor == 1) return;
  std::vector<double> values = download<double>(context, view);
  for (double& v : values) v *= factor;
  upload<double>(context, values, view);
}

/// A right energy made wrong.
class WrongEnergy final : public testing_support::CountingEnergy<double> {
 public:
  using Base = testing_support::CountingEnergy<double>;
  WrongEnergy(std::unique_ptr<Energy<double>> inner, const Errors& errors)
      : Base(*inner), owned_(std::move(inner)), errors_(errors) {}

  Curvature curvature() const override {
    Curvature c = Base::curvature();
    c.mu *= errors_.convexity;
    c.lipschitz = std::max(c.lipschitz * errors_.smoothness, c.mu);
    return c;
  }
  void value_and_gradient(Context& c, const Active& a, View<const double> x, View<double> g,
                          const GradientSums& s) const override {
    Base::value_and_gradient(c, a, x, g, s);
    scale(c, g, errors_.gradient);
    if (errors_.not_finite) {
      std::vector<double> values = download<double>(c, g);
      values[5] = std::nan("");
      upload<double>(c, values, g);
    }
  }
  void hessian_product(Context& c, const Active& a, View<const double> w, View<const double> p,
                       View<double> out, Scalars inner) const override {
    Base::hessian_product(c, a, w, p, out, inner);
    scale(c, out, errors_.product);
    scale(c, inner, errors_.product);
  }
  void mixed_forward(Context& c, const Active& a, View<const double> x, std::span<const double> direction,
                     View<double> out, Scalars norm2) const override {
    Base::mixed_forward(c, a, x, direction, out, norm2);
    scale(c, out, errors_.mixed);
  }
  std::vector<double> mixed(std::span<const double> sums) const override {
    std::vector<double> values = Base::mixed(sums);
    for (double& v : values) v *= errors_.adjoint;
    return values;
  }

 private:
  std::unique_ptr<Energy<double>> owned_;
  Errors errors_;
};

class Checks : public testing::Test {
 protected:
  std::vector<Verdict> with(const Errors& errors) { return with(errors, parameters_, options_, batch_); }
  std::vector<Verdict> with(const Errors& errors, const Parameters& parameters, const RegulariserSum& options,
                            const ImageBatch& batch) {
    return all_with(errors, parameters, options, batch).verdicts;
  }
  denoise::Findings all_with(const Errors& errors, const Parameters& parameters,
                             const RegulariserSum& options, const ImageBatch& batch) {
    return denoise::run_checks(context_, batch, parameters, options, 0,
                               [&](Context& context, View<const double> noisy) {
                                 return std::make_unique<WrongEnergy>(
                                     make_energy<double>(context, noisy, parameters, options), errors);
                               });
  }
  /// TV as training leaves it on images with edges: hardly smoothed, near the lower bound of nu.
  static Parameters sharp_tv(double nu) {
    std::vector<Segment> segments = tv_parameters().segments();
    for (Segment& s : segments) {
      if (s.name == "alpha") s.initial = 0.07;
      if (s.name == "nu") s.initial = nu;
    }
    return Parameters(segments);
  }
  static std::set<std::string> failed(const std::vector<Verdict>& list) {
    std::set<std::string> names;
    for (const Verdict& v : list)
      if (!v.passed()) names.insert(v.what);
    return names;
  }
  static ImageBatch batch() {
    ImageBatch b;
    b.images = 1;
    b.size = 16;
    b.clean = b.noisy = photograph(16, 16, 4).pixels;
    std::mt19937 generator(1);
    std::normal_distribution<double> normal(0, 0.1);
    for (double& v : b.noisy) v += normal(generator);
    return b;
  }

  Context context_{Device::open(testing_support::test_device("cpu:1"))};
  const ImageBatch batch_ = batch();
  const Parameters parameters_ = tv_parameters();
  const RegulariserOptions options_ = TvOptions{};

  static constexpr const char* gradient = "gradient against differences of the energy";
  static constexpr const char* hessian = "Hessian product against differences of the gradient";
  static constexpr const char* distance = "distance to a tight solve against its certificate";
  static constexpr const char* bound = "error of an inexact hypergradient against its bound";
  static constexpr const char* unrolled[] = {"gradient-descent", "heavy-ball"};
  static std::string differences(const std::string& method) {
    return "reverse derivative of 10 steps of " + method + " against differences of the unrolled loss";
  }
  static std::string checkpoints(const std::string& method) {
    return "reverse derivative of 10 steps of " + method + ", stored against checkpoints";
  }
  static std::string inexact(const std::string& method) {
    return "inexact derivative of 10 steps of " + method + " against the linear solver";
  }
  static std::string error(const std::string& method) { return "error of " + method + " against its bound"; }
  static std::string promise(const std::string& method) {
    return "error of " + method + " against what is known beforehand";
  }
  static std::string iterations(const std::string& method) {
    return "iterations of " + method + " against their prediction";
  }
  static std::string mixed(const std::string& name) {
    return "mixed derivative of " + name + " against differences in it";
  }
  static std::string adjoint(const std::string& name) { return "adjoint of the mixed derivative of " + name; }
  static std::string hypergradient(const std::string& name) {
    return "hypergradient of " + name + " against differences of the loss";
  }
};

TEST_F(Checks, PassForARightEnergy) {
  const std::vector<Verdict> list = with({});
  EXPECT_EQ(failed(list), std::set<std::string>{});
  std::set<std::string> names;
  for (const Verdict& v : list) names.insert(v.what);
  for (const std::string& name : {std::string(gradient), std::string(hessian), std::string(distance),
                                  std::string(bound), mixed("alpha"), mixed("nu"), adjoint("alpha"),
                                  adjoint("nu"), hypergradient("alpha"), hypergradient("nu")})
    EXPECT_TRUE(names.contains(name)) << name;
  for (const std::string method : {"implicit, cg", "implicit, pcg", "implicit, gradient-descent",
                                   "implicit, heavy-ball", "inexact, 10 steps of gradient-descent"})
    EXPECT_TRUE(names.contains(error(method)) && names.contains(promise(method))) << method;
  for (const std::string method : {"implicit, cg", "implicit, gradient-descent", "implicit, heavy-ball",
                                   "reconstruction by gradient-descent", "reconstruction by fista"})
    EXPECT_TRUE(names.contains(iterations(method))) << method;
  for (const char* method : unrolled)
    for (const std::string& name : {differences(method), checkpoints(method), inexact(method)})
      EXPECT_TRUE(names.contains(name)) << name;
}

/// Without a limit: what each method took and how far it is from the truth.
TEST_F(Checks, TellsOfEveryMethod) {
  const denoise::Findings found = all_with({}, parameters_, options_, batch_);
  EXPECT_GT(found.size, 0);
  ASSERT_EQ(found.estimates.size(), 10u);
  std::map<std::string, denoise::Estimate> of;
  for (const denoise::Estimate& e : found.estimates) of[e.what] = e;
  for (const auto& [name, e] : of) {
    EXPECT_EQ(e.error.has_value(), !name.starts_with("reconstruction")) << name;
    if (e.bound) {
      EXPECT_LT(*e.error, *e.bound) << name;
    }
    if (e.a_priori) {
      EXPECT_LT(*e.bound, *e.a_priori) << name;
    }
    if (e.iterations) {
      EXPECT_GT(*e.iterations, 0) << name;
    }
  }
  EXPECT_LT(of["implicit, pcg"].iterations, of["implicit, gradient-descent"].iterations);
  EXPECT_FALSE(of["implicit, pcg"].predicted);
  EXPECT_LT(of["implicit, cg"].error, of["reverse, 10 steps of gradient-descent"].error);

  // nothing is run that would take too long
  const denoise::Findings sharp = all_with({}, sharp_tv(3.6e-6), options_, batch_);
  const auto slow = std::find_if(sharp.estimates.begin(), sharp.estimates.end(),
                                 [](const auto& e) { return e.what == "implicit, gradient-descent"; });
  ASSERT_NE(slow, sharp.estimates.end());
  EXPECT_TRUE(slow->predicted > 500 && !slow->iterations && !slow->error);
}

TEST_F(Checks, FailForConstantsThatPromiseTooMuch) {
  const auto smooth = failed(with({.smoothness = 0.02}));
  for (const char* method : {"reconstruction by gradient-descent", "implicit, gradient-descent"})
    EXPECT_TRUE(smooth.contains(iterations(method))) << method;
  const auto convex = failed(with({.convexity = 1e6}));
  for (const char* method : {"implicit, cg", "implicit, pcg"}) EXPECT_TRUE(convex.contains(error(method)));
  EXPECT_TRUE(convex.contains(promise("implicit, cg")));
  EXPECT_TRUE(convex.contains(iterations("implicit, cg")));
}

TEST_F(Checks, FailForAWrongGradient) {
  EXPECT_TRUE(failed(with({.gradient = 1 + 1e-4})).contains(gradient));
}

TEST_F(Checks, FailForAWrongHessianProduct) {
  const auto names = failed(with({.product = 1 + 1e-3}));
  EXPECT_TRUE(names.contains(hessian));
  for (const char* method : unrolled) EXPECT_TRUE(names.contains(differences(method))) << method;
}

TEST_F(Checks, FailForAWrongMixedDerivative) {
  const auto names = failed(with({.mixed = 1 + 1e-4}));
  for (const char* name : {"alpha", "nu"})
    EXPECT_TRUE(names.contains(mixed(name)) && names.contains(adjoint(name))) << name;
}

TEST_F(Checks, FailForAWrongHypergradient) {
  const auto names = failed(with({.adjoint = 1 + 1e-3}));
  EXPECT_TRUE(names.contains(adjoint("alpha")));
  EXPECT_TRUE(names.contains(hypergradient("alpha")) || names.contains(hypergradient("nu")));
  for (const char* method : unrolled) EXPECT_TRUE(names.contains(differences(method))) << method;
}

TEST_F(Checks, FailForCertificatesThatPromiseTooMuch) {
  const auto names = failed(with({.convexity = 1e6}));
  EXPECT_TRUE(names.contains(distance));
  EXPECT_TRUE(names.contains(bound));
}

/// Where the loss bends at steps of the size of nu, and hardly any pixel depends on nu.
TEST_F(Checks, PassForARightEnergyThatIsHardlySmoothed) {
  ImageBatch grey = batch_;  // of 256 greys: some differences are 0
  for (double& v : grey.noisy) v = std::round(255 * v) / 255;
  for (const bool isotropic : {true, false}) {
    for (const double nu : {1.7e-5, 3.6e-6}) {
      TvOptions options;
      options.isotropic = isotropic;
      const std::vector<Verdict> list = with({}, sharp_tv(nu), options, grey);
      EXPECT_EQ(failed(list), std::set<std::string>{}) << isotropic << " " << nu;
      for (const Verdict& v : list) EXPECT_LT(v.resolution, 1e-4) << v.what << " " << isotropic << " " << nu;
      EXPECT_TRUE(failed(with({.gradient = 1 + 1e-4}, sharp_tv(nu), options, grey)).contains(gradient));
      EXPECT_TRUE(failed(with({.product = 1 + 1e-3}, sharp_tv(nu), options, grey)).contains(hessian));
      const auto column = failed(with({.mixed = 1 + 1e-3}, sharp_tv(nu), options, grey));
      EXPECT_TRUE(column.contains(mixed("alpha")) && column.contains(mixed("nu")));
      const auto hyper = failed(with({.adjoint = 1 + 1e-3}, sharp_tv(nu), options, grey));
      EXPECT_TRUE(hyper.contains(hypergradient("alpha")));
    }
  }
}

/// A constant image is its own reconstruction: every derivative is 0, differences are their rounding.
TEST_F(Checks, PassWhereNothingDependsOnTheParameters) {
  ImageBatch flat = batch_;
  flat.clean.assign(flat.clean.size(), 0.3);
  flat.noisy = flat.clean;
  const std::vector<Verdict> list = with({}, parameters_, options_, flat);
  EXPECT_EQ(failed(list), std::set<std::string>{});
  std::ostringstream out, err;
  EXPECT_EQ(denoise::report_checks({list}, flat, {}, out, err), exit_ok);
  const bool coarse =
      std::any_of(list.begin(), list.end(), [](const auto& v) { return v.resolution > 0.01; });
  EXPECT_EQ(out.str().find("less exact than 1 %") != std::string::npos, coarse) << out.str();
}

/// Functions with known derivatives: smooth, with a bend of the size 1e-5, and with errors in its values.
TEST(Differentiate, ErrsByNoMoreThanItSays) {
  using denoise::differentiate;
  using denoise::Sample;
  struct Case {
    std::function<Sample(double)> f;
    double derivative, most;
  };
  std::mt19937 generator(3);
  std::uniform_real_distribution<double> uniform(-1e-9, 1e-9);
  const Case cases[] = {
      {[](double t) -> Sample {
         return {{std::exp(3 * t)}, 4e-16};
       },
       3, 1e-11},
      {[](double t) -> Sample {
         return {{std::sqrt((t + 1e-5) * (t + 1e-5) + 1e-10)}, 1e-20};
       },
       std::sqrt(0.5), 1e-6},
      {[&](double t) -> Sample {
         return {{std::sin(t) + uniform(generator)}, 1e-9};
       },
       1, 1e-6},
  };
  for (const Case& c : cases) {
    const denoise::Difference d = differentiate(c.f, 0.1, 0);
    ASSERT_EQ(d.value.size(), 1u);
    EXPECT_LE(std::abs(d.value[0] - c.derivative), d.error);
    EXPECT_LE(d.error, c.most);
  }
  const auto nothing = [](double) -> Sample { return {{std::nan("")}, 0}; };
  EXPECT_FALSE(std::isfinite(differentiate(nothing, 0.1, 1).error));
}

/// Verdicts of numbers that are no numbers, and the report of what failed.
TEST_F(Checks, ANumberThatIsNoneFails) {
  EXPECT_FALSE((Verdict{"x", std::nan(""), 1}).passed());
  EXPECT_FALSE((Verdict{"x", std::numeric_limits<double>::infinity(), 1}).passed());
  EXPECT_TRUE((Verdict{"x", 1, 1}).passed());
  EXPECT_TRUE(failed(with({.not_finite = true})).contains(gradient));
}

TEST_F(Checks, ReportFailuresWithExitCodeFour) {
  const std::vector<Verdict> good{{"first", 0.5, 1}}, bad{{"first", 0.5, 1}, {"second", std::nan(""), 1}};
  for (const bool json : {false, true}) {
    CommonOptions options;
    options.json = json;
    std::ostringstream out, err;
    EXPECT_EQ(denoise::report_checks({good}, batch_, options, out, err), exit_ok);
    EXPECT_EQ(err.str(), "");
    out.str("");
    EXPECT_EQ(denoise::report_checks({bad}, batch_, options, out, err), exit_numerical);
    EXPECT_NE(err.str().find("1 of 2 checks failed"), std::string::npos) << err.str();
    if (json) {
      const Json report = Json::parse(out.str());
      EXPECT_EQ(report["failed"], 1);
      EXPECT_EQ(report["checks"][1]["passed"], false);
      EXPECT_EQ(report["hypergradients"], Json::array());
      EXPECT_TRUE(report["checks"][1]["measured"].is_null());
    } else {
      EXPECT_NE(out.str().find("FAIL"), std::string::npos) << out.str();
    }
  }
}

}  // namespace
}  // namespace bilevel_test
