#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/npy.hpp"

namespace bilevel::testing_support {

/// One exactly solved bilevel instance. Batches are flat, image after image, row-major.
struct ReferenceCase {
  std::string name, model, potential, isotropy, padding, parameterisation;
  int H = 0, W = 0, N = 0;
  int filters = 0, filter_size = 0;  ///< of fields of experts
  std::vector<std::string> scalar_layout;
  std::map<std::string, double> fixed;    ///< parameters that are not learned
  std::map<std::string, double> penalty;  ///< beta1, beta2 of sampling patterns

  std::vector<double> theta, mask, y, x_true, xhat, adjoint_q, hypergradient;  ///< mask is empty if absent
  std::vector<double> x0, v, dtheta, grad_x0, hvp_x0_v, jtv_x0_v, jd_x0_dtheta;
  std::vector<double> phi_xhat, phi_x0, grad_norm_xhat, error_x0;  ///< one value per image
  std::vector<double> hessian_min_eig, hessian_max_eig;            ///< at xhat, one value per image
  double f = 0, f_data = 0, f_penalty = 0;
  std::optional<std::vector<double>> theta_opt, x_opt;
  std::optional<double> f_opt;
  std::map<std::string, NpyArray> arrays;  ///< every array of the folder by file stem

  /// Value of the parameter `name` (alpha, nu, xi, ...) at theta, or its fixed value.
  /// Throws std::out_of_range if the case has no such parameter.
  double parameter(const std::string& parameter_name) const;
  /// Image i of a flat batch.
  std::vector<double> image(const std::vector<double>& batch, int i) const;
};

/// Folder of the shared data: environment BILEVEL_SHARED, else the compile definition
/// BILEVEL_SHARED_DEFAULT; nullopt if neither names an existing folder.
std::optional<std::filesystem::path> shared_folder();

/// Names of the reference cases that start with `prefix`, sorted; empty without a shared folder.
std::vector<std::string> reference_names(const std::string& prefix = "");

/// Reads the reference case `name` of the shared folder. Throws std::runtime_error if it is absent.
ReferenceCase read_reference(const std::string& name);
/// Reads a reference case from its folder.
ReferenceCase read_reference_folder(const std::filesystem::path& folder);

}  // namespace bilevel::testing_support
