#pragma once

// THE list of kernels. Each back end and instruction set fills one Table<T>; control code reaches kernels
// only through it. Costs count memory words of T per pixel (r reads, w writes) and are exact for the CUDA and
// CPU bodies.

#include <cstddef>
#include <cstdint>

#include "kernels/analysis_model.hpp"
#include "kernels/args.hpp"
#include "kernels/sort_args.hpp"
#include "kernels/stream.hpp"

namespace bilevel::kernels {

/// Kernels whose types do not depend on T.
struct ScalarTable {
  void (*certify)(const Stream&, const CertifyArgs&);
  void (*newton_begin)(const Stream&, const NewtonBeginArgs&);
  void (*newton_decide)(const Stream&, const NewtonDecideArgs&);
  void (*progress)(const Stream&, const ProgressArgs&);
  void (*stall)(const Stream&, const StallArgs&);
  void (*residual_rounding)(const Stream&, const ResidualRoundingArgs&);
  void (*lbfgs_start)(const Stream&, const LbfgsStartArgs&);
  void (*compact)(const Stream&, const CompactArgs&);
  void (*reset)(const Stream&, std::uint8_t* mask, std::int32_t* index, int n);
  void (*sort)(const Stream&, const SortArgs&);

  // Between precisions; words of 8 and of 4 bytes per pixel.
  void (*narrow)(const Stream&, const NarrowArgs&);      // 1r double, 1w float
  void (*widen)(const Stream&, const WidenArgs&);        // 1r float, 1w double (add: + 1r double)
  void (*distance)(const Stream&, const DistanceArgs&);  // 1r double, 1r float
};

/// What the Fourier transforms of a CPU do, inside a launch of theirs, with the coefficients of one spectrum
/// that are in its cache: a pass of Table<T>::spectrum over some of them, and with the sums of all. Null on
/// CUDA.
template <class T>
struct HostPasses {
  void (*spectrum_range)(const SpectrumArgs<T>&, int image, int coil, int first, int count, T* x,
                         double* partial);
  void (*spectrum_finish)(const SpectrumArgs<T>&, int image, int coil, const double* total);
};

/// Analysis regularisers with one stencil of D directions. Words per channel; P planes of weights per channel
/// (of total variation 3, anisotropic 2). Flops per pixel of isotropic (anisotropic) total variation. The
/// generalised stencil takes three channels for each of x (what is beside them, like data, is of x), has no
/// steps of pdhg, and its own words: kernels/generalised_*.hpp.
template <class T>
struct AnalysisKernels {
  void (*gradient)(const Stream&,
                   const AnalysisGradientArgs<T>&);  // 2r 1w (3r masked); 30, 1 sqrt, 1 div (2, 2)
  void (*linearise)(const Stream&, const AnalysisLineariseArgs<T>&);         // 1r (P+1)w; + D floats r
  void (*hessian)(const Stream&, const AnalysisHessianArgs<T>&);             // (P+1)r 1w; 17 (13)
  void (*dual)(const Stream&, const AnalysisDualArgs<T>&);                   // 2r, D floats r and w
  void (*mixed_adjoint)(const Stream&, const AnalysisMixedAdjointArgs<T>&);  // 2r
  void (*mixed_forward)(const Stream&, const AnalysisMixedForwardArgs<T>&);  // 1r 1w
  void (*bound)(const Stream&, const AnalysisBoundArgs<T>&);                 // 3r
  void (*pdhg_dual)(const Stream&, const PdhgDualArgs<T>&);                  // (D+1)r Dw
  void (*pdhg_primal)(const Stream&, const PdhgPrimalArgs<T>&);              // (D+2)r 2w (1r more masked)
};

template <class T>
struct Table {
  AnalysisKernels<T> analysis[stencils];  // by Stencil

  // Fields of experts: K filters of m taps. One pass of correlations or their adjoints is 2 K m flops per
  // pixel.
  void (*experts_energy)(const Stream&, const ExpertsEnergyArgs<T>&);        // 2r 1w; 2 passes, K sqrt, K div
  void (*experts_linearise)(const Stream&, const ExpertsLineariseArgs<T>&);  // 1r (K+1)w; 1 pass
  void (*experts_hessian)(const Stream&, const ExpertsHessianArgs<T>&);      // (1+K)r 1w; 2 passes
  void (*experts_dual)(const Stream&, const ExpertsDualArgs<T>&);            // 2r, float K r and w; 2 passes
  void (*experts_mixed_adjoint)(const Stream&, const ExpertsMixedAdjointArgs<T>&);  // 2r; 4 passes
  void (*experts_mixed_forward)(const Stream&, const ExpertsMixedForwardArgs<T>&);  // 1r 1w; 4 passes
  void (*experts_patches)(const Stream&, const ExpertsPatchesArgs<T>&);             // 1r 1w
  void (*experts_bound)(const Stream&, const ExpertsBoundArgs<T>&);                 // 5r per filter; 3 passes

  // Fourier coefficients. Complex words per coefficient; a real weight, half of one, is not counted, nor is
  // what the batch shares (`multiply` is like `normal`).
  void (*spectrum)(const Stream&, const SpectrumArgs<T>&);  // gradient, weigh 2r 1w; normal 1r 1w; dual 3r 2w
  void (*spectrum_mixed)(const Stream&, const SpectrumMixedArgs<T>&);  // 3r, a double w (powers: two)
  void (*pack)(const Stream&, const PlanesArgs<T>&);                   // 1r 1w
  void (*unpack)(const Stream&, const PlanesArgs<T>&);                 // 1r 1w
  void (*coil_expand)(const Stream&, const CoilArgs<T>&);              // 2r 1w per coil
  void (*coil_combine)(const Stream&, const CoilArgs<T>&);             // 2r per coil, 1w
  void (*scale_spectra)(const Stream&, const ScaleSpectraArgs<T>&);    // 1r 1w

  // One level of a wavelet transform, per pixel of the finer image; 4 taps flops.
  void (*wavelet_analyse)(const Stream&, const WaveletAnalyseArgs<T>&);        // 1r 1w
  void (*wavelet_synthesise)(const Stream&, const WaveletSynthesiseArgs<T>&);  // 1r 1w

  // Differences across the edges of a reference, per channel.
  void (*projected_forward)(const Stream&, const ProjectedArgs<T>&);  // 3r 2w
  void (*projected_adjoint)(const Stream&, const ProjectedArgs<T>&);  // 4r 1w

  void (*join)(const Stream&, const JoinArgs<T>&);              // 3r 1w: a term behind an operator
  void (*part)(const Stream&, const PartArgs<T>&);              // 1r 1w: the first channels of images
  void (*add_diagonal)(const Stream&, const DiagonalArgs<T>&);  // 1r 1w

  // The upper level's squared error; weights, shared by the batch, are not counted.
  void (*misfit)(const Stream&, const MisfitArgs<T>&);                   // 2r
  void (*misfit_gradient)(const Stream&, const MisfitGradientArgs<T>&);  // 2r 1w

  // Classification, per score: an exp per score twice (product: none).
  void (*score_gradient)(const Stream&, const ScoreGradientArgs<T>&);        // 1r 1w
  void (*score_probability)(const Stream&, const ScoreProbabilityArgs<T>&);  // 1r 1w
  void (*score_product)(const Stream&, const ScoreProductArgs<T>&);          // 2r 1w
  void (*score_mixed)(const Stream&, const ScoreMixedArgs<T>&);              // 2r

  // Images on the torus of twice the size.
  void (*torus_extend)(const Stream&, const TorusExtendArgs<T>&);  // 1r 4w
  void (*torus_fold)(const Stream&, const TorusFoldArgs<T>&);      // 4r 1w (not even: 1r 1w)

  // Vectors and Krylov steps.
  void (*momentum_step)(const Stream&, const MomentumArgs<T>&);          // 3r 2w
  void (*fista_step)(const Stream&, const MomentumArgs<T>&);             // 3r 2w: x is the extrapolated point
  void (*guarded_step)(const Stream&, const GuardedArgs<T>&);            // 3r 2w
  void (*restart_step)(const Stream&, const RestartStepArgs<T>&);        // 3r 2w
  void (*restart)(const Stream&, const RestartArgs<T>&);                 // 1r 1w where an image starts anew
  void (*cg_start)(const Stream&, const CgStartArgs<T>&);                // 2r 3w
  void (*cg_update)(const Stream&, const CgUpdateArgs<T>&);              // 5r 2w
  void (*cg_direction)(const Stream&, const CgDirectionArgs<T>&);        // 3r 1w
  void (*residual)(const Stream&, const ResidualArgs<T>&);               // 3r 1w
  void (*combine)(const Stream&, const CombineArgs<T>&);                 // 2r 1w
  void (*dot)(const Stream&, const DotArgs<T>&);                         // 2r
  void (*lbfgs_trial)(const Stream&, const LbfgsTrialArgs<T>&);          // 2r 1w
  void (*lbfgs_search)(const Stream&, const LbfgsSearchArgs<T>&);        // 2r
  void (*lbfgs_update)(const Stream&, const LbfgsUpdateArgs<T>&);        // 4r 4w, then 2r per pair
  void (*lbfgs_direction)(const Stream&, const LbfgsDirectionArgs<T>&);  // 1r 1w, then 2r per pair
  void (*fill)(const Stream&, T* target, std::size_t size, T value);     // 1w

  // Measurement of arithmetic: 2 fma_chains rounds flops per pixel.
  void (*fma_loop)(const Stream&, const FmaLoopArgs<T>&);  // 1r 1w

  HostPasses<T> host;
};

/// `overrides`: with the hand-tuned versions of kernels/overrides in place of the generic bodies.
#define BILEVEL_DECLARE_BACKEND(name)                \
  namespace name {                                   \
  const Table<float>& table_float(bool overrides);   \
  const Table<double>& table_double(bool overrides); \
  const ScalarTable& table_scalar();                 \
  }
BILEVEL_DECLARE_BACKEND(baseline)
BILEVEL_DECLARE_BACKEND(avx2)
BILEVEL_DECLARE_BACKEND(avx512)
BILEVEL_DECLARE_BACKEND(cuda)
BILEVEL_DECLARE_BACKEND(cuda_checking)
#undef BILEVEL_DECLARE_BACKEND

}  // namespace bilevel::kernels
