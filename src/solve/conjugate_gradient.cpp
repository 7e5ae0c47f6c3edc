#include "solve/conjugate_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/backend.hpp"
#include "kernels/krylov_args.hpp"
#include "solve/residual_progress.hpp"
#include "solve/solve_support.hpp"

namespace bilevel {
inline namespace v0 {

CgScalars::CgScalars(Frame& frame, int n)
    : rz(frame.view<double>({n, 1, 1, 1})),
      rr(frame.view<double>({n, 1, 1, 1})),
      pap(frame.view<double>({n, 1, 1, 1})),
      beta(frame.view<double>({n, 1, 1, 1})),
      target(frame.view<double>({n, 1, 1, 1})),
      slope(frame.view<double>({n, 1, 1, 1})),
      iterations(frame.view<double>({n, 1, 1, 1})) {}

namespace {

kernels::CgState state_of(const CgScalars& s, ActiveSet& active, int cap) {
  return {s.rz.device_data(),         s.rr.device_data(),     s.pap.device_data(),
          s.beta.device_data(),       s.target.device_data(), s.slope.device_data(),
          s.iterations.device_data(), active.mask(),          static_cast<double>(cap)};
}

}  // namespace

template <class T>
void run_conjugate_gradient(Context& context, const HessianAt<T>& hessian, ActiveSet& active,
                            const CgStart<T>& start, const CgVectors<T>& v, const CgScalars& s,
                            LaunchList& list, int cap, int check_every) {
  const kernels::Table<T>& k = kernel_table<T>(context);
  const kernels::Stream& stream = stream_of(context);
  const std::size_t size = hessian.energy->shape().image();
  const T* inverse = v.inverse_diagonal ? v.inverse_diagonal.device_data() : nullptr;
  const kernels::CgState state = state_of(s, active, cap);
  fill<double>(context, s.iterations, 0);
  fill<double>(context, s.slope, 0);

  // r = b - A x, p = z = D^{-1} r
  k.cg_start(stream, {active.active(), size, start.source ? start.source.device_data() : nullptr, start.sign,
                      inverse, start.zero, v.x.device_data(), v.r.device_data(), v.p.device_data(), state});
  const auto iterate = [&] {
    // <p, A p>
    hessian.energy->hessian_product(context, active.active(), hessian.weights, v.p, v.product, s.pap);
    // a = <r,z> / <p,Ap>;  x += a p;  r -= a A p;  beta = <r+,z+> / <r,z>
    k.cg_update(stream, {active.active(), size, v.p.device_data(), v.product.device_data(), inverse,
                         v.x.device_data(), v.r.device_data(), state});
    // p = z + beta p
    k.cg_direction(
        stream, {active.active(), size, v.r.device_data(), inverse, v.p.device_data(), s.beta.device_data()});
  };
  for (int done = 0; done < cap && active.count() > 0;) {
    const int block = std::min(check_every, cap - done);
    list.run({static_cast<std::uintptr_t>(active.count()), static_cast<std::uintptr_t>(block),
              reinterpret_cast<std::uintptr_t>(v.r.device_data())},
             [&] {
               for (int i = 0; i < block; ++i) iterate();
             });
    done += block;
    active.refresh(context, s.iterations);
  }
}

template <class T>
SolveReport ConjugateGradient<T>::solve(Context& context, const HessianAt<T>& hessian,
                                        const LinearRequest& request, View<const T> b, View<T> q) const {
  require_system<T>(hessian, request, b, q, name());
  const Shape shape = hessian.energy->shape();
  const auto n = static_cast<std::size_t>(shape.n);
  const kernels::Table<T>& k = kernel_table<T>(context);
  const kernels::Stream& stream = stream_of(context);
  const ResidualRounding rounding = residual_rounding(*hessian.energy);
  // Rounding makes the recurrence drift from the true residual: replaced every 50 iterations in single
  // precision.
  const int run = sizeof(T) == 4 ? 50 : 500;

  Frame frame(context);
  ActiveSet active(context, frame, shape.n);
  CgScalars scalars(frame, shape.n);
  // |r|^2, |q|^2, |b|^2 and the iterations of the last run: one fetch
  const View<double> told = frame.view<double>({4, shape.n, 1, 1});
  double* out = told.device_data();
  scalars.iterations = {out + 3 * n, {shape.n, 1, 1, 1}};
  const View<T> r = frame.view<T>(shape), p = frame.view<T>(shape), product = frame.view<T>(shape);
  const CgVectors<T> vectors{q, r, p, product,
                             jacobi_ ? View<const T>(hessian.inverse_diagonal) : View<const T>()};

  LaunchList list(context);
  ResidualProgress progress(n, request);
  Work work;
  std::vector<double> targets(n);
  fill<T>(context, product, T(0));
  if (!request.warm_start) fill<T>(context, q, T(0));

  fill<double>(context, scalars.iterations, 0);
  bool first = !request.warm_start;
  while (true) {
    // r = b - A q with its norms
    active.assign(context, progress.open);
    if (!first) {
      hessian.energy->hessian_product(context, active.active(), hessian.weights, q, product, scalars.pap);
      work.hessian_products += static_cast<std::uint64_t>(active.count());
    }
    first = false;
    k.residual(stream, {active.active(), shape.image(), b.device_data(), product.device_data(),
                        q.device_data(), r.device_data(), out, out + n, out + 2 * n});
    const std::vector<double> values = fetch(context, told).wait(context);
    work.hessian_products += progress.advance(std::span(values).subspan(3 * n));
    if (!progress.judge(values, rounding, request.max_iterations, run)) break;
    active.assign(context, progress.open);
    for (std::size_t i = 0; i < n; ++i) targets[i] = progress.target(i);
    upload<double>(context, targets, scalars.target);
    run_conjugate_gradient<T>(context, hessian, active, {{}, 1, false}, vectors, scalars, list,
                              progress.next_run(run, request.max_iterations), request.check_every);
  }
  return progress.report(work, name());
}

template void run_conjugate_gradient(Context&, const HessianAt<float>&, ActiveSet&, const CgStart<float>&,
                                     const CgVectors<float>&, const CgScalars&, LaunchList&, int, int);
template void run_conjugate_gradient(Context&, const HessianAt<double>&, ActiveSet&, const CgStart<double>&,
                                     const CgVectors<double>&, const CgScalars&, LaunchList&, int, int);
template class ConjugateGradient<float>;
template class ConjugateGradient<double>;

}  // namespace v0
}  // namespace bilevel
