#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "bilevel/core/tensor.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "tests/oracle/test_models.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/oracle/tv_reference.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/reference_case.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using oracle::Image;

/// A bilevel instance in the words of the oracle: one model, N images.
struct TvInstance {
  std::string name;
  oracle::TvModel model;
  std::vector<oracle::Parameter> learned;
  std::vector<Image> y, truth;

  int images() const { return static_cast<int>(y.size()); }
  Shape shape() const { return {images(), 1, model.height, model.width}; }
  std::vector<double> theta() const {
    std::vector<double> out;
    for (const oracle::Parameter& p : learned) out.push_back(oracle::coordinate(model, p));
    return out;
  }
  TvInstance at(const std::vector<double>& theta) const {
    TvInstance moved = *this;
    moved.model = oracle::with_coordinates(model, learned, theta);
    return moved;
  }
};

inline TvInstance instance_of(const ReferenceCase& data) {
  TvInstance out{data.name, oracle::tv_model(data), oracle::tv_parameters(data), {}, {}};
  for (int i = 0; i < data.N; ++i) {
    out.y.push_back(data.image(data.y, i));
    out.truth.push_back(data.image(data.x_true, i));
  }
  return out;
}

/// Piecewise constant images with noise, as a model says; a mask is applied to the data.
inline TvInstance random_instance(const oracle::TvModel& model, int images, double sigma, Random& random) {
  TvInstance out{"random", model, {{"alpha"}, {"nu"}}, {}, {}};
  for (int i = 0; i < images; ++i) {
    out.truth.push_back(piecewise_constant(model.height, model.width, 0, random));
    Image y = add_scaled(out.truth.back(), sigma, random.normal_vector(out.truth.back().size()));
    for (std::size_t p = 0; p < model.mask.size(); ++p) y[p] *= model.mask[p];
    out.y.push_back(y);
  }
  return out;
}

/// The layout of theta: the learned parameters in their order, then the others, fixed.
inline Parameters parameters_of(const TvInstance& instance, double lower = 1e-12, double upper = 1e6) {
  std::vector<Segment> segments;
  const auto add = [&](const std::string& name, Transform transform, bool learned) {
    segments.push_back({name, transform, oracle::parameter_value(instance.model, name), learned ? lower : 0,
                        upper, learned});
  };
  const auto transform = [](oracle::Transform t) {
    return t == oracle::Transform::identity
               ? Transform::identity
               : (t == oracle::Transform::exp ? Transform::exp : Transform::log10);
  };
  for (const oracle::Parameter& p : instance.learned) add(p.name, transform(p.transform), true);
  for (const char* name : {"alpha", "nu", "xi"}) {
    if (std::string(name) == "nu" && instance.model.potential == oracle::Potential::quadratic) continue;
    bool learned = false;
    for (const oracle::Parameter& p : instance.learned) learned = learned || p.name == name;
    if (!learned) add(name, Transform::identity, false);
  }
  return Parameters(segments);
}

inline TvOptions options_of(const oracle::TvModel& model) {
  return {static_cast<TvPotential>(model.potential), model.isotropic, model.xi_inside_alpha,
          static_cast<TvDifferences>(model.differences)};
}

template <class T>
std::vector<T> flat(const std::vector<Image>& images) {
  std::vector<T> out;
  for (const Image& image : images)
    for (double v : image) out.push_back(static_cast<T>(v));
  return out;
}
template <class T>
std::vector<Image> unflatten(const std::vector<T>& values, std::size_t images) {
  const std::size_t size = values.size() / images;
  std::vector<Image> out;
  for (std::size_t i = 0; i < images; ++i)
    out.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(i * size),
                     values.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
  return out;
}

/// The library's view of an instance: context, data on the device, energy. Data are rounded to T first, so
/// that `instance` is what the library sees exactly.
template <class T>
struct TvSetup {
  TvInstance instance;
  Context context;
  Tensor<T> y, truth;
  Parameters parameters;
  std::unique_ptr<ComposedEnergy<T>> owned;
  ComposedEnergy<T>* energy;

  explicit TvSetup(const TvInstance& from, const std::string& device = test_device("cpu:1"),
                   double lower = 1e-12, double upper = 1e6)
      : instance(rounded(from)),
        context(Device::open(device)),
        y(context, instance.shape(), flat<T>(instance.y)),
        truth(context, instance.shape(), flat<T>(instance.truth)),
        parameters(parameters_of(instance, lower, upper)),
        owned(std::make_unique<ComposedEnergy<T>>(context, y.view(), parameters, options_of(instance.model),
                                                  instance.model.mask)),
        energy(owned.get()) {
    energy->bind(instance.theta());
  }
  Tensor<T> tensor(const std::vector<Image>& images) {
    return Tensor<T>(context, instance.shape(), flat<T>(images));
  }
  std::vector<Image> images(const Tensor<T>& tensor) {
    return unflatten(download(context, tensor), instance.y.size());
  }
  /// Hands the energy to a problem; `energy` stays valid while the problem lives.
  BilevelProblem<T> problem(Penalty penalty = {}) {
    return BilevelProblem<T>(std::move(owned), truth.view(), parameters, std::move(penalty));
  }

 private:
  static TvInstance rounded(TvInstance in) {
    for (auto* list : {&in.y, &in.truth})
      for (Image& image : *list)
        for (double& v : image) v = static_cast<double>(static_cast<T>(v));
    return in;
  }
};

/// |a - b| with b in extended precision.
inline double exact_distance(const Image& a, const oracle::ExtendedImage& b) {
  long double sum = 0;
  for (std::size_t p = 0; p < a.size(); ++p) sum += (a[p] - b[p]) * (a[p] - b[p]);
  return static_cast<double>(std::sqrt(sum));
}

/// Minimisers of every image in extended precision.
inline std::vector<oracle::ExtendedImage> exact_minimisers(const TvInstance& instance) {
  std::vector<oracle::ExtendedImage> out;
  for (const Image& y : instance.y) out.push_back(oracle::minimise(instance.model, y, {}, 0).extended_x);
  return out;
}

/// Instances of the reference cases with the models tv, tv2 and h1; empty without the shared folder.
inline std::vector<TvInstance> reference_instances() {
  std::vector<TvInstance> out;
  for (const char* model : {"tv_", "tv2_", "h1_"})
    for (const std::string& name : reference_names(model)) out.push_back(instance_of(read_reference(name)));
  return out;
}

}  // namespace bilevel::testing_support

/// Ends the test where the exactly solved reference instances are absent.
#define BILEVEL_REQUIRE_REFERENCE()                                                                 \
  if (bilevel::testing_support::reference_names("tv_").empty())                                     \
  GTEST_SKIP() << "The reference problems are absent: set BILEVEL_SHARED to the folder that holds " \
                  "reference/."
