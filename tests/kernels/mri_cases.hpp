#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/spectrum_args.hpp"
#include "tests/kernels/kernel_bag.hpp"

namespace bilevel::testing_support {

/// Real and complex images: their arrays in the bag.
template <class T>
struct JointArrays {
  int components;

  T* image(DeviceBag<T>& b, const std::string& name) const {
    return b.image(components == 2 ? "complex_" + name : name);
  }
  float* dual(DeviceBag<T>& b) const {
    return components == 2 ? reinterpret_cast<float*>(b.raw("joint_dual")) : b.dual(0);
  }
  T* weights(DeviceBag<T>& b) const { return b.image(components == 2 ? "joint_weights" : "s_pairs"); }
};

template <class T>
void add_joint_tv_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  for (int kind = 0; kind < 4; ++kind) {
    const bool huber = kind >= 2, several = kind % 2 == 1;
    const int components = kind % 2 + 1, coils = components;
    const JointArrays<T> of{components};
    const kernels::TvModel m{height, width, static_cast<kernels::Potential>(huber), true, 0.3, 0.05, 0.01};
    const auto add = [&](const std::string& name, const std::function<void(B&)>& launch) {
      cases.push_back(
          {name + (huber ? " huber_c2" : " charbonnier") + (several ? " complex" : " real"), false, launch});
    };
    add("joint_tv_gradient", [=](B& b) {
      b.table().joint_tv_gradient(b.stream(),
                                  {m, components, b.active, of.image(b, "x"), of.image(b, "out"), b.scalar(0),
                                   b.scalar(1), b.scalar(2), 1e-8, b.scalar(3), coils, b.n, 60, 1.5, 1.2});
    });
    for (const bool exact : {false, true})
      add("joint_tv_linearise", [=](B& b) {
        b.table().joint_tv_linearise(
            b.stream(), {m, components, b.active, b.n, of.image(b, "x"), exact ? nullptr : of.dual(b),
                         of.weights(b), of.image(b, "out"), 0.7, several ? b.image("sampling") : nullptr});
      });
    add("joint_tv_hessian", [=](B& b) {
      b.table().joint_tv_hessian(b.stream(), {m, components, b.active, b.n, of.weights(b), of.image(b, "x"),
                                              of.image(b, "out"), b.scalar(0)});
    });
    for (const bool moved : {false, true})
      add("joint_tv_dual", [=](B& b) {
        b.table().joint_tv_dual(
            b.stream(), {m, components, b.active, b.n, of.image(b, "x"), moved ? of.image(b, "q") : nullptr,
                         moved ? b.scalar(3) : nullptr, of.dual(b)});
      });
    add("joint_tv_mixed_adjoint", [=](B& b) {
      b.table().joint_tv_mixed_adjoint(b.stream(), {m, components, b.active, of.image(b, "x"),
                                                    of.image(b, "q"), b.scalar(0), b.scalar(1), b.scalar(2)});
    });
    add("joint_tv_mixed_forward", [=](B& b) {
      b.table().joint_tv_mixed_forward(b.stream(), {m, components, b.active, of.image(b, "x"), 0.3, -0.7, 0.2,
                                                    of.image(b, "out"), b.scalar(0)});
    });
    for (const bool both : {false, true})
      add("joint_tv_bound", [=](B& b) {
        b.table().joint_tv_bound(b.stream(), {m, components, b.active, of.image(b, "x"), of.image(b, "q"),
                                              both ? of.image(b, "v") : nullptr, b.scalar(15), b.scalar(15),
                                              0.01, 1.7, 8, b.scalar(0), b.n});
      });
  }
}

/// Whole spectra of two coils, row by row, and half spectra of one, row by row and column by column: of
/// images twice as wide, of odd and of even width, so that every spectrum has H W coefficients.
template <class T>
void add_coefficient_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  const struct {
    const char* name;
    bool pair, by_column;
  } kinds[] = {{" whole", false, false}, {" half by row", true, false}, {" half by column", true, true}};
  for (const auto& kind : kinds) {
    const bool pair = kind.pair, by_column = kind.by_column;
    const int full = !pair ? width : by_column ? 2 * width - 1 : 2 * width - 2 + (width == 1);
    const auto shape = [=](const B& b) {
      return kernels::SpectrumShape{b.n, pair ? 1 : 2, height, width, full, pair, by_column};
    };
    using kernels::SpectrumPass;
    for (const auto pass :
         {SpectrumPass::gradient, SpectrumPass::weigh, SpectrumPass::normal, SpectrumPass::dual})
      cases.push_back({std::string("spectrum") + kind.name, false, [=](B& b) {
                         b.table().spectrum(b.stream(),
                                            {pass, shape(b), b.active, 0.3, b.image("sensitivities"),
                                             b.image("coils_data"), b.image(pair ? "complex_x" : "coils_x"),
                                             b.scalar(0), 0.4, b.image("coils_out")});
                       }});
    for (const bool powers : {false, true})
      cases.push_back({std::string("spectrum_mixed") + kind.name, false, [=](B& b) {
                         b.table().spectrum_mixed(
                             b.stream(),
                             {shape(b), b.active, powers, 0.3, b.image(pair ? "complex_x" : "coils_x"),
                              b.image(pair ? "complex_q" : "coils_q"), b.image("coils_data"),
                              reinterpret_cast<double*>(b.raw("frequency_sums"))});
                       }});
  }
}

template <class T>
void add_spectrum_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  add_coefficient_cases(cases, height, width);
  for (const int components : {1, 2}) {
    const int coils = components;
    const std::string of = components == 2 ? " complex" : " real";
    const auto add = [&](const std::string& name, const std::function<void(B&)>& launch) {
      cases.push_back({name + of, false, launch});
    };
    add("pack", [=](B& b) {
      b.table().pack(b.stream(),
                     {b.active, b.n, coils, components, b.size, 1, b.image(components == 2 ? "coils_x" : "x"),
                      b.image(components == 2 ? "coils_out" : "complex_out")});
    });
    add("unpack", [=](B& b) {
      b.table().unpack(b.stream(), {b.active, b.n, coils, components, b.size, 0.3,
                                    b.image(components == 2 ? "coils_x" : "complex_x"),
                                    b.image(components == 2 ? "coils_out" : "out")});
    });
    const JointArrays<T> image{components};
    add("coil_expand", [=](B& b) {
      b.table().coil_expand(b.stream(), {b.active, b.n, 2, components, b.size, b.image("sensitivities"),
                                         image.image(b, "x"), b.image("coils_out")});
    });
    add("coil_combine", [=](B& b) {
      b.table().coil_combine(b.stream(), {b.active, b.n, 2, components, b.size, b.image("sensitivities"),
                                          b.image("coils_x"), image.image(b, "out")});
    });
  }
  cases.push_back({"scale_spectra", false, [](B& b) {
                     b.table().scale_spectra(
                         b.stream(), {2 * b.n, b.size, 0.3, b.image("sensitivities"), b.image("coils_x")});
                   }});
}

}  // namespace bilevel::testing_support
