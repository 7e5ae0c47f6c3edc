#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bilevel/core/active.hpp"
#include "bilevel/core/tensor.hpp"

namespace bilevel {
inline namespace v0 {

/// A copy to the host under way. wait() blocks until it has arrived (one host synchronisation); called a
/// second time, or after the fetch was moved from, it throws ConfigError. The context must outlive it.
class BILEVEL_API Fetch {
 public:
  struct Impl;
  explicit Fetch(std::unique_ptr<Impl> impl);
  ~Fetch();
  Fetch(Fetch&&) noexcept;
  Fetch& operator=(Fetch&&) noexcept;
  std::vector<double> wait(Context& context);

 private:
  std::unique_ptr<Impl> impl_;
};

/// One double per image on the device: norms, step lengths, certificates.
using Scalars = View<double>;

/// Starts an asynchronous copy of per-image doubles to the host. Throws ConfigError for an array that is not
/// of this context.
BILEVEL_API Fetch fetch(Context& context, View<const double> scalars);

/// The set of unfinished images of a batch: a mask that kernels clear, and the list of what is left.
class BILEVEL_API ActiveSet {
 public:
  /// All `n` images active. Scratch comes from `frame`.
  ActiveSet(Context& context, Frame& frame, int n);

  Active active() const { return {mask_.device_data(), index_.device_data(), count_}; }
  std::uint8_t* mask() { return mask_.device_data(); }
  int count() const { return count_; }  ///< as of the last refresh

  /// Activates every image / the images of `other` / those with open[i] != 0 (enqueues only). Throws
  /// ShapeError for another number of images.
  void reset(Context& context);
  void assign(Context& context, const ActiveSet& other);
  void assign(Context& context, std::span<const std::uint8_t> open);
  /// Compacts the list by the mask and returns how many are left (one host synchronisation). `tally`, one
  /// number per image (else ShapeError), is summed over all images on the way.
  int refresh(Context& context, View<const double> tally = {});
  double tally() const { return tally_; }  ///< as of the last refresh

 private:
  View<std::uint8_t> mask_;
  View<std::int32_t> index_;
  View<double> left_;  // images, tally
  int n_, count_;
  double tally_ = 0;
};

}  // namespace v0
}  // namespace bilevel
