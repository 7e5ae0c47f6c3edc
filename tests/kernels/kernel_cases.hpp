#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "tests/support/random.hpp"

namespace bilevel::testing_support {

/// Arrays that every kernel reads and writes: named buffers [rows][N][elements], or one shared by the batch.
struct Bag {
  struct Buffer {
    std::string name;
    bool shared = false;
    int rows = 1;
    std::size_t bytes = 0;  // of one row of one image; of the whole when shared
    std::vector<std::uint8_t> content;
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
      const auto* first = b.content.data() + (static_cast<std::size_t>(row) * n + i) * b.bytes;
      out.insert(out.end(), first, first + b.bytes);
    }
    return out;
  }
  /// The batch that holds image i alone.
  Bag alone(int i) const {
    Bag one{1, height, width, {}, {1}, {0}, 1};
    for (const Buffer& b : buffers)
      one.buffers.push_back({b.name, b.shared, b.rows, b.bytes, b.shared ? b.content : segment(b, n, i)});
    return one;
  }
};

template <class V>
std::vector<std::uint8_t> bytes_of(const std::vector<V>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(V));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

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
  std::vector<T> weights, sampling;
  for (std::size_t e = 0; e < 4 * all; ++e) weights.push_back(static_cast<T>(random.uniform(0.1, 1)));
  add("weights", 4, size * sizeof(T), bytes_of(weights));
  std::vector<float> dual;
  for (std::size_t e = 0; e < 2 * all; ++e) dual.push_back(static_cast<float>(random.uniform(-0.7, 0.7)));
  add("dual", 2, size * sizeof(float), bytes_of(dual));
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
  return bag;
}

/// The buffers of a bag on a device.
template <class T>
struct DeviceBag {
  DeviceBag(Context& context_, const Bag& bag) : context(context_), n(bag.n), size(bag.size()) {
    for (const Bag::Buffer& b : bag.buffers) {
      names.push_back(b.name);
      tensors.emplace_back(context, Shape{1, 1, 1, static_cast<int>(b.content.size())});
      tensors.back().upload(context, b.content);
    }
    mask = Tensor<std::uint8_t>(context, {bag.n, 1, 1, 1}, bag.mask);
    index = Tensor<std::int32_t>(context, {bag.n, 1, 1, 1}, bag.index);
    active = {mask.view().device_data(), index.view().device_data(), bag.count};
  }
  std::uint8_t* raw(const std::string& name) {
    for (std::size_t k = 0; k < names.size(); ++k)
      if (names[k] == name) return tensors[k].view().device_data();
    return nullptr;
  }
  T* image(const std::string& name) { return reinterpret_cast<T*>(raw(name)); }
  T* weight(int row) {
    return image("weights") + static_cast<std::size_t>(row) * static_cast<std::size_t>(n) * size;
  }
  float* dual(int row) {
    return reinterpret_cast<float*>(raw("dual")) +
           static_cast<std::size_t>(row) * static_cast<std::size_t>(n) * size;
  }
  double* scalar(int row) { return reinterpret_cast<double*>(raw("scalars")) + row * n; }
  double* shared(int k) { return reinterpret_cast<double*>(raw("shared")) + k; }
  std::uint8_t* flag(int row) { return raw("flags") + row * n; }
  kernels::LbfgsState* states() { return reinterpret_cast<kernels::LbfgsState*>(raw("states")); }
  const kernels::Stream& stream() { return stream_of(context); }
  const kernels::Table<T>& table() { return kernel_table<T>(context); }
  const kernels::ScalarTable& decisions() { return context.impl().scalar_table(); }

  Context& context;
  int n;
  std::size_t size;
  std::vector<std::string> names;
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

template <class T>
void add_tv_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  for (int kind = 0; kind < 4; ++kind) {
    const bool isotropic = height == 1 || kind % 2 == 0, huber = kind >= 2;
    const kernels::TvModel m{height, width, static_cast<kernels::Potential>(huber), isotropic, 0.3,
                             0.05,   0.01};
    const std::string of =
        std::string(huber ? " huber_c2" : " charbonnier") + (isotropic ? " iso" : " aniso");
    for (const bool masked : {false, true}) {
      const auto s = [masked](B& b) { return masked ? b.image("sampling") : nullptr; };
      cases.push_back({"tv_energy" + of, false, [=](B& b) {
                         b.table().tv_energy(b.stream(),
                                             {m, b.active, b.image("x"), b.image("y"), s(b), b.image("out"),
                                              b.scalar(0), b.scalar(1), b.scalar(2), 1e-8});
                       }});
      cases.push_back({"tv_linearise" + of, false, [=](B& b) {
                         b.table().tv_linearise(
                             b.stream(), {m, b.active, b.image("x"), s(b), masked ? b.dual(0) : nullptr,
                                          masked ? b.dual(1) : nullptr, b.weight(0), b.weight(1),
                                          isotropic ? b.weight(2) : nullptr, b.weight(3)});
                       }});
      cases.push_back({"tv_hessian" + of, false, [=](B& b) {
                         b.table().tv_hessian(b.stream(), {m, b.active, b.weight(0), b.weight(1),
                                                           isotropic ? b.weight(2) : nullptr, s(b),
                                                           b.image("p"), b.image("out"), b.scalar(0)});
                       }});
      cases.push_back({"tv_dual" + of, false, [=](B& b) {
                         b.table().tv_dual(b.stream(),
                                           {m, b.active, b.image("x"), masked ? b.image("p") : nullptr,
                                            masked ? b.scalar(3) : nullptr, b.dual(0), b.dual(1)});
                       }});
      cases.push_back({"tv_bound" + of, false, [=](B& b) {
                         b.table().tv_bound(b.stream(), {m, b.active, b.image("x"), b.image("q"),
                                                         masked ? b.image("v") : nullptr, b.scalar(14),
                                                         b.scalar(15), 0.01, 1.7, 8, b.scalar(0), b.n});
                       }});
    }
    cases.push_back({"tv_mixed_adjoint" + of, false, [=](B& b) {
                       b.table().tv_mixed_adjoint(b.stream(), {m, b.active, b.image("x"), b.image("q"),
                                                               b.scalar(0), b.scalar(1), b.scalar(2)});
                     }});
    cases.push_back({"tv_mixed_forward" + of, false, [=](B& b) {
                       b.table().tv_mixed_forward(b.stream(), {m, b.active, b.image("x"), 0.3, -0.7, 0.2,
                                                               b.image("out"), b.scalar(0)});
                     }});
    cases.push_back({"tv_local" + of, false, [=](B& b) {
                       b.table().tv_local(b.stream(), {m, b.active, b.image("x"), b.scalar(3), 1.7,
                                                       b.scalar(0), b.scalar(1)});
                     }});
  }
}

template <class T>
void add_vector_cases(std::vector<KernelCase<T>>& cases) {
  using B = DeviceBag<T>;
  const auto momentum = [](B& b) {
    return kernels::MomentumArgs<T>{b.active,       b.size, b.image("x"), b.image("previous"),
                                    b.image("out"), 0.3,    0.6};
  };
  const auto state = [](B& b) {
    return kernels::CgState{b.scalar(0),
                            b.scalar(1),
                            b.scalar(2),
                            b.scalar(3),
                            b.scalar(4),
                            b.scalar(5),
                            b.scalar(6),
                            const_cast<std::uint8_t*>(b.active.mask),
                            3};
  };
  cases.push_back({"momentum_step", false, [=](B& b) { b.table().momentum_step(b.stream(), momentum(b)); }});
  cases.push_back({"fista_step", false, [=](B& b) { b.table().fista_step(b.stream(), momentum(b)); }});
  cases.push_back({"guarded_step", false, [=](B& b) {
                     b.table().guarded_step(b.stream(), {momentum(b), 0.2, 0.4, b.scalar(0)});
                   }});
  for (const bool jacobi : {false, true}) {
    const auto inverse = [jacobi](B& b) { return jacobi ? b.weight(0) : nullptr; };
    cases.push_back({"cg_start", false, [=](B& b) {
                       b.table().cg_start(b.stream(),
                                          {b.active, b.size, jacobi ? b.image("q") : nullptr, -1, inverse(b),
                                           jacobi, b.image("x"), b.image("r"), b.image("p"), state(b)});
                     }});
    cases.push_back({"cg_update", false, [=](B& b) {
                       b.table().cg_update(b.stream(), {b.active, b.size, b.image("p"), b.image("q"),
                                                        inverse(b), b.image("x"), b.image("r"), state(b)});
                     }});
    cases.push_back({"cg_direction", false, [=](B& b) {
                       b.table().cg_direction(b.stream(), {b.active, b.size, b.image("r"), inverse(b),
                                                           b.image("p"), b.scalar(3)});
                     }});
    cases.push_back({"combine", false, [=](B& b) {
                       b.table().combine(
                           b.stream(), {b.active, b.size, b.image("x"), jacobi ? b.image("y") : nullptr, 0.5,
                                        -0.25, b.scalar(0), jacobi ? b.scalar(1) : nullptr, b.image("out")});
                     }});
    cases.push_back(
        {"dot", false, [=](B& b) {
           b.table().dot(b.stream(), {b.active, b.size, b.image("x"), b.image("y"), jacobi, b.scalar(0)});
         }});
  }
  cases.push_back({"residual", false, [=](B& b) {
                     b.table().residual(b.stream(),
                                        {b.active, b.size, b.image("q"), b.image("p"), b.image("x"),
                                         b.image("r"), b.scalar(0), b.scalar(1), b.scalar(2)});
                   }});
  cases.push_back({"fill", true, [=](B& b) {
                     b.table().fill(b.stream(), b.image("out"), b.size * static_cast<std::size_t>(b.n),
                                    T(0.75));
                   }});
  cases.push_back({"lbfgs_trial", false, [=](B& b) {
                     b.table().lbfgs_trial(b.stream(), {b.active, b.size, b.image("y"), b.image("p"),
                                                        b.image("x"), b.states()});
                   }});
  cases.push_back({"lbfgs_search", false, [=](B& b) {
                     b.table().lbfgs_search(b.stream(),
                                            {b.active, b.size, b.image("q"), b.image("p"), b.scalar(0), 1e-12,
                                             b.states(), b.flag(0), b.flag(1)});
                   }});
  cases.push_back({"lbfgs_update", false, [=](B& b) {
                     b.table().lbfgs_update(b.stream(), {b.active, b.size, b.n, b.image("x"), b.image("q"),
                                                         b.image("y"), b.image("p"), b.image("s_pairs"),
                                                         b.image("y_pairs"), 1e-3, b.states()});
                   }});
  cases.push_back({"lbfgs_direction", false, [=](B& b) {
                     b.table().lbfgs_direction(
                         b.stream(),
                         {b.active, b.size, b.n, b.image("q"), b.image("s_pairs"), b.image("y_pairs"),
                          b.image("out"), 0.5, b.states(), b.flag(0), b.flag(1)});
                   }});
}

template <class T>
void add_decision_cases(std::vector<KernelCase<T>>& cases) {
  using B = DeviceBag<T>;
  for (const bool joint : {false, true}) {
    cases.push_back({"certify", joint, [=](B& b) {
                       b.decisions().certify(
                           b.stream(), {b.active, b.scalar(0), b.scalar(1), 0.5, b.scalar(2), joint, b.n,
                                        b.scalar(3), b.scalar(4), b.scalar(5), b.flag(0)});
                     }});
    cases.push_back({"newton_begin", false, [=](B& b) {
                       b.decisions().newton_begin(b.stream(), {b.active, b.scalar(0), b.scalar(1), 0.5, 0.1,
                                                               0.7, joint, b.scalar(2), b.scalar(3)});
                     }});
    cases.push_back({"progress", true, [=](B& b) {
                       b.decisions().progress(b.stream(),
                                              {b.active, joint, b.n, b.scalar(0), b.scalar(1), b.shared(0),
                                               joint ? 2.5 : 0.0, b.scalar(2), b.flag(0)});
                     }});
    cases.push_back({"stall", true, [=](B& b) {
                       b.decisions().stall(
                           b.stream(), {b.active, joint, b.n, b.scalar(0), b.scalar(1), b.scalar(2),
                                        b.scalar(3), b.scalar(4), 1e-7, b.scalar(5), b.scalar(6), b.flag(0)});
                     }});
  }
  cases.push_back({"newton_decide", false, [=](B& b) {
                     b.decisions().newton_decide(
                         b.stream(), {b.active, b.scalar(0), b.scalar(1), b.scalar(2), b.scalar(3),
                                      b.scalar(4), b.scalar(5), b.scalar(6), 1e-12, b.scalar(7), b.scalar(8),
                                      20, b.flag(0), b.flag(1), b.scalar(9)});
                   }});
  cases.push_back({"residual_rounding", false, [=](B& b) {
                     b.decisions().residual_rounding(
                         b.stream(), {b.active, b.scalar(0), b.scalar(1), 1e-8, 10, b.scalar(2)});
                   }});
  cases.push_back({"lbfgs_start", true, [=](B& b) {
                     b.decisions().lbfgs_start(
                         b.stream(), {b.n, b.flag(0), b.scalar(0), b.states(), b.flag(1), b.flag(2)});
                   }});
  cases.push_back({"compact", true, [=](B& b) {
                     b.decisions().compact(b.stream(), b.mask.view().device_data(),
                                           b.index.view().device_data(), b.n, b.shared(0));
                   }});
  cases.push_back({"reset", true, [=](B& b) {
                     b.decisions().reset(b.stream(), b.mask.view().device_data(),
                                         b.index.view().device_data(), b.n);
                   }});
}

/// Every kernel of the tables in its variants. The assertions below fail when a kernel is added without a
/// case.
template <class T>
std::vector<KernelCase<T>> kernel_cases(int height, int width) {
  static_assert(sizeof(kernels::Table<T>) == 22 * sizeof(void (*)()));
  static_assert(sizeof(kernels::ScalarTable) == 9 * sizeof(void (*)()));
  std::vector<KernelCase<T>> cases;
  add_tv_cases(cases, height, width);
  add_vector_cases(cases);
  add_decision_cases(cases);
  return cases;
}

/// Launches a case on a fresh copy of the bag and returns the bag afterwards, mask and index included.
template <class T>
Bag run_case(const KernelCase<T>& kernel, const Bag& bag, const std::string& device) {
  Context context(Device::open(device));
  DeviceBag<T> on_device(context, bag);
  kernel.launch(on_device);
  Bag result = bag;
  for (std::size_t k = 0; k < bag.buffers.size(); ++k)
    result.buffers[k].content = download(context, on_device.tensors[k]);
  result.mask = download(context, on_device.mask);
  result.index = download(context, on_device.index);
  return result;
}

}  // namespace bilevel::testing_support
