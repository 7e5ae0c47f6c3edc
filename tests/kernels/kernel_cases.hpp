#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/kernel_bag.hpp"

namespace bilevel::testing_support {

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

/// The model of a case, its numbers inside the bag.
template <class T>
kernels::ExpertsModel<T> experts_model(DeviceBag<T>& b, int height, int width, int size, bool valid,
                                       bool huber) {
  constexpr int taps = expert_filters * expert_taps;
  return {height,
          width,
          expert_filters,
          size,
          valid ? kernels::Padding::valid : kernels::Padding::symmetric,
          huber ? kernels::Potential::huber_c2 : kernels::Potential::charbonnier,
          T(0.1),
          b.experts(0),
          b.experts(2 * taps),
          b.experts(2 * taps + expert_filters)};
}

template <class T>
void add_experts_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  constexpr int other = expert_filters * expert_taps, directions = 2 * other + 2 * expert_filters;
  const int least = std::min(height, width);
  for (const bool valid : {false, true}) {
    const int largest = valid ? least : 2 * least + 1;  // the radius at most the size of the image
    if (largest < 3) continue;
    const int size = valid ? (largest < 5 ? 3 : 5) : (largest < 7 ? 3 : 7);
    const bool dual = valid;
    const auto model = [=](B& b) { return experts_model<T>(b, height, width, size, valid, valid); };
    const std::string of = valid ? " valid huber_c2" : " symmetric charbonnier";
    const auto add = [&](const std::string& name, const std::function<void(B&)>& launch) {
      cases.push_back({name + of, false, launch});
    };
    add("experts_energy", [=](B& b) {
      b.table().experts_energy(b.stream(), {model(b), b.active, b.image("x"), b.image("y"), b.image("out"),
                                            b.scalar(0), b.scalar(1), b.scalar(2), 1e-8, 60, b.shared(0)});
    });
    add("experts_linearise", [=](B& b) {
      b.table().experts_linearise(b.stream(), {model(b), b.active, b.image("x"),
                                               dual ? b.dual_maps() : nullptr, b.maps(), b.weight(3)});
    });
    add("experts_hessian", [=](B& b) {
      b.table().experts_hessian(b.stream(),
                                {model(b), b.active, b.maps(), b.image("p"), b.image("out"), b.scalar(0)});
    });
    for (const bool moved : {false, true})
      add("experts_dual", [=](B& b) {
        b.table().experts_dual(b.stream(), {model(b), b.active, b.image("x"), moved ? b.image("p") : nullptr,
                                            moved ? b.scalar(3) : nullptr, b.dual_maps()});
      });
    add("experts_mixed_adjoint", [=](B& b) {
      b.table().experts_mixed_adjoint(b.stream(),
                                      {model(b), b.active, b.image("x"), b.image("q"), b.expert_sums(), b.n});
    });
    add("experts_mixed_forward", [=](B& b) {
      b.table().experts_mixed_forward(
          b.stream(), {model(b), b.active, b.image("x"), b.experts(other), b.experts(directions),
                       b.experts(directions + expert_filters), b.image("out"), b.scalar(0)});
    });
    add("experts_patches", [=](B& b) {
      b.table().experts_patches(b.stream(), {model(b), b.active, b.image("x"), valid, b.image("out")});
    });
    add("experts_bound", [=](B& b) {
      b.table().experts_bound(
          b.stream(),
          {model(b), b.active, b.image("x"), b.image("q"), valid ? b.image("v") : nullptr, b.weight(0),
           b.weight(1), b.scalar(14), b.scalar(15), 0.01, 8, b.shared(0), b.expert_sums(), b.n});
    });
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
  cases.push_back({"fma_loop", false, [=](B& b) {
                     b.table().fma_loop(b.stream(), {b.active, b.size, 5, 0.75, 0.25, b.image("x")});
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
                     b.decisions().compact(b.stream(),
                                           {b.mask.view().device_data(), b.index.view().device_data(), b.n,
                                            b.scalar(0), b.shared(0)});
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
  static_assert(sizeof(kernels::Table<T>) == 31 * sizeof(void (*)()));
  static_assert(sizeof(kernels::ScalarTable) == 9 * sizeof(void (*)()));
  std::vector<KernelCase<T>> cases;
  add_tv_cases(cases, height, width);
  add_experts_cases(cases, height, width);
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
