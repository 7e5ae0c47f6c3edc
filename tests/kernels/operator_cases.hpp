#pragma once

#include <string>
#include <vector>

#include "kernels/blur_args.hpp"
#include "kernels/join_args.hpp"
#include "kernels/loss_args.hpp"
#include "kernels/projected_args.hpp"
#include "kernels/scores_args.hpp"
#include "kernels/wavelet_args.hpp"
#include "tests/kernels/mri_cases.hpp"

namespace bilevel::testing_support {

/// One level of a wavelet transform of an image of twice the sides, or of two signals twice as long as an
/// image has pixels, so that sides are even.
template <class T>
void add_wavelet_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  for (const int taps : {2, 4, 8})
    for (const bool flat : {false, true})
      for (const bool keep : {true, false}) {
        const int size = height * width;
        const auto level = [=](B& b) {
          kernels::WaveletLevel l{b.active, taps};
          l.channels = flat ? 2 : 1;
          l.height = flat ? 1 : 2 * height;
          l.width = l.pitch = flat ? 2 * size : 2 * width;
          l.plane = static_cast<std::size_t>(l.height) * static_cast<std::size_t>(l.width);
          l.coarse_pitch = flat ? size : width;
          l.coarse_plane = static_cast<std::size_t>(size);
          l.keep_approximation = keep;
          return l;
        };
        const char *coarse_in = flat ? "complex_x" : "x", *coarse_out = flat ? "complex_out" : "out";
        const std::string of = " of " + std::to_string(taps) + " taps" + (flat ? ", flat" : "");
        cases.push_back({"wavelet_analyse" + of, false, [=](B& b) {
                           b.table().wavelet_analyse(b.stream(), {level(b), b.image("coils_x"),
                                                                  b.image(coarse_out), b.image("coils_out")});
                         }});
        cases.push_back({"wavelet_synthesise" + of, false, [=](B& b) {
                           b.table().wavelet_synthesise(
                               b.stream(),
                               {level(b), b.image(coarse_in), b.image("coils_x"), b.image("coils_out")});
                         }});
        cases.push_back({"diagonal of a wavelet" + of, false, [=](B& b) {
                           b.table().wavelet_synthesise(
                               b.stream(), {level(b), b.image(coarse_in), b.image("coils_x"), nullptr, true,
                                            true, b.image("coils_out")});
                         }});
      }
}

/// On all of an image, and with weights on the first of two channels.
template <class T>
void add_loss_cases(std::vector<KernelCase<T>>& cases) {
  using B = DeviceBag<T>;
  for (const bool part : {false, true}) {
    const char *x = part ? "complex_x" : "x", *out = part ? "complex_out" : "out";
    const std::size_t channels = part ? 2 : 1;
    const auto weight = [part](B& b) { return part ? b.image("sampling") : nullptr; };
    cases.push_back({"misfit", false, [=](B& b) {
                       b.table().misfit(b.stream(), {b.active, b.size, channels * b.size, b.image(x),
                                                     b.image("y"), weight(b), b.scalar(0)});
                     }});
    cases.push_back({"misfit_gradient", false, [=](B& b) {
                       b.table().misfit_gradient(
                           b.stream(), {b.active, b.size, channels * b.size, 0.5, b.image(x), b.image("y"),
                                        weight(b), b.image(out)});
                     }});
  }
}

/// Of one class and of three, with weights and without.
template <class T>
void add_score_cases(std::vector<KernelCase<T>>& cases) {
  using B = DeviceBag<T>;
  for (const int classes : {1, 3})
    for (const bool weighted : {false, true}) {
      const ChannelArrays<T> scores{classes};
      const auto shape = [classes](B& b) {
        return kernels::ScoreShape{b.active, classes, static_cast<int>(b.size)};
      };
      const auto weight = [weighted](B& b) {
        return weighted ? b.template as<double>("sample_weights") : nullptr;
      };
      const std::string of = " of " + std::to_string(classes) + (weighted ? " weighted" : "");
      cases.push_back({"score_gradient" + of, false, [=](B& b) {
                         b.table().score_gradient(
                             b.stream(),
                             {shape(b), scores.image(b, "x"), b.template as<std::int32_t>("labels"),
                              weight(b), 0.3, scores.image(b, "out"), b.scalar(0)});
                       }});
      cases.push_back({"score_product" + of, false, [=](B& b) {
                         b.table().score_product(b.stream(), {shape(b), scores.image(b, "x"), weight(b), 0.3,
                                                              scores.image(b, "q"), scores.image(b, "out")});
                       }});
      if (weighted) continue;
      cases.push_back({"score_probability" + of, false, [=](B& b) {
                         b.table().score_probability(
                             b.stream(), {shape(b), scores.image(b, "x"), scores.image(b, "out")});
                       }});
      cases.push_back({"score_mixed" + of, false, [=](B& b) {
                         b.table().score_mixed(
                             b.stream(),
                             {shape(b), b.n, scores.image(b, "x"), b.template as<std::int32_t>("labels"), 0.3,
                              scores.image(b, "q"), b.template as<double>("frequency_sums")});
                       }});
    }
}

template <class T>
void add_operator_cases(std::vector<KernelCase<T>>& cases, int height, int width) {
  using B = DeviceBag<T>;
  add_wavelet_cases(cases, height, width);
  add_loss_cases(cases);
  add_score_cases(cases);
  cases.push_back({"join", false, [](B& b) {
                     b.table().join(b.stream(), {b.active, b.size, b.image("x"), b.image("q"), b.image("out"),
                                                 b.scalar(0), b.scalar(1), b.scalar(2), b.scalar(3),
                                                 b.scalar(4), b.scalar(5), 1e-8, 0.3, 5, 1.5});
                   }});
  cases.push_back(
      {"add_diagonal", false, [](B& b) {
         b.table().add_diagonal(b.stream(), {b.active, b.size, b.image("sampling"), b.image("weights")});
       }});
  for (const int channels : {1, 2}) {
    const ChannelArrays<T> image{channels}, components{2 * channels};
    const std::string of = channels == 2 ? " complex" : " real";
    cases.push_back({"projected_forward" + of, false, [=](B& b) {
                       b.table().projected_forward(b.stream(),
                                                   {b.active, channels, height, width, b.image("complex_y"),
                                                    image.image(b, "x"), components.image(b, "out")});
                     }});
    cases.push_back({"projected_adjoint" + of, false, [=](B& b) {
                       b.table().projected_adjoint(b.stream(),
                                                   {b.active, channels, height, width, b.image("complex_y"),
                                                    components.image(b, "q"), image.image(b, "out")});
                     }});
  }
  for (const bool even : {true, false}) {
    cases.push_back({"torus_extend", false, [=](B& b) {
                       b.table().torus_extend(b.stream(), {{b.active.mask, b.active.index, 1},
                                                           b.active.mask,
                                                           b.n,
                                                           1,
                                                           height,
                                                           width,
                                                           even,
                                                           b.image("x"),
                                                           b.image("coils_out")});
                     }});
    cases.push_back({"torus_fold", false, [=](B& b) {
                       b.table().torus_fold(b.stream(), {b.active, 1, height, width, even, b.image("coils_x"),
                                                         b.image("out")});
                     }});
  }
}

}  // namespace bilevel::testing_support
