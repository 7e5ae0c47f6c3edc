#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/analysis_args.hpp"
#include "kernels/decision_args.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/precision_args.hpp"
#include "kernels/probe_args.hpp"
#include "tests/kernels/experts_cases.hpp"
#include "tests/kernels/generalised_cases.hpp"
#include "tests/kernels/mri_cases.hpp"
#include "tests/kernels/operator_cases.hpp"

namespace bilevel::testing_support {

/// Every kernel of a stencil, denoising (with a mask or without) or beside another data term.
template <class T>
void add_analysis_cases(std::vector<KernelCase<T>>& cases, const kernels::AnalysisModel& m,
                        const std::string& of_model) {
  using B = DeviceBag<T>;
  const ChannelArrays<T> of{m.channels};
  const auto add = [&](const std::string& name, auto launch) {
    cases.push_back(
        {name + of_model, false, [=](B& b) { launch(b, b.table().analysis[static_cast<int>(m.stencil)]); }});
  };
  using Kernels = kernels::AnalysisKernels<T>;
  for (const int data : {0, 1, 2, 3}) {         // 3: after terms that are complete
    if (m.channels > 1 && data == 0) continue;  // several channels with a mask, or beside another data term
    const auto s = [data](B& b) { return data == 1 ? b.image("sampling") : nullptr; };
    const bool beside = data >= 2, after = data == 3;
    add("analysis_gradient", [=](B& b, const Kernels& k) {
      k.gradient(b.stream(), {m, b.active, of.image(b, "x"), beside ? nullptr : of.image(b, "q"), s(b),
                              of.image(b, "out"), b.scalar(0), b.scalar(1), b.scalar(2), 1e-8, 0,
                              after ? nullptr : b.scalar(3), m.channels, b.n, 60, 1.5, 1.2});
    });
    add("analysis_linearise", [=](B& b, const Kernels& k) {
      k.linearise(b.stream(),
                  {m, b.active, b.n, of.image(b, "x"), data == 1 ? of.dual(b) : nullptr, of.weights(b),
                   of.image(b, "out"), 0.7, s(b), after ? of.image(b, "v") : nullptr});
    });
    add("analysis_hessian", [=](B& b, const Kernels& k) {
      k.hessian(b.stream(), {m, b.active, b.n, of.weights(b), of.image(b, "x"), of.image(b, "out"),
                             b.scalar(0), beside, s(b)});
    });
    add("analysis_mixed_forward", [=](B& b, const Kernels& k) {
      k.mixed_forward(b.stream(), {m, b.active, of.image(b, "x"), 0.3, -0.7, 0.2, of.image(b, "out"),
                                   b.scalar(0), beside});
    });
    add("pdhg_primal", [=](B& b, const Kernels& k) {
      k.pdhg_primal(b.stream(), {m, b.active, b.n, of.weights(b), of.image(b, "v"), s(b), 1, 1, 0.3, 0.9,
                                 of.image(b, "x"), of.image(b, "out")});
    });
  }
  for (const bool both : {false, true}) {
    add("analysis_dual", [=](B& b, const Kernels& k) {
      k.dual(b.stream(), {m, b.active, b.n, of.image(b, "x"), both ? of.image(b, "q") : nullptr,
                          both ? b.scalar(3) : nullptr, of.dual(b)});
    });
    add("analysis_bound", [=](B& b, const Kernels& k) {
      k.bound(b.stream(), {m, b.active, of.image(b, "x"), of.image(b, "q"), both ? of.image(b, "v") : nullptr,
                           b.scalar(15), b.scalar(15), 0.01, 1.7, 8, b.scalar(0), b.n});
    });
    add("pdhg_dual", [=](B& b, const Kernels& k) {
      k.pdhg_dual(b.stream(), {m, b.active, b.n, of.image(b, "x"), both ? 0.7 : 0.0, of.weights(b)});
    });
  }
  add("analysis_mixed_adjoint", [=](B& b, const Kernels& k) {
    k.mixed_adjoint(b.stream(),
                    {m, b.active, of.image(b, "x"), of.image(b, "q"), b.scalar(0), b.scalar(1), b.scalar(2)});
  });
}

template <class T>
void add_analysis_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using kernels::Potential;
  using kernels::Stencil;
  const struct {
    Stencil stencil;
    Potential potential;
    const char* name;
  } kinds[] = {{Stencil::gradient, Potential::charbonnier, " charbonnier"},
               {Stencil::gradient, Potential::huber_c2, " huber_c2"},
               {Stencil::gradient, Potential::quadratic, " quadratic"},
               {Stencil::gradient_separate, Potential::charbonnier, " separate charbonnier"},
               {Stencil::gradient_separate, Potential::huber_c2, " separate huber_c2"},
               {Stencil::second, Potential::charbonnier, " second charbonnier"},
               {Stencil::second, Potential::huber_c2, " second huber_c2"},
               {Stencil::identity, Potential::charbonnier, " identity charbonnier"},
               {Stencil::identity, Potential::huber_c2, " identity huber_c2"},
               {Stencil::identity, Potential::quadratic, " identity quadratic"}};
  for (const auto& kind : kinds)
    for (const auto& [channels, name] :
         {std::pair{1, " real"}, {2, " complex"}, {3, " colour"}, {4, " fourfold"}})
      if (kernels::takes(kind.stencil, channels))
        add_analysis_cases(
            cases,
            kernels::AnalysisModel{height, width, kind.potential, kind.stencil, 0.3, 0.05, 0.01, channels},
            kind.name + std::string(name));
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
  cases.push_back({"restart_step", false, [=](B& b) {
                     b.table().restart_step(b.stream(), {b.active, b.size, b.image("x"), b.image("previous"),
                                                         b.image("out"), 0.3, 0.1, b.scalar(0), b.scalar(1)});
                   }});
  cases.push_back(
      {"restart", false, [=](B& b) {
         b.table().restart(b.stream(), {b.active, b.size, b.image("x"), b.image("previous"), b.scalar(0)});
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
  cases.push_back({"sort", true, [=](B& b) {
                     auto* index = b.template as<std::int32_t>("dual");
                     const auto count = static_cast<std::int32_t>(b.size) * b.n;
                     b.decisions().sort(b.stream(), {b.wide(), index, count, B::scratch, &b.context.impl()});
                   }});
}

template <class T>
void add_precision_cases(std::vector<KernelCase<T>>& cases) {
  using B = DeviceBag<T>;
  for (const double dither : {0.0, 1e-3})
    cases.push_back({"narrow", false, [=](B& b) {
                       b.decisions().narrow(b.stream(), {b.active, b.size, b.wide(), dither, b.dual(0)});
                     }});
  for (const bool add : {false, true})
    cases.push_back({"widen", false, [=](B& b) {
                       b.decisions().widen(b.stream(), {b.active, b.size, b.dual(0), add, b.wide()});
                     }});
  cases.push_back({"distance", false, [=](B& b) {
                     b.decisions().distance(b.stream(), {b.active, b.size, b.wide(), b.dual(1), b.scalar(0)});
                   }});
}

/// Every kernel of the tables in its variants. The assertions below fail when a kernel is added without a
/// case. The passes of a CPU inside its Fourier transforms are no launches: tests/core/fft_test.cpp has them.
template <class T>
std::vector<KernelCase<T>> kernel_cases(int height, int width) {
  static_assert(sizeof(kernels::Table<T>) - sizeof(kernels::HostPasses<T>) == 92 * sizeof(void (*)()));
  static_assert(sizeof(kernels::ScalarTable) == 13 * sizeof(void (*)()));
  std::vector<KernelCase<T>> cases;
  add_analysis_cases(cases, height, width);
  add_generalised_cases(cases, height, width);
  add_experts_cases(cases, height, width);
  add_spectrum_cases(cases, height, width);
  add_operator_cases(cases, height, width);
  add_vector_cases(cases);
  add_decision_cases(cases);
  add_precision_cases(cases);
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
    if (on_device.tensors[k].view()) result.buffers[k].content = download(context, on_device.tensors[k]);
  result.mask = download(context, on_device.mask);
  result.index = download(context, on_device.index);
  return result;
}

}  // namespace bilevel::testing_support
