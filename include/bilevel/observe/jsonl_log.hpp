#pragma once

#include <filesystem>
#include <functional>

#include "bilevel/model/model_file.hpp"
#include "bilevel/model/parameters.hpp"
#include "bilevel/observe/observer.hpp"

namespace bilevel {
inline namespace v0 {

/// One line of JSON per upper iteration, and one at the end for the last point, complete in the file when the
/// call returns: iteration, loss, loss_lower, loss_upper, gradient_norm, error_bound, epsilon, delta, step,
/// backtracks, lower_gradients, hessian_products, other_operators (cumulative), seconds, status, theta
/// (numbers by name, not arrays), and where finite psnr, test_psnr, omega_theorem, omega_adjoint,
/// omega_directional, omega_columns. Other numbers that are not finite are null.
class BILEVEL_API JsonlLog final : public Observer {
 public:
  /// Mean PSNR of images that are not learned from, or NaN; `finished` marks the last line.
  using TestPsnr = std::function<double(const IterationRecord&, bool finished)>;
  /// More fields of a line, put before `theta`.
  using Fields = std::function<std::vector<NamedOption>(const IterationRecord&)>;

  /// Cuts the file to the complete lines of iterations below `next` (0: begins it anew), the iteration that a
  /// resumed run does next. Throws IoError.
  JsonlLog(std::filesystem::path path, Parameters parameters, int next = 0, TestPsnr test_psnr = {},
           Fields fields = {});
  ~JsonlLog() override;
  JsonlLog(const JsonlLog&) = delete;
  JsonlLog& operator=(const JsonlLog&) = delete;

  /// Throws ShapeError for a theta of another length than the parameters'; IoError when the line cannot be
  /// written (full disk, a file that was removed); no part of it stays.
  bool iteration(const IterationRecord& record) override;
  void finished(const UpperReport& report) override;

 private:
  void append(const IterationRecord& record, bool finished);

  std::filesystem::path path_;
  Parameters parameters_;
  TestPsnr test_psnr_;
  Fields fields_;
  int file_ = -1;
};

}  // namespace v0
}  // namespace bilevel
