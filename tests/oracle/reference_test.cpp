#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_reference.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel::oracle {
namespace {

using namespace testing_support;

constexpr double kPoint = 1e-12;    // relative, quantities at a given point
constexpr double kSolution = 1e-9;  // relative, quantities that need a solved lower level

class TvReference : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
    names_ = reference_names("tv_");
    ASSERT_GE(names_.size(), 9U);
  }

  std::vector<std::string> names_;
};

TEST_F(TvReference, EnergyGradientHessianProduct) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const TvModel model = tv_model(data);
    for (int i = 0; i < data.N; ++i) {
      const Image y = data.image(data.y, i), x0 = data.image(data.x0, i), v = data.image(data.v, i);
      EXPECT_LT(relative_difference(energy(model, y, x0), data.phi_x0.at(i)), kPoint);
      EXPECT_LT(relative_difference(energy(model, y, data.image(data.xhat, i)), data.phi_xhat.at(i)), kPoint);
      EXPECT_LT(max_relative_difference(gradient(model, y, x0), data.image(data.grad_x0, i)), kPoint);
      EXPECT_LT(max_relative_difference(hessian_product(model, x0, v), data.image(data.hvp_x0_v, i)), kPoint);
    }
  }
}

TEST_F(TvReference, MixedProducts) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const TvModel model = tv_model(data);
    const std::vector<Parameter> parameters = tv_parameters(data);
    for (int i = 0; i < data.N; ++i) {
      const Image x0 = data.image(data.x0, i);
      const MixedScalars adjoint = mixed_adjoint(model, x0, data.image(data.v, i));
      const MixedColumns columns = mixed_forward(model, x0);
      std::vector<double> jtv;
      Image jd(x0.size(), 0.0);
      for (std::size_t j = 0; j < parameters.size(); ++j) {
        const double chain = chain_factor(model, parameters[j]);
        jtv.push_back(chain * adjoint[parameters[j].name]);
        jd = add_scaled(jd, chain * data.dtheta.at(j), columns[parameters[j].name]);
      }
      EXPECT_LT(max_relative_difference(jtv, data.image(data.jtv_x0_v, i)), kPoint);
      EXPECT_LT(max_relative_difference(jd, data.image(data.jd_x0_dtheta, i)), kPoint);
    }
  }
}

std::vector<Image> images(const ReferenceCase& data, const std::vector<double>& batch) {
  std::vector<Image> result;
  for (int i = 0; i < data.N; ++i) result.push_back(data.image(batch, i));
  return result;
}

TEST_F(TvReference, MinimiserAdjointAndHypergradient) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const UpperResult result = exact_hypergradient(tv_model(data), tv_parameters(data), images(data, data.y),
                                                   images(data, data.x_true));
    EXPECT_LT(relative_difference(result.f, data.f), kSolution);
    EXPECT_LT(max_relative_difference(result.hypergradient, data.hypergradient), kSolution);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LT(max_relative_difference(result.xhat[i], data.image(data.xhat, i)), kSolution);
      EXPECT_LT(max_relative_difference(result.adjoint[i], data.image(data.adjoint_q, i)), kSolution);
      EXPECT_NEAR(distance(data.image(data.x0, i), result.xhat[i]), data.error_x0.at(i), kSolution);
    }
  }
}

TEST_F(TvReference, OptimalParameters) {
  int checked = 0;
  for (const std::string& name : names_) {
    const ReferenceCase data = read_reference(name);
    if (!data.theta_opt) continue;
    SCOPED_TRACE(name);
    const std::vector<Parameter> parameters = tv_parameters(data);
    const TvModel model = with_coordinates(tv_model(data), parameters, *data.theta_opt);
    const UpperResult result =
        exact_hypergradient(model, parameters, images(data, data.y), images(data, data.x_true));
    EXPECT_LT(relative_difference(result.f, data.f_opt.value()), kSolution);
    EXPECT_LT(norm(result.hypergradient), kSolution);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LT(max_relative_difference(result.xhat[i], data.image(data.x_opt.value(), i)), kSolution);
    }
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST_F(TvReference, ExtremeEigenvaluesAndConstants) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    const TvModel model = tv_model(data);
    const CurvatureConstants constants = curvature(model);
    for (int i = 0; i < data.N; ++i) {
      EXPECT_LE(constants.mu, data.hessian_min_eig.at(i) * (1 + kSolution));
      EXPECT_GE(constants.L, data.hessian_max_eig.at(i));
      if (model.pixels() > 150) continue;  // the dense eigenvalue iteration is slow
      const std::vector<double> spectrum = eigenvalues(hessian(model, data.image(data.xhat, i)));
      EXPECT_LT(std::abs(spectrum.front() - data.hessian_min_eig.at(i)), kPoint * spectrum.back());
      EXPECT_LT(relative_difference(spectrum.back(), data.hessian_max_eig.at(i)), kPoint);
    }
  }
}

TEST(ReferenceReader, AllCasesCanBeRead) {
  if (!shared_folder()) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  for (const std::string& name : reference_names()) {
    SCOPED_TRACE(name);
    const ReferenceCase data = read_reference(name);
    EXPECT_EQ(data.name, name);
    EXPECT_EQ(data.theta.size(), data.hypergradient.size());
    EXPECT_EQ(data.x0.size(), data.xhat.size());
    EXPECT_NEAR(data.f, data.f_data + data.f_penalty, 1e-14 * std::abs(data.f));
  }
}

TEST(ReferenceReader, RejectsOtherFiles) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "bilevel_oracle_damaged.npy";
  EXPECT_THROW(read_npy(path / "absent.npy"), std::runtime_error);
  const auto write = [&](const std::string& header, std::size_t data_bytes) {
    std::ofstream stream(path, std::ios::binary);
    stream.write("\x93NUMPY\x01\x00", 8);
    stream.put(static_cast<char>(header.size())).put(0);
    stream << header << std::string(data_bytes, '\0');
  };
  write("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", 48);
  EXPECT_EQ(read_npy(path).shape, (std::vector<std::size_t>{2, 3}));
  write("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 16);
  EXPECT_EQ(read_npy(path).data, (std::vector<double>{0.0, 0.0}));
  write("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", 47);
  EXPECT_THROW(read_npy(path), std::runtime_error);
  write("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", 48);
  EXPECT_THROW(read_npy(path), std::runtime_error);
  write("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
  EXPECT_THROW(read_npy(path), std::runtime_error);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace bilevel::oracle
