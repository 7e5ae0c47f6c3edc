#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_args.hpp"
#include "kernels/lbfgs_args.hpp"
#include "tests/support/random.hpp"

namespace bilevel::testing_support {

/// Bytes that copies share until one of them gets others.
class Content {
 public:
  Content(std::vector<std::uint8_t> bytes)
      : bytes_(std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes))) {}
  const std::vector<std::uint8_t>& bytes() const { return *bytes_; }
  bool operator==(const Content& other) const { return bytes_ == other.bytes_ || *bytes_ == *other.bytes_; }

 private:
  std::shared_ptr<const std::vector<std::uint8_t>> bytes_;
};

/// Arrays that every kernel reads and writes: named buffers [rows][N][elements], or one shared by the batch.
struct Bag {
  struct Buffer {
    std::string name;
    bool shared = false;
    int rows = 1;
    std::size_t bytes = 0;  // of one row of one image; of the whole when shared
    Content content;
  };
  int n = 0, height = 0, width = 0;
  std::vector<Buffer> buffers;
  std::vector<std::uint8_t> mask;
  std::vector<std::int32_t> index;
  std::int32_t count = 0;

  std::size_t size() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }

  /// The part of a buffer that belongs to image i.
  static std::vector<std::uint8_t> segment(const Buffer& b, int n, int i) {
    std::vector<std::uint8_t> out;
    for (int row = 0; row < b.rows; ++row) {
      const auto* first = b.content.bytes().data() + (static_cast<std::size_t>(row) * n + i) * b.bytes;
      out.insert(out.end(), first, first + b.bytes);
    }
    return out;
  }
  /// The batch that holds image i alone.
  Bag alone(int i) const {
    Bag one{1, height, width, {}, {1}, {0}, 1};
    for (const Buffer& b : buffers)
      one.buffers.push_back(
          {b.name, b.shared, b.rows, b.bytes, b.shared ? b.content : Content(segment(b, n, i))});
    return one;
  }
};

template <class V>
std::vector<std::uint8_t> bytes_of(const std::vector<V>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(V));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Fields of experts in a bag: at most these filters and taps per filter.
inline constexpr int expert_filters = 2, expert_taps = 49;

/// Random contents that are meaningful to every kernel: images of noise and edges, positive weights and
/// scalars, dual fields in the unit ball, line searches under way.
template <class T>
Bag make_bag(int n, int height, int width, Random& random) {
  Bag bag{n, height, width, {}, std::vector<std::uint8_t>(static_cast<std::size_t>(n), 1), {}, n};
  for (int i = 0; i < n; ++i) bag.index.push_back(i);
  const std::size_t size = bag.size(), all = size * static_cast<std::size_t>(n);
  const auto add = [&](const std::string& name, int rows, std::size_t bytes,
                       std::vector<std::uint8_t> content) {
    bag.buffers.push_back({name, false, rows, bytes, std::move(content)});
  };
  for (const char* name : {"x", "y", "p", "q", "v", "r", "out", "previous"}) {
    std::vector<T> image;
    for (int i = 0; i < n; ++i)
      for (double value : piecewise_constant(height, width, 0.1, random))
        image.push_back(static_cast<T>(value));
    add(name, 1, size * sizeof(T), bytes_of(image));
  }
  for (const char* name : {"s_pairs", "y_pairs"}) {
    std::vector<T> pairs;
    for (std::size_t e = 0; e < kernels::lbfgs_memory * all; ++e)
      pairs.push_back(static_cast<T>(random.normal()));
    add(name, kernels::lbfgs_memory, size * sizeof(T), bytes_of(pairs));
  }
  std::vector<T> pairs_of_planes;
  for (std::size_t e = 0; e < 8 * all; ++e) pairs_of_planes.push_back(static_cast<T>(random.normal()));
  add("planes", 4, 2 * size * sizeof(T), bytes_of(pairs_of_planes));
  std::vector<T> weights, sampling;
  for (std::size_t e = 0; e < 4 * all; ++e) weights.push_back(static_cast<T>(random.uniform(0.1, 1)));
  add("weights", 4, size * sizeof(T), bytes_of(weights));
  std::vector<float> dual;
  for (std::size_t e = 0; e < 3 * all; ++e) dual.push_back(static_cast<float>(random.uniform(-0.7, 0.7)));
  add("dual", 3, size * sizeof(float), bytes_of(dual));
  add("wide", 1, size * sizeof(double), bytes_of(random.normal_vector(all)));
  // Fields of experts: maps and sums of all filters, and what a model shares.
  std::vector<T> maps;
  std::vector<float> dual_maps;
  for (std::size_t e = 0; e < expert_filters * all; ++e) {
    maps.push_back(static_cast<T>(random.uniform(0.1, 1)));
    dual_maps.push_back(static_cast<float>(random.uniform(-0.7, 0.7)));
  }
  add("maps", 1, expert_filters * size * sizeof(T), bytes_of(maps));
  add("dual_maps", 1, expert_filters * size * sizeof(float), bytes_of(dual_maps));
  const int expert_rows = expert_filters * (2 + expert_taps);
  add("expert_sums", expert_rows, sizeof(double),
      bytes_of(std::vector<double>(static_cast<std::size_t>(expert_rows * n), 0.5)));
  std::vector<T> experts;
  for (int e = 0; e < expert_filters * (2 * expert_taps + 4); ++e)
    experts.push_back(static_cast<T>(random.uniform(0.05, 0.3)));
  bag.buffers.push_back({"experts", true, 1, experts.size() * sizeof(T), bytes_of(experts)});
  // Complex images, spectra of two coils, linearised regularisers of two channels, sums per frequency, what
  // coils and frequencies share.
  const auto normals = [&](const std::string& name, int rows, std::size_t of_image) {
    std::vector<T> values;
    for (std::size_t e = 0; e < static_cast<std::size_t>(rows) * of_image * all; ++e)
      values.push_back(static_cast<T>(random.normal()));
    add(name, rows, of_image * size * sizeof(T), bytes_of(values));
  };
  for (const char* name : {"complex_x", "complex_y", "complex_p", "complex_q", "complex_v", "complex_out"})
    normals(name, 1, 2);
  for (const char* name : {"coils_x", "coils_q", "coils_data", "coils_out"}) normals(name, 1, 4);
  normals("joint_weights", 7, 2);
  std::vector<float> complex_dual_maps;
  for (std::size_t e = 0; e < 2 * expert_filters * all; ++e)
    complex_dual_maps.push_back(static_cast<float>(random.uniform(-0.7, 0.7)));
  normals("complex_maps", 1, 2 * expert_filters);
  add("complex_dual_maps", 1, 2 * expert_filters * size * sizeof(float), bytes_of(complex_dual_maps));
  std::vector<float> joint_dual;
  for (std::size_t e = 0; e < 6 * all; ++e)
    joint_dual.push_back(static_cast<float>(random.uniform(-0.5, 0.5)));
  add("joint_dual", 3, 2 * size * sizeof(float), bytes_of(joint_dual));
  add("frequency_sums", static_cast<int>(4 * size), sizeof(double), bytes_of(random.normal_vector(4 * all)));
  std::vector<T> sensitivities;
  for (std::size_t e = 0; e < 4 * size; ++e) sensitivities.push_back(static_cast<T>(random.uniform(0.1, 1)));
  bag.buffers.push_back({"sensitivities", true, 1, 4 * size * sizeof(T), bytes_of(sensitivities)});
  std::vector<double> scalars;
  for (int e = 0; e < 16 * n; ++e) scalars.push_back(random.uniform(0.5, 2));
  add("scalars", 16, sizeof(double), bytes_of(scalars));
  add("flags", 4, 1, std::vector<std::uint8_t>(4 * static_cast<std::size_t>(n), 1));
  std::vector<std::uint8_t> states;
  for (int i = 0; i < n; ++i) {
    kernels::LbfgsState l;
    std::memset(&l, 0, sizeof(l));
    l.head = 3;
    l.filled = 3 + 7 * (i % 2);
    for (int j = 0; j < kernels::lbfgs_memory; ++j) {
      l.on_s[j] = random.normal();
      l.on_y[j] = random.normal();
      for (int k = 0; k < kernels::lbfgs_memory; ++k) l.sy[j][k] = l.yy[j][k] = random.uniform(1, 2);
    }
    l.on_g = -1;
    l.value0 = l.step = 1;
    l.slope0 = l.slope_low = -1;
    l.high = HUGE_VAL;
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&l);
    states.insert(states.end(), raw, raw + sizeof(l));
  }
  add("states", 1, sizeof(kernels::LbfgsState), states);
  for (double value : random_mask(height, width, 0.7, random)) sampling.push_back(static_cast<T>(value));
  bag.buffers.push_back({"sampling", true, 1, size * sizeof(T), bytes_of(sampling)});
  bag.buffers.push_back({"shared", true, 1, 4 * sizeof(double), bytes_of(std::vector<double>{1, 2, 3, 4})});
  // Samples of a classification.
  std::vector<double> sample_weights;
  std::vector<std::int32_t> labels;
  for (std::size_t e = 0; e < size; ++e) {
    sample_weights.push_back(random.uniform());
    labels.push_back(random.integer(0, 1));
  }
  bag.buffers.push_back({"sample_weights", true, 1, size * sizeof(double), bytes_of(sample_weights)});
  bag.buffers.push_back({"labels", true, 1, size * sizeof(std::int32_t), bytes_of(labels)});
  // Images of four channels, their linearisations and dual fields.
  for (const char* name : {"x", "q", "v", "out"}) normals(std::string("fourfold_") + name, 1, 4);
  normals("fourfold_weights", 3, 4);
  std::vector<float> fourfold_dual;
  for (std::size_t e = 0; e < 4 * all; ++e)
    fourfold_dual.push_back(static_cast<float>(random.uniform(-0.5, 0.5)));
  add("fourfold_dual", 1, 4 * size * sizeof(float), bytes_of(fourfold_dual));
  // Colour and joint unknowns of three and of six channels, their linearisations and dual fields.
  for (const int channels : {3, 6}) {
    const std::string prefix = "joint" + std::to_string(channels) + "_";
    const auto planes = static_cast<std::size_t>(channels);
    for (const char* name : {"x", "q", "v", "out"}) normals(prefix + name, 1, planes);
    normals(prefix + "weights", channels == 3 ? 5 : 4, planes);
    std::vector<float> field;
    for (std::size_t e = 0; e < 2 * planes * all; ++e)
      field.push_back(static_cast<float>(random.uniform(-0.4, 0.4)));
    add(prefix + "dual", 2, planes * size * sizeof(float), bytes_of(field));
  }
  return bag;
}

/// The buffers of a bag on a device, those that are asked for.
template <class T>
struct DeviceBag {
  DeviceBag(Context& context_, const Bag& bag_)
      : context(context_), bag(bag_), n(bag.n), size(bag.size()), tensors(bag.buffers.size()) {
    mask = Tensor<std::uint8_t>(context, {bag.n, 1, 1, 1}, bag.mask);
    index = Tensor<std::int32_t>(context, {bag.n, 1, 1, 1}, bag.index);
    active = {mask.view().device_data(), index.view().device_data(), bag.count};
  }
  std::uint8_t* raw(const std::string& name) {
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      if (bag.buffers[k].name != name) continue;
      const std::vector<std::uint8_t>& content = bag.buffers[k].content.bytes();
      if (!tensors[k].view())
        tensors[k] = Tensor<std::uint8_t>(context, {1, 1, 1, static_cast<int>(content.size())}, content);
      return tensors[k].view().device_data();
    }
    throw std::invalid_argument("the bag has no buffer " + name);
  }
  template <class V>
  V* as(const std::string& name) {
    return reinterpret_cast<V*>(raw(name));
  }
  T* image(const std::string& name) { return reinterpret_cast<T*>(raw(name)); }
  T* weight(int row) {
    return image("weights") + static_cast<std::size_t>(row) * static_cast<std::size_t>(n) * size;
  }
  /// Images of two components.
  T* planes(int row) {
    return image("planes") + static_cast<std::size_t>(2 * row) * static_cast<std::size_t>(n) * size;
  }
  float* dual(int row) {
    return reinterpret_cast<float*>(raw("dual")) +
           static_cast<std::size_t>(row) * static_cast<std::size_t>(n) * size;
  }
  double* wide() { return reinterpret_cast<double*>(raw("wide")); }
  /// Numbers shared by the batch: taps, other taps, weights, smoothings, their directions.
  T* experts(int first) { return image("experts") + first; }
  float* dual_maps(int channels) {
    return reinterpret_cast<float*>(raw(channels == 2 ? "complex_dual_maps" : "dual_maps"));
  }
  double* expert_sums() { return reinterpret_cast<double*>(raw("expert_sums")); }
  double* scalar(int row) { return reinterpret_cast<double*>(raw("scalars")) + row * n; }
  double* shared(int k) { return reinterpret_cast<double*>(raw("shared")) + k; }
  std::uint8_t* flag(int row) { return raw("flags") + row * n; }
  kernels::LbfgsState* states() { return reinterpret_cast<kernels::LbfgsState*>(raw("states")); }
  static void* scratch(void* impl, std::size_t bytes) {
    return static_cast<Context::Impl*>(impl)->scratch(bytes);
  }
  const kernels::Stream& stream() { return stream_of(context); }
  const kernels::Table<T>& table() { return kernel_table<T>(context); }
  const kernels::ScalarTable& decisions() { return context.impl().scalar_table(); }

  Context& context;
  const Bag& bag;
  int n;
  std::size_t size;
  std::vector<Tensor<std::uint8_t>> tensors;
  Tensor<std::uint8_t> mask;
  Tensor<std::int32_t> index;
  Active active;
};

/// One way to launch a kernel of the table on a bag. `joint`: images see each other, or all are written by
/// design.
template <class T>
struct KernelCase {
  std::string name;
  bool joint = false;
  std::function<void(DeviceBag<T>&)> launch;
};

}  // namespace bilevel::testing_support
