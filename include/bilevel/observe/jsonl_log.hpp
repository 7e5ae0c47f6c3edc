#pragma once

#include <filesystem>

#include "bilevel/model/parameters.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel {
inline namespace v0 {

/// One line of JSON per upper iteration, complete in the file when iteration() returns: iteration, loss, loss_lower,
/// loss_upper, gradient_norm, error_bound, epsilon, delta, step, backtracks, lower_gradients, hessian_products,
/// other_operators (cumulative), seconds, status, theta (values by name), and where finite psnr, omega_theorem,
/// omega_adjoint, omega_directional, omega_columns. Numbers that are not finite are null.
class BILEVEL_API JsonlLog final : public Observer {
 public:
  /// Begins the file anew, or with `keep` >= 0 cuts it to the complete lines of iterations up to `keep`.
  /// Throws IoError.
  JsonlLog(std::filesystem::path path, Parameters parameters, int keep = -1);
  ~JsonlLog() override;
  JsonlLog(const JsonlLog&) = delete;
  JsonlLog& operator=(const JsonlLog&) = delete;

  /// Throws IoError when the line cannot be written (full disk); no part of it stays in the file.
  bool iteration(const IterationRecord& record) override;

 private:
  std::filesystem::path path_;
  Parameters parameters_;
  int file_ = -1;
};

}  // namespace v0
}  // namespace bilevel
