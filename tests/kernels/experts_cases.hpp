#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/experts_args.hpp"
#include "tests/kernels/mri_cases.hpp"

namespace bilevel::testing_support {

/// The model of a case, its numbers inside the bag.
template <class T>
kernels::ExpertsModel<T> experts_model(DeviceBag<T>& b, int height, int width, int size, bool valid,
                                       bool huber, int channels) {
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
          b.experts(2 * taps + expert_filters),
          channels};
}

template <class T>
void add_experts_cases(std::vector<KernelCase<T>>& cases, int height, int width, bool valid, int size,
                       int channels) {
  using B = DeviceBag<T>;
  constexpr int other = expert_filters * expert_taps, directions = 2 * other + 2 * expert_filters;
  const ChannelArrays<T> of{channels};
  const auto model = [=](B& b) { return experts_model<T>(b, height, width, size, valid, valid, channels); };
  const auto add = [&](const std::string& name, const std::function<void(B&)>& launch) {
    cases.push_back({name + (valid ? " valid huber_c2" : " symmetric charbonnier") +
                         (channels == 2 ? " complex" : " real"),
                     false, launch});
  };
  for (const int data : {0, 1, 2}) {  // 1: with a mask, 2: after terms that are complete
    if (channels == 2 && data == 0) continue;
    const auto s = [data](B& b) { return data == 1 ? b.image("sampling") : nullptr; };
    const bool after = data == 2;
    add("experts_energy", [=](B& b) {
      b.table().experts_energy(
          b.stream(),
          {model(b), b.active, of.image(b, "x"), after ? nullptr : of.image(b, "y"), of.image(b, "out"),
           b.scalar(0), b.scalar(1), b.scalar(2), 1e-8, 60, b.shared(0), 0, s(b)});
    });
    add("experts_hessian", [=](B& b) {
      b.table().experts_hessian(b.stream(), {model(b), b.active, of.image(b, "maps"), of.image(b, "p"),
                                             of.image(b, "out"), b.scalar(0), after, s(b)});
    });
  }
  for (const bool after : {false, true}) {
    add("experts_linearise", [=](B& b) {
      b.table().experts_linearise(
          b.stream(), {model(b), b.active, of.image(b, "x"), valid ? b.dual_maps(channels) : nullptr,
                       of.image(b, "maps"), after ? nullptr : of.image(b, "out")});
    });
    add("experts_mixed_forward", [=](B& b) {
      b.table().experts_mixed_forward(
          b.stream(), {model(b), b.active, of.image(b, "x"), b.experts(other), b.experts(directions),
                       b.experts(directions + expert_filters), of.image(b, "out"), b.scalar(0), after});
    });
  }
  for (const bool moved : {false, true})
    add("experts_dual", [=](B& b) {
      b.table().experts_dual(b.stream(),
                             {model(b), b.active, of.image(b, "x"), moved ? of.image(b, "p") : nullptr,
                              moved ? b.scalar(3) : nullptr, b.dual_maps(channels)});
    });
  add("experts_mixed_adjoint", [=](B& b) {
    b.table().experts_mixed_adjoint(
        b.stream(), {model(b), b.active, of.image(b, "x"), of.image(b, "q"), b.expert_sums(), b.n});
  });
  add("experts_patches", [=](B& b) {
    b.table().experts_patches(b.stream(), {model(b), b.active, of.image(b, "x"), valid, of.image(b, "out")});
  });
  add("experts_bound", [=](B& b) {
    b.table().experts_bound(
        b.stream(), {model(b), b.active, of.image(b, "x"), of.image(b, "q"),
                     valid ? of.image(b, "v") : nullptr, of.image(b, "p"), of.image(b, "y"), b.scalar(14),
                     b.scalar(15), 0.01, 8, b.shared(0), b.expert_sums(), b.n});
  });
}

template <class T>
void add_experts_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  const int least = std::min(height, width);
  for (const bool valid : {false, true}) {
    const int largest = valid ? least : 2 * least + 1;  // the radius at most the size of the image
    if (largest < 3) continue;
    const int size = valid ? (largest < 5 ? 3 : 5) : (largest < 7 ? 3 : 7);
    for (const int channels : {1, 2}) add_experts_cases(cases, height, width, valid, size, channels);
  }
}

}  // namespace bilevel::testing_support
