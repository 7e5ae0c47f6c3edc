#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/experts_args.hpp"
#include "tests/kernels/kernel_bag.hpp"

namespace bilevel::testing_support {

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
    for (const bool after : {false, true}) {  // of terms that are complete
      add("experts_energy", [=](B& b) {
        b.table().experts_energy(
            b.stream(), {model(b), b.active, b.image("x"), after ? nullptr : b.image("y"), b.image("out"),
                         b.scalar(0), b.scalar(1), b.scalar(2), 1e-8, 60, b.shared(0)});
      });
      add("experts_linearise", [=](B& b) {
        b.table().experts_linearise(
            b.stream(), {model(b), b.active, b.image("x"), dual ? b.dual_maps() : nullptr, b.maps(),
                         after ? nullptr : b.weight(3)});
      });
      add("experts_hessian", [=](B& b) {
        b.table().experts_hessian(
            b.stream(), {model(b), b.active, b.maps(), b.image("p"), b.image("out"), b.scalar(0), after});
      });
      add("experts_mixed_forward", [=](B& b) {
        b.table().experts_mixed_forward(
            b.stream(), {model(b), b.active, b.image("x"), b.experts(other), b.experts(directions),
                         b.experts(directions + expert_filters), b.image("out"), b.scalar(0), after});
      });
    }
    for (const bool moved : {false, true})
      add("experts_dual", [=](B& b) {
        b.table().experts_dual(b.stream(), {model(b), b.active, b.image("x"), moved ? b.image("p") : nullptr,
                                            moved ? b.scalar(3) : nullptr, b.dual_maps()});
      });
    add("experts_mixed_adjoint", [=](B& b) {
      b.table().experts_mixed_adjoint(b.stream(),
                                      {model(b), b.active, b.image("x"), b.image("q"), b.expert_sums(), b.n});
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

}  // namespace bilevel::testing_support
