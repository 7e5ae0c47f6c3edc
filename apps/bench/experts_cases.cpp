#include "apps/bench/cases.hpp"

namespace bilevel_app::bench {
namespace {

namespace kernels = bilevel::kernels;

constexpr double filters = Experts<double>::filters, taps = Experts<double>::taps;
constexpr double pass = 2 * filters * taps;  // flops per pixel of all correlations, or of their adjoints

template <class T>
kernels::ExpertsEnergyArgs<T> energy_args(Arrays<T>& a, const Experts<T>& e) {
  return {e.model(a),   a.active(), a.slot(slot_x), a.slot(slot_y), a.slot(slot_out),
          a.row(0),     a.row(1),   a.row(2),       1e-8,           1,
          e.constants()};
}

template <class T>
kernels::ExpertsBoundArgs<T> bound_args(Arrays<T>& a, const Experts<T>& e) {
  return {e.model(a),
          a.active(),
          a.slot(slot_x),
          a.slot(slot_q),
          a.slot(slot_v),
          a.slot(slot_weights),
          a.slot(slot_weights + 1),
          a.row(constant_small),
          a.row(constant_small),
          1.01,
          10,
          e.constants(),
          e.sums(),
          a.n()};
}

}  // namespace

template <class T>
void add_experts_cases(std::vector<Case<T>>& cases) {
  cases.push_back({"experts_energy", "8 filters 7x7", 3, 0, 2 * pass,
                   [](Arrays<T>& a) { a.table().experts_energy(a.stream(), energy_args(a, a.experts())); }});
  cases.push_back({"experts_linearise", "8 filters 7x7", 2 + filters, 0, pass, [](Arrays<T>& a) {
                     const Experts<T>& e = a.experts();
                     a.table().experts_linearise(a.stream(), {e.model(a), a.active(), a.slot(slot_x), nullptr,
                                                              e.maps(), a.slot(slot_weights + 3)});
                   }});
  cases.push_back({"experts_hessian", "8 filters 7x7", 2 + filters, 0, 2 * pass, [](Arrays<T>& a) {
                     const Experts<T>& e = a.experts();
                     a.table().experts_hessian(a.stream(), {e.model(a), a.active(), e.maps(), a.slot(slot_p),
                                                            a.slot(slot_out), a.row(0)});
                   }});
  cases.push_back({"experts_dual", "8 filters 7x7", 2, 2 * filters, 2 * pass, [](Arrays<T>& a) {
                     const Experts<T>& e = a.experts();
                     a.table().experts_dual(a.stream(), {e.model(a), a.active(), a.slot(slot_x),
                                                         a.slot(slot_p), a.row(constant_one), e.dual()});
                   }});
  cases.push_back({"experts_mixed_adjoint", "8 filters 7x7", 2, 0, 4 * pass, [](Arrays<T>& a) {
                     const Experts<T>& e = a.experts();
                     a.table().experts_mixed_adjoint(a.stream(), {e.model(a), a.active(), a.slot(slot_x),
                                                                  a.slot(slot_q), e.sums(), a.n()});
                   }});
  cases.push_back({"experts_mixed_forward", "8 filters 7x7", 2, 0, 4 * pass, [](Arrays<T>& a) {
                     const Experts<T>& e = a.experts();
                     const kernels::ExpertsModel<T> m = e.model(a);
                     a.table().experts_mixed_forward(
                         a.stream(), {m, a.active(), a.slot(slot_x), m.taps, m.weight, m.smoothing,
                                      a.slot(slot_out), a.row(0)});
                   }});
  cases.push_back({"experts_patches", "7x7", 2, 0, 0, [](Arrays<T>& a) {
                     a.table().experts_patches(a.stream(), {a.experts().model(a), a.active(), a.slot(slot_x),
                                                            true, a.slot(slot_out)});
                   }});
  cases.push_back({"experts_bound", "8 filters 7x7", 5, 0, 3 * pass,
                   [](Arrays<T>& a) { a.table().experts_bound(a.stream(), bound_args(a, a.experts())); }});
}

template void add_experts_cases(std::vector<Case<float>>&);
template void add_experts_cases(std::vector<Case<double>>&);

}  // namespace bilevel_app::bench
