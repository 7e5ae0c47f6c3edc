#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/ops/operator_check.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using Image = std::vector<double>;

/// An operator on a context of its own; arrays cross as vectors of double. `make(context)` makes it.
template <class T>
class OperatorLab {
 public:
  using Make = std::function<std::unique_ptr<LinearOperator<T>>(Context&)>;

  explicit OperatorLab(const Make& make, const std::string& device = test_device("cpu:2"))
      : context_(Device::open(device)),
        op_(make(context_)),
        frame_(context_),
        active_(context_, frame_, op_->domain().n),
        x_(frame_.view<T>(op_->domain())),
        out_(frame_.view<T>(op_->domain())),
        z_(frame_.view<T>(op_->range())),
        az_(frame_.view<T>(op_->range())) {}

  Context& context() { return context_; }
  const LinearOperator<T>& op() const { return *op_; }
  ActiveSet& active() { return active_; }
  Image apply(const Image& x) {
    upload<T>(context_, narrow<T>(x), x_);
    op_->apply(context_, active_.active(), x_, az_);
    return get(az_);
  }
  Image adjoint(const Image& z) {
    upload<T>(context_, narrow<T>(z), z_);
    op_->adjoint(context_, active_.active(), z_, out_);
    return get(out_);
  }
  Image normal(const Image& x) {
    upload<T>(context_, narrow<T>(x), x_);
    op_->normal(context_, active_.active(), x_, out_);
    return get(out_);
  }
  void fill_results(T value) {
    fill<T>(context_, out_, value);
    fill<T>(context_, az_, value);
  }
  /// apply, adjoint and normal without transfers.
  void enqueue() {
    op_->apply(context_, active_.active(), x_, az_);
    op_->adjoint(context_, active_.active(), z_, out_);
    op_->normal(context_, active_.active(), x_, out_);
  }
  Image noise(const Shape& s, Random& random) const {
    return representable<T>(random.normal_vector(s.count()));
  }

 private:
  Image get(View<T> view) {
    const std::vector<T> values = download<T>(context_, view);
    return {values.begin(), values.end()};
  }
  Context context_;
  std::unique_ptr<LinearOperator<T>> op_;
  Frame frame_;
  ActiveSet active_;
  View<T> x_, out_, z_, az_;
};

/// Results of images that are not active keep what they held; the others do not see them.
template <class T>
void expect_frozen_images_alone(OperatorLab<T>& lab, Random& random) {
  const int n = lab.op().domain().n;
  ASSERT_EQ(n, 3);
  const std::size_t in = lab.op().domain().image(), out = lab.op().range().image();
  const Image x = lab.noise(lab.op().domain(), random), z = lab.noise(lab.op().range(), random);
  const Image ax = lab.apply(x), atz = lab.adjoint(z), both = lab.normal(x);
  for (const bool listed : {true, false}) {
    lab.active().assign(lab.context(), std::vector<std::uint8_t>{1, 0, 1});
    if (!listed) {
      ASSERT_EQ(lab.active().refresh(lab.context()), 2);
    }
    lab.fill_results(T(7));
    const Image some_ax = lab.apply(x), some_atz = lab.adjoint(z);
    lab.fill_results(T(7));
    const Image some = lab.normal(x);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(image_of(some_ax, out, i), i == 1 ? Image(out, 7.0) : image_of(ax, out, i));
      EXPECT_EQ(image_of(some_atz, in, i), i == 1 ? Image(in, 7.0) : image_of(atz, in, i));
      EXPECT_EQ(image_of(some, in, i), i == 1 ? Image(in, 7.0) : image_of(both, in, i));
    }
  }
  lab.active().assign(lab.context(), std::vector<std::uint8_t>{0, 0, 0});
  ASSERT_EQ(lab.active().refresh(lab.context()), 0);
  lab.fill_results(T(7));
  EXPECT_EQ(lab.apply(x), Image(3 * out, 7.0));
  EXPECT_EQ(lab.adjoint(z), Image(3 * in, 7.0));
}

/// No waits, no transfers and, once scratch exists, no allocations.
template <class T>
void expect_only_enqueues(OperatorLab<T>& lab) {
  lab.enqueue();
  const Counters before = lab.context().counters();
  lab.enqueue();
  const Counters after = lab.context().counters();
  EXPECT_GT(after.launches, before.launches);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.host_syncs, before.host_syncs);
  EXPECT_EQ(after.bytes_downloaded, before.bytes_downloaded);
  EXPECT_EQ(after.bytes_uploaded, before.bytes_uploaded);
}

/// The bits of one thread on any number of them, and where host code cannot look at device memory.
template <class T>
void expect_same_bits(const typename OperatorLab<T>::Make& make, Random& random) {
  OperatorLab<T> first(make, test_device("cpu:1"));
  const Image x = first.noise(first.op().domain(), random), z = first.noise(first.op().range(), random);
  const Image ax = first.apply(x), atz = first.adjoint(z);
  for (const std::string& device : repeat_devices({"cpu:2", "cpu:3", "cpu-guarded:2"})) {
    OperatorLab<T> lab(make, device);
    EXPECT_EQ(lab.apply(x), ax) << device;
    EXPECT_EQ(lab.adjoint(z), atz) << device;
  }
}

/// |A|^2 by power iterations on the first image, a value from below.
template <class T>
double power_iteration(OperatorLab<T>& lab, Random& random, int steps) {
  const std::size_t size = lab.op().domain().image();
  Image x = lab.noise(lab.op().domain(), random);
  double largest = 0;
  for (int step = 0; step < steps; ++step) {
    const double before = norm(image_of(x, size, 0));
    const Image next = lab.normal(x);
    const double after = norm(image_of(next, size, 0));
    if (!(after > 0)) break;
    largest = std::max(largest, after / before);
    x = next;
    for (double& v : x) v /= after;
  }
  return largest;
}

}  // namespace bilevel::testing_support
