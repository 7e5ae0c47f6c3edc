#include "apps/bench/cases.hpp"
#include "kernels/spectrum_args.hpp"

namespace bilevel_app::bench {
namespace {

namespace kernels = bilevel::kernels;
using kernels::SpectrumPass;

/// Two slots in a row hold a batch of complex images.
constexpr int complex_image = 2;

/// One coil. Half spectra [H][W/2+1] of real images, row by row as on a GPU, have about half a coefficient
/// per pixel.
template <class T>
kernels::SpectrumShape spectra(const Arrays<T>& a, bool half) {
  return {a.n(), 1, a.size(), half ? a.size() / 2 + 1 : a.size(), a.size(), half, false};
}

template <class T>
void add_spectrum_cases(std::vector<Case<T>>& cases) {
  const struct {
    const char* name;
    SpectrumPass pass;
    bool half;
    double words;
  } passes[] = {
      {"gradient", SpectrumPass::gradient, false, 7}, {"gradient, half", SpectrumPass::gradient, true, 5},
      {"weigh", SpectrumPass::weigh, false, 7},       {"normal", SpectrumPass::normal, false, 5},
      {"dual", SpectrumPass::dual, false, 11},        {"multiply", SpectrumPass::multiply, false, 6}};
  for (const auto& p : passes)
    cases.push_back({"spectrum", p.name, p.words, 0, 0, [p](Arrays<T>& a) {
                       a.table().spectrum(a.stream(),
                                          {p.pass, spectra(a, p.half), a.active(), 1, a.mri().ones(),
                                           a.slot(slot_p), a.slot(slot_x), a.row(0), 1, a.slot(slot_v)});
                     }});
  for (const bool powers : {false, true})
    cases.push_back(
        {"spectrum_mixed", powers ? "powers" : "product", 6, powers ? 4.0 : 2.0, 0, [=](Arrays<T>& a) {
           a.table().spectrum_mixed(a.stream(),
                                    {spectra(a, false), a.active(), powers, 1, a.slot(slot_x), a.slot(slot_p),
                                     a.slot(slot_v), reinterpret_cast<double*>(a.slot(slot_pairs_s))});
         }});
  cases.push_back({"pack", "complex", 4, 0, 0, [](Arrays<T>& a) {
                     a.table().pack(a.stream(), {a.active(), a.n(), 1, complex_image, a.image(), 1,
                                                 a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back({"unpack", "complex", 4, 0, 0, [](Arrays<T>& a) {
                     a.table().unpack(a.stream(), {a.active(), a.n(), 1, complex_image, a.image(), 0.5,
                                                   a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back({"coil_expand", "1 coil", 6, 0, 0, [](Arrays<T>& a) {
                     a.table().coil_expand(a.stream(), {a.active(), a.n(), 1, complex_image, a.image(),
                                                        a.slot(slot_p), a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back({"coil_combine", "1 coil", 6, 0, 0, [](Arrays<T>& a) {
                     a.table().coil_combine(a.stream(), {a.active(), a.n(), 1, complex_image, a.image(),
                                                         a.slot(slot_p), a.slot(slot_x), a.slot(slot_out)});
                   }});
  cases.push_back(
      {"scale_spectra", "", 5, 0, 0, [](Arrays<T>& a) {
         a.table().scale_spectra(a.stream(), {a.n(), a.image(), 1, a.mri().ones(), a.slot(slot_x)});
       }});
}

}  // namespace

template <class T>
void add_mri_cases(std::vector<Case<T>>& cases) {
  add_spectrum_cases(cases);
}

template void add_mri_cases(std::vector<Case<float>>&);
template void add_mri_cases(std::vector<Case<double>>&);

}  // namespace bilevel_app::bench
