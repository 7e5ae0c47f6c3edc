#pragma once

#include <iosfwd>
#include <optional>

#include "apps/denoise/run_report.hpp"

namespace bilevel_app::denoise {

/// The images of --test-data: the centre crop of every file with noise of seed + 1. They are reconstructed
/// from the noisy images in a context of their own, so what is measured depends on theta only and the run
/// keeps its bits.
class HeldOut {
 public:
  /// Throws IoError for files that cannot be read or are smaller than the crops.
  HeldOut(const TrainOptions& options, const bilevel::Device& device, const bilevel::Parameters& parameters,
          std::ostream& err);

  /// For the log: mean PSNR at every --test-every-th iteration and at the end, NaN otherwise, after a signal,
  /// and when a reconstruction failed.
  double psnr(const bilevel::IterationRecord& record, bool finished);
  const ImageBatch& batch() const { return batch_; }
  /// At the end of the run.
  const std::optional<Quality>& last() const { return last_; }

 private:
  template <class T>
  std::optional<Quality> measure(const std::vector<double>& theta) const;

  const TrainOptions& options_;
  const bilevel::Device& device_;
  const bilevel::Parameters& parameters_;
  std::ostream& err_;
  ImageBatch batch_;
  std::optional<Quality> last_;
};

}  // namespace bilevel_app::denoise
