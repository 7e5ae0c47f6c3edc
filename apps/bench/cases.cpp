#include "apps/bench/cases.hpp"

#include "kernels/analysis_args.hpp"
#include "kernels/loss_args.hpp"
#include "kernels/probe_args.hpp"

namespace bilevel_app::bench {
namespace {

namespace kernels = bilevel::kernels;

template <class T>
kernels::AnalysisHessianArgs<T> hessian_args(Arrays<T>& a) {
  return {a.model(), a.active(), a.n(), a.slot(slot_weights), a.slot(slot_p), a.slot(slot_out), a.row(0)};
}

template <class T>
kernels::CgUpdateArgs<T> update_args(Arrays<T>& a) {
  return {a.active(),     a.image(),      a.slot(slot_p), a.slot(slot_out), a.slot(slot_weights + 3),
          a.slot(slot_x), a.slot(slot_r), a.cg_state()};
}

template <class T>
kernels::CgDirectionArgs<T> direction_args(Arrays<T>& a) {
  return {a.active(),     a.image(),           a.slot(slot_r), a.slot(slot_weights + 3),
          a.slot(slot_p), a.row(constant_half)};
}

template <class T>
kernels::MomentumArgs<T> momentum_args(Arrays<T>& a) {
  return {a.active(), a.image(), a.slot(slot_x), a.slot(slot_previous), a.slot(slot_q), 1e-9, 0.5};
}

/// Analysis regularisers with one stencil, denoising for one channel, beside another data term for two. Two
/// slots in a row hold a batch of two channels.
template <class T>
void add_analysis_cases(std::vector<Case<T>>& cases, const char* variant, kernels::Stencil stencil,
                        kernels::Potential potential, int channels) {
  const auto add = [&](const char* name, double words, double float_words, double flops, auto launch) {
    cases.push_back({name, variant, words, float_words, flops, [=](Arrays<T>& a) {
                       kernels::AnalysisModel m = a.model();
                       m.stencil = stencil;
                       m.potential = potential;
                       m.channels = channels;
                       launch(a, a.table().analysis[static_cast<int>(stencil)], m);
                     }});
  };
  using Model = kernels::AnalysisModel;
  using Kernels = kernels::AnalysisKernels<T>;
  const double c = channels, planes = kernels::weight_planes(stencil, channels),
               d = kernels::directions(stencil);
  const bool tv = stencil == kernels::Stencil::gradient && channels == 1;
  add("analysis_gradient", 3 * c, 0, tv ? 30 : 0, [=](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.gradient(a.stream(),
               {m, a.active(), a.slot(slot_x), channels == 1 ? a.slot(slot_y) : nullptr, nullptr,
                a.slot(slot_out), a.row(0), a.row(1), a.row(2), 1e-8, 0, a.row(3), 1, a.n(), 160});
  });
  add("analysis_linearise", 2 * c + planes, 0, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.linearise(a.stream(), {m, a.active(), a.n(), a.slot(slot_x), nullptr, a.slot(slot_pairs_s),
                             a.slot(slot_out), 0.5, nullptr});
  });
  add("analysis_hessian", 2 * c + planes + (channels == 1 ? 0 : c), 0, tv ? 17 : 0,
      [=](Arrays<T>& a, const Kernels& k, const Model& m) {
        k.hessian(a.stream(), {m, a.active(), a.n(), a.slot(slot_pairs_s), a.slot(slot_p), a.slot(slot_out),
                               a.row(0), channels > 1});
      });
  add("analysis_dual", 2 * c, 2 * d * c, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.dual(a.stream(), {m, a.active(), a.n(), a.slot(slot_x), a.slot(slot_p), a.row(constant_one),
                        reinterpret_cast<float*>(a.slot(slot_pairs_y))});
  });
  add("analysis_mixed_adjoint", 2 * c, 0, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.mixed_adjoint(a.stream(),
                    {m, a.active(), a.slot(slot_x), a.slot(slot_p), a.row(0), a.row(1), a.row(2)});
  });
  add("analysis_mixed_forward", (channels == 1 ? 2 : 3) * c, 0, 0,
      [=](Arrays<T>& a, const Kernels& k, const Model& m) {
        k.mixed_forward(a.stream(), {m, a.active(), a.slot(slot_x), 0.3, -0.7, 0.2, a.slot(slot_out),
                                     a.row(0), channels > 1});
      });
  add("analysis_bound", 3 * c, 0, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.bound(a.stream(),
            {m, a.active(), a.slot(slot_x), a.slot(slot_p), a.slot(slot_v), a.row(constant_small),
             a.row(constant_small), 1.01, 1.5, 8, reinterpret_cast<double*>(a.slot(slot_pairs_y)), a.n()});
  });
  add("pdhg_dual", (1 + 2 * d) * c, 0, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.pdhg_dual(a.stream(), {m, a.active(), a.n(), a.slot(slot_x), 0.5, a.slot(slot_pairs_s)});
  });
  add("pdhg_primal", (d + 4) * c, 0, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.pdhg_primal(a.stream(), {m, a.active(), a.n(), a.slot(slot_pairs_s), a.slot(slot_v), nullptr, 1, 1, 0.3,
                               0.9, a.slot(slot_x), a.slot(slot_out)});
  });
}

/// Total generalised variation, denoising. Three slots in a row hold a batch of joint unknowns.
template <class T>
void add_generalised_cases(std::vector<Case<T>>& cases) {
  using Model = kernels::AnalysisModel;
  using Kernels = kernels::AnalysisKernels<T>;
  const auto add = [&](const char* name, double words, double float_words, auto launch) {
    cases.push_back({name, "generalised", words, float_words, 0, [=](Arrays<T>& a) {
                       Model m = a.model();
                       m.stencil = kernels::Stencil::generalised;
                       m.field_alpha = 2 * m.alpha;
                       m.field_xi = m.xi;
                       launch(a, a.table().analysis[static_cast<int>(m.stencil)], m);
                     }});
  };
  add("analysis_gradient", 7, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.gradient(a.stream(), {m, a.active(), a.slot(slot_x), a.slot(slot_pairs_y), nullptr, a.slot(slot_out),
                            a.row(0), a.row(1), a.row(2), 1e-8});
  });
  add("analysis_linearise", 15, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.linearise(a.stream(), {m, a.active(), a.n(), a.slot(slot_x), nullptr, a.slot(slot_pairs_s),
                             a.slot(slot_out), 1, nullptr});
  });
  add("analysis_hessian", 15, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.hessian(a.stream(),
              {m, a.active(), a.n(), a.slot(slot_pairs_s), a.slot(slot_x), a.slot(slot_out), a.row(0)});
  });
  add("analysis_dual", 6, 10, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.dual(a.stream(), {m, a.active(), a.n(), a.slot(slot_x), a.slot(slot_q), a.row(constant_one),
                        reinterpret_cast<float*>(a.slot(slot_pairs_y))});
  });
  add("analysis_mixed_adjoint", 6, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.mixed_adjoint(a.stream(), {m,
                                 a.active(),
                                 a.slot(slot_x),
                                 a.slot(slot_q),
                                 a.row(0),
                                 a.row(1),
                                 a.row(2),
                                 {a.row(3), a.row(4), a.row(5)}});
  });
  add("analysis_mixed_forward", 6, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.mixed_forward(a.stream(), {m, a.active(), a.slot(slot_x), 0.3, -0.7, 0.2, a.slot(slot_out), a.row(0),
                                 false, 0.4, -0.6, 0.1});
  });
  add("analysis_bound", 9, 0, [](Arrays<T>& a, const Kernels& k, const Model& m) {
    k.bound(a.stream(), {m, a.active(), a.slot(slot_x), a.slot(slot_q), a.slot(slot_pairs_s),
                         a.row(constant_small), a.row(constant_small), 1.01, 2, 9,
                         reinterpret_cast<double*>(a.slot(slot_pairs_y)), a.n(), 1.7, 8});
  });
}

template <class T>
void add_analysis_cases(std::vector<Case<T>>& cases) {
  using kernels::Potential;
  using kernels::Stencil;
  add_analysis_cases(cases, "isotropic", Stencil::gradient, Potential::charbonnier, 1);
  add_analysis_cases(cases, "anisotropic", Stencil::gradient_separate, Potential::charbonnier, 1);
  add_analysis_cases(cases, "complex", Stencil::gradient, Potential::charbonnier, 2);
  add_analysis_cases(cases, "second", Stencil::second, Potential::charbonnier, 1);
  add_analysis_cases(cases, "identity", Stencil::identity, Potential::quadratic, 1);
  add_generalised_cases(cases);
}

template <class T>
void add_krylov_cases(std::vector<Case<T>>& cases) {
  cases.push_back({"momentum_step", "", 5, 0, 0,
                   [](Arrays<T>& a) { a.table().momentum_step(a.stream(), momentum_args(a)); }});
  cases.push_back(
      {"fista_step", "", 5, 0, 0, [](Arrays<T>& a) { a.table().fista_step(a.stream(), momentum_args(a)); }});
  cases.push_back({"guarded_step", "", 5, 0, 0, [](Arrays<T>& a) {
                     a.table().guarded_step(a.stream(), {momentum_args(a), 1e-9, 0.5, a.row(constant_zero)});
                   }});
  cases.push_back({"restart_step", "", 5, 0, 0, [](Arrays<T>& a) {
                     a.table().restart_step(a.stream(),
                                            {a.active(), a.image(), a.slot(slot_x), a.slot(slot_previous),
                                             a.slot(slot_q), 1e-9, 1e-3, a.row(0), a.row(1)});
                   }});
  cases.push_back({"restart", "", 2, 0, 0, [](Arrays<T>& a) {
                     a.table().restart(a.stream(), {a.active(), a.image(), a.slot(slot_x),
                                                    a.slot(slot_previous), a.row(constant_one)});
                   }});
  cases.push_back({"cg_start", "", 5, 0, 0, [](Arrays<T>& a) {
                     a.table().cg_start(a.stream(),
                                        {a.active(), a.image(), a.slot(slot_q), 1, a.slot(slot_weights + 3),
                                         true, a.slot(slot_x), a.slot(slot_r), a.slot(slot_p), a.cg_state()});
                   }});
  cases.push_back(
      {"cg_update", "", 7, 0, 0, [](Arrays<T>& a) { a.table().cg_update(a.stream(), update_args(a)); }});
  cases.push_back({"cg_direction", "", 4, 0, 0,
                   [](Arrays<T>& a) { a.table().cg_direction(a.stream(), direction_args(a)); }});
  cases.push_back({"residual", "", 4, 0, 0, [](Arrays<T>& a) {
                     a.table().residual(
                         a.stream(), {a.active(), a.image(), a.slot(slot_y), a.slot(slot_p), a.slot(slot_x),
                                      a.slot(slot_r), a.row(0), a.row(1), a.row(2)});
                   }});
  cases.push_back({"combine", "", 3, 0, 0, [](Arrays<T>& a) {
                     a.table().combine(a.stream(), {a.active(), a.image(), a.slot(slot_x), a.slot(slot_y), 1,
                                                    0.5, nullptr, nullptr, a.slot(slot_out)});
                   }});
  cases.push_back(
      {"dot", "", 2, 0, 0, [](Arrays<T>& a) {
         a.table().dot(a.stream(), {a.active(), a.image(), a.slot(slot_x), a.slot(slot_y), false, a.row(0)});
       }});
  cases.push_back({"misfit", "", 2, 0, 0, [](Arrays<T>& a) {
                     a.table().misfit(a.stream(), {a.active(), a.image(), a.image(), a.slot(slot_x),
                                                   a.slot(slot_y), nullptr, a.row(0)});
                   }});
  cases.push_back({"misfit_gradient", "", 3, 0, 0, [](Arrays<T>& a) {
                     a.table().misfit_gradient(
                         a.stream(), {a.active(), a.image(), a.image(), 0.5, a.slot(slot_x), a.slot(slot_y),
                                      nullptr, a.slot(slot_out)});
                   }});
}

/// Pairs are counted when they are older than this step: the newest is still in the cache.
template <class T>
void add_lbfgs_cases(std::vector<Case<T>>& cases) {
  constexpr double pairs = kernels::lbfgs_memory;
  cases.push_back({"lbfgs_trial", "", 3, 0, 0, [](Arrays<T>& a) {
                     a.table().lbfgs_trial(a.stream(), {a.active(), a.image(), a.slot(slot_y), a.slot(slot_p),
                                                        a.slot(slot_x), a.states()});
                   }});
  cases.push_back({"lbfgs_search", "", 2, 0, 0, [](Arrays<T>& a) {
                     a.table().lbfgs_search(a.stream(),
                                            {a.active(), a.image(), a.slot(slot_q), a.slot(slot_p),
                                             a.row(constant_one), 1e-12, a.states(), a.flags(0), a.flags(1)});
                   }});
  cases.push_back({"lbfgs_update", "9 pairs", 8 + 2 * (pairs - 1), 0, 0, [](Arrays<T>& a) {
                     a.table().lbfgs_update(
                         a.stream(),
                         {a.active(), a.image(), a.n(), a.slot(slot_x), a.slot(slot_q), a.slot(slot_y),
                          a.slot(slot_p), a.slot(slot_pairs_s), a.slot(slot_pairs_y), 1e-3, a.states()});
                   }});
  cases.push_back({"lbfgs_direction", "10 pairs", 2 + 2 * pairs, 0, 0, [](Arrays<T>& a) {
                     a.table().lbfgs_direction(
                         a.stream(),
                         {a.active(), a.image(), a.n(), a.slot(slot_q), a.slot(slot_pairs_s),
                          a.slot(slot_pairs_y), a.slot(slot_out), 0.5, a.states(), a.flags(0), a.flags(1)});
                   }});
}

}  // namespace

template <class T>
std::vector<Case<T>> kernel_cases() {
  static_assert(kernel_count<T> == 56, "a kernel was added: it needs a case here");
  constexpr int rounds = 64;
  std::vector<Case<T>> cases;
  cases.push_back(
      {"fma_loop", "", 2, 0, 2.0 * kernels::fma_chains * rounds, [](Arrays<T>& a) {
         a.table().fma_loop(a.stream(), {a.active(), a.image(), rounds, 0.75, 0.25, a.slot(slot_x)});
       }});
  add_analysis_cases(cases);
  add_experts_cases(cases);
  add_mri_cases(cases);
  add_operator_cases(cases);
  add_krylov_cases(cases);
  add_lbfgs_cases(cases);
  cases.push_back({"fill", "", 1, 0, 0,
                   [](Arrays<T>& a) { a.table().fill(a.stream(), a.slot(slot_out), a.pixels(), T(0.75)); }});
  return cases;
}

/// cg_update takes <p, A p> and cg_direction beta from rows of their own, which makes the iteration one that
/// goes on for ever; what is read and written is the same.
template <class T>
Case<T> cg_iteration_case() {
  return {"cg_iteration", "isotropic", 5 + 7 + 4, 0, 0, [](Arrays<T>& a) {
            a.table().analysis[0].hessian(a.stream(), hessian_args(a));
            a.table().cg_update(a.stream(), update_args(a));
            a.table().cg_direction(a.stream(), direction_args(a));
          }};
}

template std::vector<Case<float>> kernel_cases();
template std::vector<Case<double>> kernel_cases();
template Case<float> cg_iteration_case();
template Case<double> cg_iteration_case();

}  // namespace bilevel_app::bench
