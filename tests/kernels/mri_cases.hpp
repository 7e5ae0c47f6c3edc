#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/spectrum_args.hpp"
#include "tests/kernels/kernel_bag.hpp"

namespace bilevel::testing_support {

/// Images of one to four channels: their arrays in the bag.
template <class T>
struct ChannelArrays {
  int channels;

  std::string prefix() const { return channels == 4 ? "fourfold_" : channels == 3 ? "joint3_" : "joint_"; }
  T* image(DeviceBag<T>& b, const std::string& name) const {
    return b.image(channels == 1 ? name : (channels == 2 ? "complex_" : prefix()) + name);
  }
  float* dual(DeviceBag<T>& b) const {
    return channels == 1 ? b.dual(0) : reinterpret_cast<float*>(b.raw(prefix() + "dual"));
  }
  T* weights(DeviceBag<T>& b) const { return b.image(channels == 1 ? "s_pairs" : prefix() + "weights"); }
};

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
    for (const bool conjugate : {false, true})
      cases.push_back({std::string("spectrum multiply") + kind.name, false, [=](B& b) {
                         kernels::SpectrumArgs<T> a{SpectrumPass::multiply, shape(b), b.active, 0.3};
                         a.data = b.image("sensitivities");
                         a.x = b.image(pair ? "complex_x" : "coils_x");
                         a.conjugate = conjugate;
                         b.table().spectrum(b.stream(), a);
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
    const ChannelArrays<T> image{components};
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
