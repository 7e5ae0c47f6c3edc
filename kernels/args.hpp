#pragma once

// The names of the kernels' arguments. <family>_args.hpp defines those of a family, for its kernels and for
// the control code that fills them in.

namespace bilevel::kernels {

struct CertifyArgs;
struct NewtonBeginArgs;
struct NewtonDecideArgs;
struct ProgressArgs;
struct StallArgs;
struct ResidualRoundingArgs;
struct LbfgsStartArgs;
struct CompactArgs;
struct NarrowArgs;
struct WidenArgs;
struct DistanceArgs;

template <class T>
struct AnalysisGradientArgs;
template <class T>
struct AnalysisLineariseArgs;
template <class T>
struct AnalysisHessianArgs;
template <class T>
struct AnalysisDualArgs;
template <class T>
struct AnalysisMixedAdjointArgs;
template <class T>
struct AnalysisMixedForwardArgs;
template <class T>
struct AnalysisBoundArgs;
template <class T>
struct SpectrumArgs;
template <class T>
struct ExpertsEnergyArgs;
template <class T>
struct ExpertsLineariseArgs;
template <class T>
struct ExpertsHessianArgs;
template <class T>
struct ExpertsDualArgs;
template <class T>
struct ExpertsMixedAdjointArgs;
template <class T>
struct ExpertsMixedForwardArgs;
template <class T>
struct ExpertsPatchesArgs;
template <class T>
struct ExpertsBoundArgs;
template <class T>
struct JoinArgs;
template <class T>
struct PartArgs;
template <class T>
struct DiagonalArgs;
template <class T>
struct SpectrumMixedArgs;
template <class T>
struct PlanesArgs;
template <class T>
struct CoilArgs;
template <class T>
struct ScaleSpectraArgs;
template <class T>
struct WaveletAnalyseArgs;
template <class T>
struct WaveletSynthesiseArgs;
template <class T>
struct TorusExtendArgs;
template <class T>
struct TorusFoldArgs;
template <class T>
struct ProjectedArgs;
template <class T>
struct ScoreGradientArgs;
template <class T>
struct ScoreProbabilityArgs;
template <class T>
struct ScoreProductArgs;
template <class T>
struct ScoreMixedArgs;
template <class T>
struct MomentumArgs;
template <class T>
struct GuardedArgs;
template <class T>
struct RestartStepArgs;
template <class T>
struct RestartArgs;
template <class T>
struct CgStartArgs;
template <class T>
struct CgUpdateArgs;
template <class T>
struct CgDirectionArgs;
template <class T>
struct ResidualArgs;
template <class T>
struct CombineArgs;
template <class T>
struct DotArgs;
template <class T>
struct MisfitArgs;
template <class T>
struct MisfitGradientArgs;
template <class T>
struct LbfgsTrialArgs;
template <class T>
struct LbfgsSearchArgs;
template <class T>
struct LbfgsUpdateArgs;
template <class T>
struct LbfgsDirectionArgs;
template <class T>
struct PdhgDualArgs;
template <class T>
struct PdhgPrimalArgs;
template <class T>
struct FmaLoopArgs;

}  // namespace bilevel::kernels
