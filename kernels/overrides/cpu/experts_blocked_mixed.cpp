// Register-blocked CPU versions of experts_mixed_adjoint and experts_mixed_forward. Both use that psi is a
// function of t / nu: phi'' = -w_nu.

#include "kernels/overrides/cpu/experts_blocks.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

using namespace blocked;

/// A plane is a group of filters.
template <class T, template <class> class Rho, int size>
struct MixedAdjointBlocks {
  using Of = Blocks<T, size>;
  static constexpr int rows = 2 + Of::taps;  // of a filter
  static constexpr int sums = Of::group * rows;
  static constexpr int work = 64;
  ExpertsMixedAdjointArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Of tile(m, t, false);
    const int k = t.plane * Of::group, count = minimum(Of::group, m.filters - k);
    typename Of::Image x, q;
    typename Of::Strip psi, bent;  // psi(t), phi'' u
    typename Of::PatchSums patches;
    typename Of::Rows z, u;
    ColumnSums<2 * Of::group> sum;
    tile.load(image_of(a.x, m, t), x);
    tile.load(image_of(a.q, m, t), q);
    if (count < Of::group) psi = bent = {};
    for (int r = tile.rows.own_begin; r < tile.rows.own_end; r += Of::Strip::rows) {
      const int strip = minimum(Of::Strip::rows, tile.rows.own_end - r);
      for (int s = 0; s < strip; ++s) {
        tile.correlate(x, r + s, m.taps + k * Of::taps, count, z);
        tile.correlate(q, r + s, m.taps + k * Of::taps, count, u);
        for (int f = 0; f < count; ++f) {
          curve(Rho<T>(m.smoothing[k + f]), tile.responses, z.v[f], u.v[f], psi.v[f][s], bent.v[f][s],
                sum.v[2 * f], sum.v[2 * f + 1]);
          tile.clear_tail(psi.v[f][s]);
          tile.clear_tail(bent.v[f][s]);
        }
      }
      tile.add_patches(q, r, strip, psi, patches);
      tile.add_patches(x, r, strip, bent, patches);
    }
    double pointwise[2 * Of::group];
    sum.total(pointwise);
    for (int f = 0; f < count; ++f) {
      partial[f * rows] = pointwise[2 * f];
      partial[f * rows + 1] = pointwise[2 * f + 1];
      for (int tap = 0; tap < Of::taps; ++tap) partial[f * rows + 2 + tap] = patches.total(f, tap);
    }
  }

  void finish(int image, int plane, const double* total) const {
    const int first = plane * Of::group, filters = a.model.filters;
    for (int k = first; k < minimum(first + Of::group, filters); ++k)
      for (int row = 0; row < rows; ++row)
        a.sums[(static_cast<long long>(row) * filters + k) * a.n + image] = total[(k - first) * rows + row];
  }

 private:
  static void curve(const Rho<T>& rho, int columns, const T* z, const T* u, T* psi, T* bent, double* sum_psi,
                    double* sum_nu) {
#pragma GCC ivdep
    for (int c = 0; c < columns; ++c) {
      T w, w_nu;
      rho.weight_nu(z[c] * z[c], w, w_nu);
      psi[c] = w * z[c];
      bent[c] = -w_nu * u[c];
      sum_psi[c] += double(psi[c]) * u[c];
      sum_nu[c] += double(w_nu * z[c]) * u[c];
    }
  }
};

template <class T, template <class> class Rho, int size>
struct MixedForwardBlocks {
  using Of = Blocks<T, size>;
  static constexpr int sums = 1;
  static constexpr int work = 64;
  static constexpr int pairs = Of::group / 2;  ///< filters at a time, each with its direction
  ExpertsMixedForwardArgs<T> a;

  void operator()(HostBlock&, const ChannelTile& t, double* partial) const {
    const ExpertsModel<T>& m = a.model;
    const Of tile(m, t, true);
    typename Of::Image x;
    typename Of::Field fields[Of::group];
    typename Of::Gathered gathered;
    typename Of::Rows z;
    T filters[Of::group * Of::taps];
    tile.load(image_of(a.x, m, t), x);
    tile.clear(gathered);
    for (auto& f : fields) tile.clear(f);
    for (int k = 0; k < m.filters; k += pairs) {
      const int count = minimum(pairs, m.filters - k), each = count * Of::taps;
      for (int e = 0; e < each; ++e) {
        filters[e] = m.taps[k * Of::taps + e];
        filters[each + e] = a.taps[k * Of::taps + e];
      }
      for (int r = tile.rows.response_begin; r < tile.rows.response_end; ++r) {
        tile.correlate(x, r, filters, 2 * count, z);
        for (int f = 0; f < count; ++f)
          map(k + f, tile.responses, z.v[f], z.v[count + f], tile.row(fields[f], r),
              tile.row(fields[count + f], r));
      }
      for (int f = 0; f < 2 * count; ++f)
        tile.adjoint(fields[f], filters + f * Of::taps, m.weight[k + f % count], gathered);
    }
    tile.fold(gathered);
    ColumnSums<1> sum;
    for (int r = t.row; r < t.row + t.rows; ++r) {
      T* out = image_of(a.out, m, t) + static_cast<long long>(r) * m.width + t.column;
      const T* row = tile.row(gathered, r);
      if (a.add) {
#pragma GCC ivdep
        for (int c = 0; c < t.columns; ++c) {
          out[c] += row[c];
          sum.v[0][c] += double(out[c]) * out[c];
        }
        continue;
      }
#pragma GCC ivdep
      for (int c = 0; c < t.columns; ++c) {
        out[c] = row[c];
        sum.v[0][c] += double(row[c]) * row[c];
      }
    }
    sum.total(partial);
  }
  void finish(int image, const double* total) const { a.norm2[image] = total[0]; }

 private:
  /// inner = (weight w + smoothing w_nu) t + phi'' C' x, outer = psi.
  void map(int k, int columns, const T* z, const T* moved, T* inner, T* outer) const {
    const Rho<T> rho(a.model.smoothing[k]);
    const T weight = a.weight[k], smoothing = a.smoothing[k];
#pragma GCC ivdep
    for (int c = 0; c < columns; ++c) {
      T w, w_nu;
      rho.weight_nu(z[c] * z[c], w, w_nu);
      inner[c] = (weight * w + smoothing * w_nu) * z[c] - w_nu * moved[c];
      outer[c] = w * z[c];
    }
  }
};

template <class T>
void mixed_adjoint(const Stream& stream, const ExpertsMixedAdjointArgs<T>& a) {
  constexpr int group = Blocks<T, 3>::group;
  launch_potential<T, MixedAdjointBlocks>(stream, a, (a.model.filters + group - 1) / group);
}
template <class T>
void mixed_forward(const Stream& stream, const ExpertsMixedForwardArgs<T>& a) {
  launch_potential<T, MixedForwardBlocks>(stream, a);
}

}  // namespace

template <class T>
void override_experts_mixed(Table<T>& table) {
  table.experts_mixed_adjoint = mixed_adjoint<T>;
  table.experts_mixed_forward = mixed_forward<T>;
}
template void override_experts_mixed(Table<float>&);
template void override_experts_mixed(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
