#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/learn/maid_lab.hpp"
#include "tests/oracle/tv_certificate.hpp"

// Losses other than the squared error to all of the truth: their hypergradients, certificates and runs,
// against the oracle's minimisers and direct solves.

namespace bilevel {
namespace {

using namespace testing_support;

/// g_i of one image, by the oracle.
struct OracleLoss {
  std::function<long double(int i, const oracle::ExtendedImage& x)> value;
  std::function<Image(int i, const oracle::ExtendedImage& x)> gradient;
};

/// The squared error on the right half, the left weighted by a tenth.
Image region(const TvInstance& in) {
  Image w;
  for (int row = 0; row < in.model.height; ++row)
    for (int column = 0; column < in.model.width; ++column)
      w.push_back(2 * column < in.model.width ? 0.125 : 2);
  return w;
}
OracleLoss weighted(const TvInstance& in) {
  const Image w = region(in);
  return {[=](int i, const oracle::ExtendedImage& x) {
            long double sum = 0;
            const Image& t = in.truth[static_cast<std::size_t>(i)];
            for (std::size_t p = 0; p < x.size(); ++p) sum += w[p] * (x[p] - t[p]) * (x[p] - t[p]) / 2;
            return sum;
          },
          [=](int i, const oracle::ExtendedImage& x) {
            Image b;
            const Image& t = in.truth[static_cast<std::size_t>(i)];
            for (std::size_t p = 0; p < x.size(); ++p) b.push_back(static_cast<double>(w[p] * (x[p] - t[p])));
            return b;
          }};
}

constexpr double huber_width = 0.05;
/// Huber's function: d^2/(2 w) inside, |d| - w/2 outside.
long double huber(long double d) {
  return std::abs(d) <= huber_width ? d * d / (2 * huber_width) : std::abs(d) - huber_width / 2;
}
long double huber_slope(long double d) {
  return std::abs(d) <= huber_width ? d / huber_width : (d > 0 ? 1 : -1);
}
OracleLoss absolute(const TvInstance& in) {
  return {[=](int i, const oracle::ExtendedImage& x) {
            long double sum = 0;
            for (std::size_t p = 0; p < x.size(); ++p)
              sum += huber(x[p] - in.truth[static_cast<std::size_t>(i)][p]);
            return sum;
          },
          [=](int i, const oracle::ExtendedImage& x) {
            Image b;
            for (std::size_t p = 0; p < x.size(); ++p)
              b.push_back(static_cast<double>(huber_slope(x[p] - in.truth[static_cast<std::size_t>(i)][p])));
            return b;
          }};
}
template <class T>
std::shared_ptr<const UpperLoss<T>> host_loss(const TvInstance& in) {
  typename HostLoss<T>::Constants constants{1 / huber_width, true, 0};
  const double entries = static_cast<double>(in.model.pixels());
  constants.gradient_error =
      4 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::sqrt(entries) / huber_width;
  return std::make_shared<HostLoss<T>>(
      in.shape(),
      [in](int i, std::span<const T> x) {
        double sum = 0;
        for (std::size_t p = 0; p < x.size(); ++p)
          sum += static_cast<double>(huber(x[p] - in.truth[static_cast<std::size_t>(i)][p]));
        return sum;
      },
      [in](int i, std::span<const T> x, std::span<T> b) {
        for (std::size_t p = 0; p < x.size(); ++p)
          b[p] = static_cast<T>(huber_slope(x[p] - in.truth[static_cast<std::size_t>(i)][p]));
      },
      constants);
}

/// f and its gradient at the values that the model of the instance holds.
struct Exact {
  double f = 0;
  std::vector<double> gradient;
  std::vector<oracle::ExtendedImage> minimisers;
};
Exact exact_of(const TvInstance& in, const OracleLoss& loss) {
  Exact out{0, std::vector<double>(in.learned.size(), 0), exact_minimisers(in)};
  for (int i = 0; i < in.images(); ++i) {
    const oracle::ExtendedImage& xhat = out.minimisers[static_cast<std::size_t>(i)];
    out.f += static_cast<double>(loss.value(i, xhat) / in.images());
    const Image x = oracle::extended::rounded(xhat),
                b = scaled_to(loss.gradient(i, xhat), norm(loss.gradient(i, xhat)) / in.images());
    out.gradient = add_scaled(
        out.gradient, 1,
        oracle::inexact_hypergradient(in.model, x, oracle::solve_adjoint(in.model, x, b), in.learned));
  }
  return out;
}

oracle::TvModel model_of(int height, int width, Random& random) {
  oracle::TvModel model;
  model.height = height;
  model.width = width;
  model.alpha = random.log_uniform(1e-2, 0.3);
  model.nu = random.log_uniform(3e-3, 1e-1);
  return model;
}

template <class T>
struct LossLab {
  LossLab(const TvInstance& from, bool roi)
      : setup(from),
        loss(roi ? squared_error<T>(setup.context, std::as_const(setup.truth).view(), region(from),
                                    from.shape())
                 : host_loss<T>(setup.instance)),
        truth(roi ? weighted(setup.instance) : absolute(setup.instance)),
        problem(std::move(setup.owned), loss, setup.parameters) {
    setup.instance.model.alpha = setup.energy->value("alpha");
    setup.instance.model.nu = setup.energy->value("nu");
  }
  TvSetup<T> setup;
  std::shared_ptr<const UpperLoss<T>> loss;
  OracleLoss truth;
  BilevelProblem<T> problem;
};

template <class T>
void check_certificates(bool roi, const std::string& name, int rounds) {
  Random random(seed(1410));
  RatioRecorder ratio(name + ", omega / error"), loss_ratio(name + ", width of the enclosure / |f - value|");
  for (int round = 0; round < rounds; ++round) {
    TvInstance in = random_instance(model_of(random.integer(4, 12), random.integer(4, 12), random),
                                    random.integer(1, 3), 0.1, random);
    LossLab<T> lab(in, roi);
    const Exact exact = exact_of(lab.setup.instance, lab.truth);
    const std::vector<double> theta = lab.setup.instance.theta();
    ImplicitHypergradient<T> gradient(lab.setup.context, lab.problem);
    Tensor<T> x(lab.setup.context, in.shape());
    for (const bool columns : {true, false})
      for (const int kind : {0, 1, 2}) {
        // iterates, and points at an exact distance: anywhere, or along the gradient of the loss
        std::vector<double> certificate;
        const double epsilon = random.log_uniform(1e-6, 1e-1);
        if (kind == 0) {
          x.upload(lab.setup.context, flat<T>(lab.setup.instance.y));
          SolveRequest<T> request;
          request.tolerance = epsilon;
          certificate = make_minimiser<T>()
                            ->minimise(lab.setup.context, *lab.setup.energy, request, x.view())
                            .certificate;
        } else {
          std::vector<Image> moved;
          for (int i = 0; i < in.images(); ++i) {
            const oracle::ExtendedImage& xhat = exact.minimisers[static_cast<std::size_t>(i)];
            const Image d = kind == 1 ? random.normal_vector(xhat.size()) : lab.truth.gradient(i, xhat);
            moved.push_back(add_scaled(oracle::extended::rounded(xhat), 1,
                                       scaled_to(d, random.integer(0, 1) ? epsilon : -epsilon)));
          }
          x.upload(lab.setup.context, flat<T>(moved));
          const std::vector<Image> stored = lab.setup.images(x);
          for (std::size_t i = 0; i < stored.size(); ++i)
            certificate.push_back(exact_distance(stored[i], exact.minimisers[i]) * (1 + 1e-15));
        }
        HypergradientRequest request;
        request.delta = random.log_uniform(1e-6, 1e-1);
        request.columns = columns;
        const HypergradientResult r =
            gradient.compute(lab.setup.context, theta, std::as_const(x).view(), certificate, request);
        const double slack = 1e-12 * norm(exact.gradient), error = distance(r.z, exact.gradient);
        EXPECT_LE(error, r.omega + slack) << name;
        for (std::size_t j = 0; j < theta.size(); ++j)
          EXPECT_LE(std::abs(r.z[j] - exact.gradient[j]), r.block_bound[j] + slack);
        if (error > slack) ratio.add(r.omega / error);
        Frame frame(lab.setup.context);
        ActiveSet all(lab.setup.context, frame, in.images());
        Tensor<double> measured(lab.setup.context, {lab.loss->measures(), in.images(), 1, 1});
        lab.loss->measure(lab.setup.context, all.active(), std::as_const(x).view(), measured.view());
        const std::vector<double> numbers = download(lab.setup.context, measured);
        for (const LossEnclosure& f :
             {enclose_loss<T>(*lab.loss, numbers, certificate, 0),
              enclose_loss<T>(*lab.loss, numbers, certificate, r.adjoint_product, r.adjoint_error, 0)}) {
          EXPECT_LE(f.lower, exact.f * (1 + 1e-13));
          EXPECT_GE(f.upper, exact.f * (1 - 1e-13));
          loss_ratio.add((f.upper - f.lower) / std::abs(exact.f - f.value));
        }
      }
  }
}

TEST(LossLearning, CertificatesOfARegionOfInterestHold) {
  check_certificates<double>(true, "region of interest, double", repetitions(6));
  check_certificates<float>(true, "region of interest, float", repetitions(3));
}
TEST(LossLearning, CertificatesOfALossOfTheHostHold) {
  check_certificates<double>(false, "Huber loss of the host, double", repetitions(6));
  check_certificates<float>(false, "Huber loss of the host, float", repetitions(3));
}

/// The hypergradient from tight solves against difference quotients of the exact loss.
TEST(LossLearning, HypergradientsPassTheTaylorTest) {
  Random random(seed(1411));
  for (const bool roi : {true, false}) {
    const TvInstance in = random_instance(model_of(7, 6, random), 2, 0.1, random);
    LossLab<double> lab(in, roi);
    const TvInstance& at = lab.setup.instance;
    const std::vector<double> theta = at.theta();
    Tensor<double> x = lab.setup.tensor(at.y);
    SolveRequest<double> tight;
    tight.tolerance = 1e-11;
    const SolveReport solved =
        make_minimiser<double>()->minimise(lab.setup.context, *lab.setup.energy, tight, x.view());
    HypergradientRequest request;
    request.delta = 1e-11;
    const HypergradientResult r =
        ImplicitHypergradient<double>(lab.setup.context, lab.problem)
            .compute(lab.setup.context, theta, std::as_const(x).view(), solved.certificate, request);
    const Exact exact = exact_of(at, lab.truth);
    EXPECT_LE(distance(r.z, exact.gradient), 1e-8 * norm(exact.gradient));
    const std::vector<double> d = random.normal_vector(theta.size());
    const double step = std::min(at.model.nu, at.model.alpha);
    const double slope = taylor_slope(
        [&](double h) {
          const double moved = exact_of(at.at(add_scaled(theta, h * step, d)), lab.truth).f;
          return std::abs(moved - exact.f - h * step * dot(r.z, d));
        },
        0.1, 1e-4, 9, 1e-15 * exact.f);
    EXPECT_GT(slope, roi ? 1.9 : 1.8) << "Huber's second derivative jumps";
  }
}

/// MAID and L-BFGS-B learn with both, and every record tells the truth.
TEST(LossLearning, MethodsLearn) {
  for (const bool roi : {true, false})
    for (const std::string method : {"gauss-newton", "lbfgs", "none", "lbfgsb"}) {
      Random random(seed(1412));
      oracle::TvModel model = model_of(14, 14, random);
      model.alpha = 0.3;
      model.nu = 0.05;
      TvInstance in = random_instance(model, 2, 0.1, random);
      for (oracle::Parameter& p : in.learned) p.transform = oracle::Transform::exp;
      LossLab<double> lab(in, roi);
      UpperOptions options;
      options.scaling = method == "none"    ? StepScaling::none
                        : method == "lbfgs" ? StepScaling::lbfgs
                                            : StepScaling::gauss_newton;
      options.schedule.tolerance = 1e-3;
      options.max_iterations = 60;
      Recorder seen;
      const auto optimiser = method == "lbfgsb" ? make_lbfgsb<double>(options) : make_maid<double>(options);
      const UpperReport report = optimiser->run(lab.setup.context, lab.problem,
                                                lab.setup.parameters.initial(), lab.setup.y.view(), seen);
      std::cout << (roi ? "region of interest" : "Huber loss") << ", " << method << ": "
                << seen.records.size() << " iterations, " << report.message << std::endl;
      ASSERT_FALSE(seen.records.empty());
      if (method != "none") {
        EXPECT_EQ(report.status, UpperStatus::stationary) << report.message;
      }
      double before = HUGE_VAL;
      seen.records.push_back(report.last);
      for (const IterationRecord& r : seen.records) {
        const Exact exact = exact_of(lab.setup.instance.at(r.theta), lab.truth);
        EXPECT_LE(r.loss_lower, exact.f * (1 + 1e-13));
        EXPECT_GE(r.loss_upper, exact.f * (1 - 1e-13));
        EXPECT_LE(exact.f, before) << "a certified decrease";
        before = exact.f;
        if (!r.gradient.empty()) {
          EXPECT_LE(distance(r.gradient, exact.gradient), r.error_bound);
        }
        EXPECT_EQ(std::isnan(r.psnr), !roi);
      }
      EXPECT_LT(before, 0.9 * exact_of(lab.setup.instance, lab.truth).f);
    }
}

}  // namespace
}  // namespace bilevel
