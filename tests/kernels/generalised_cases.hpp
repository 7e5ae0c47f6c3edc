#pragma once

#include <string>
#include <vector>

#include "kernels/join_args.hpp"
#include "tests/kernels/kernel_bag.hpp"

namespace bilevel::testing_support {

/// Every kernel of total generalised variation of an unknown of 3 or 6 channels: of one channel of x
/// denoising with a mask or without, else beside another data term.
template <class T>
void add_generalised_cases(std::vector<KernelCase<T>>& cases, const kernels::AnalysisModel& m,
                           const std::string& of_model) {
  using B = DeviceBag<T>;
  const std::string prefix = m.channels == 2 ? "joint6_" : "joint3_";
  const auto of = [=](B& b, const char* name) { return b.image(prefix + name); };
  const auto dual_of = [=](B& b) { return reinterpret_cast<float*>(b.raw(prefix + "dual")); };
  using Kernels = kernels::AnalysisKernels<T>;
  const auto add = [&](const std::string& name, auto launch) {
    cases.push_back(
        {name + of_model, false, [=](B& b) { launch(b, b.table().analysis[static_cast<int>(m.stencil)]); }});
  };
  for (const int data : {0, 1, 2}) {
    if (m.channels == 2 && data < 2) continue;
    const bool beside = data == 2;
    const auto s = [data](B& b) { return data == 1 ? b.image("sampling") : nullptr; };
    add("analysis_gradient", [=](B& b, const Kernels& k) {
      k.gradient(b.stream(),
                 {m, b.active, of(b, "x"), beside ? nullptr : b.image("y"), s(b), of(b, "out"), b.scalar(0),
                  b.scalar(1), b.scalar(2), 1e-8, 0, b.scalar(3), m.channels, b.n, 60, 1.5, 1.2});
    });
    add("analysis_linearise", [=](B& b, const Kernels& k) {
      k.linearise(b.stream(), {m, b.active, b.n, of(b, "x"), data == 1 ? dual_of(b) : nullptr,
                               of(b, "weights"), of(b, "out"), 0.7, s(b)});
    });
    add("analysis_hessian", [=](B& b, const Kernels& k) {
      k.hessian(b.stream(),
                {m, b.active, b.n, of(b, "weights"), of(b, "x"), of(b, "out"), b.scalar(0), beside, s(b)});
    });
    add("analysis_mixed_forward", [=](B& b, const Kernels& k) {
      k.mixed_forward(b.stream(), {m, b.active, of(b, "x"), 0.3, -0.7, 0.2, of(b, "out"), b.scalar(0), beside,
                                   -0.4, 0.6, 0.1});
    });
  }
  for (const bool both : {false, true}) {
    add("analysis_dual", [=](B& b, const Kernels& k) {
      k.dual(b.stream(), {m, b.active, b.n, of(b, "x"), both ? of(b, "q") : nullptr,
                          both ? b.scalar(3) : nullptr, dual_of(b)});
    });
    add("analysis_bound", [=](B& b, const Kernels& k) {
      k.bound(b.stream(), {m, b.active, of(b, "x"), of(b, "q"), both ? of(b, "v") : nullptr, b.scalar(15),
                           b.scalar(15), 0.01, 2, 9, b.expert_sums(), b.n, 1.7, 8});
    });
  }
  add("analysis_mixed_adjoint", [=](B& b, const Kernels& k) {
    k.mixed_adjoint(b.stream(), {m,
                                 b.active,
                                 of(b, "x"),
                                 of(b, "q"),
                                 b.scalar(0),
                                 b.scalar(1),
                                 b.scalar(2),
                                 {b.scalar(3), b.scalar(4), b.scalar(5)}});
  });
  cases.push_back({"part out", false, [=](B& b) {
                     const std::size_t image = static_cast<std::size_t>(m.channels) * b.size;
                     b.table().part(b.stream(), {b.active, image, 3 * image, image, of(b, "x"),
                                                 b.image(m.channels == 2 ? "complex_out" : "out")});
                   }});
  cases.push_back({"part back", false, [=](B& b) {
                     const std::size_t image = static_cast<std::size_t>(m.channels) * b.size;
                     b.table().part(b.stream(), {b.active, image, image, 3 * image,
                                                 b.image(m.channels == 2 ? "complex_x" : "x"), of(b, "out")});
                   }});
}

template <class T>
void add_generalised_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using kernels::Potential;
  for (const Potential potential : {Potential::charbonnier, Potential::huber_c2})
    for (const int channels : {1, 2})
      add_generalised_cases(cases,
                            kernels::AnalysisModel{height, width, potential, kernels::Stencil::generalised,
                                                   0.3, 0.05, 0.01, channels, 0.2, 0.02},
                            std::string(" generalised ") +
                                (potential == Potential::charbonnier ? "charbonnier" : "huber_c2") +
                                (channels == 2 ? " complex" : " real"));
}

}  // namespace bilevel::testing_support
