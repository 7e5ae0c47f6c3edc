#include "apps/bench/cases.hpp"
#include "kernels/blur_args.hpp"
#include "kernels/join_args.hpp"
#include "kernels/projected_args.hpp"
#include "kernels/scores_args.hpp"
#include "kernels/wavelet_args.hpp"

namespace bilevel_app::bench {
namespace {

namespace kernels = bilevel::kernels;

/// The finest level of images with even sides.
template <class T>
kernels::WaveletLevel finest_level(Arrays<T>& a, int taps) {
  kernels::WaveletLevel l;
  l.active = a.active();
  l.taps = taps;
  l.height = l.width = l.pitch = a.size() / 2 * 2;
  l.plane = static_cast<std::size_t>(l.height) * static_cast<std::size_t>(l.width);
  l.coarse_pitch = l.width / 2;
  l.coarse_plane = l.plane / 4;
  return l;
}

template <class T>
void add_wavelet_cases(std::vector<Case<T>>& cases, const char* name, int taps) {
  cases.push_back({"wavelet_analyse", name, 2, 0, 4.0 * taps, [=](Arrays<T>& a) {
                     a.table().wavelet_analyse(a.stream(), {finest_level(a, taps), a.slot(slot_x),
                                                            a.slot(slot_p), a.slot(slot_out)});
                   }});
  cases.push_back({"wavelet_synthesise", name, 2, 0, 4.0 * taps, [=](Arrays<T>& a) {
                     a.table().wavelet_synthesise(a.stream(), {finest_level(a, taps), a.slot(slot_p),
                                                               a.slot(slot_x), a.slot(slot_out)});
                   }});
}

/// An image as scores of four classes.
template <class T>
void add_score_cases(std::vector<Case<T>>& cases) {
  const auto shape = [](Arrays<T>& a) {
    return kernels::ScoreShape{a.active(), 4, static_cast<int>(a.image() / 4)};
  };
  const char* variant = "4 classes";
  cases.push_back({"score_gradient", variant, 2, 0, 0, [=](Arrays<T>& a) {
                     a.table().score_gradient(a.stream(), {shape(a), a.slot(slot_x), a.labels(), nullptr, 1,
                                                           a.slot(slot_out), a.row(0)});
                   }});
  cases.push_back({"score_probability", variant, 2, 0, 0, [=](Arrays<T>& a) {
                     a.table().score_probability(a.stream(), {shape(a), a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back({"score_product", variant, 3, 0, 6, [=](Arrays<T>& a) {
                     a.table().score_product(a.stream(), {shape(a), a.slot(slot_x), nullptr, 1,
                                                          a.slot(slot_p), a.slot(slot_out)});
                   }});
  cases.push_back({"score_mixed", variant, 2 + 2.0 / static_cast<double>(sizeof(T)), 0, 0, [=](Arrays<T>& a) {
                     a.table().score_mixed(a.stream(),
                                           {shape(a), a.n(), a.slot(slot_x), a.labels(), 1, a.slot(slot_p),
                                            reinterpret_cast<double*>(a.slot(slot_pairs_s))});
                   }});
}

}  // namespace

/// Four slots in a row hold the batch on the torus.
template <class T>
void add_operator_cases(std::vector<Case<T>>& cases) {
  add_wavelet_cases(cases, "haar", 2);
  add_wavelet_cases(cases, "db2", 4);
  add_wavelet_cases(cases, "db4", 8);
  add_score_cases(cases);
  cases.push_back({"join", "", 4, 0, 1, [](Arrays<T>& a) {
                     a.table().join(a.stream(),
                                    {a.active(), a.image(), a.slot(slot_x), a.slot(slot_p), a.slot(slot_out),
                                     a.row(0), a.row(1), a.row(2), a.row(constant_zero), a.row(constant_zero),
                                     a.row(constant_zero), 1e-16, 1, 1, 1});
                   }});
  cases.push_back({"part", "", 2, 0, 0, [](Arrays<T>& a) {
                     a.table().part(a.stream(), {a.active(), a.image(), 3 * a.image(), a.image(),
                                                 a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back(
      {"add_diagonal", "", 2, 0, 3, [](Arrays<T>& a) {
         a.table().add_diagonal(a.stream(), {a.active(), a.image(), a.slot(slot_x), a.slot(slot_weights)});
       }});
  cases.push_back({"projected_forward", "", 5, 0, 9, [](Arrays<T>& a) {
                     a.table().projected_forward(
                         a.stream(), {a.active(), 1, a.size(), a.size(), a.slot(slot_pairs_s), a.slot(slot_x),
                                      a.slot(slot_pairs_s + 2)});
                   }});
  cases.push_back({"projected_adjoint", "", 5, 0, 21, [](Arrays<T>& a) {
                     a.table().projected_adjoint(a.stream(),
                                                 {a.active(), 1, a.size(), a.size(), a.slot(slot_pairs_s),
                                                  a.slot(slot_pairs_s + 2), a.slot(slot_out)});
                   }});
  cases.push_back({"torus_extend", "even", 5, 0, 0, [](Arrays<T>& a) {
                     a.table().torus_extend(a.stream(), {{a.active().mask, a.active().index, 1},
                                                         a.active().mask,
                                                         a.n(),
                                                         1,
                                                         a.size(),
                                                         a.size(),
                                                         true,
                                                         a.slot(slot_x),
                                                         a.slot(slot_pairs_s)});
                   }});
  cases.push_back({"torus_fold", "even", 5, 0, 3, [](Arrays<T>& a) {
                     a.table().torus_fold(a.stream(), {a.active(), 1, a.size(), a.size(), true,
                                                       a.slot(slot_pairs_s), a.slot(slot_out)});
                   }});
}

template void add_operator_cases(std::vector<Case<float>>&);
template void add_operator_cases(std::vector<Case<double>>&);

}  // namespace bilevel_app::bench
