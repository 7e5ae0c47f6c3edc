#include "apps/common/dispatch.hpp"
#include "apps/mri/options.hpp"

namespace bilevel_app::mri {

int run(const Options& options, std::ostream& out, std::ostream& err) {
  return dispatch(
      options.command, out, [&](const LearnOptions& o) { return learn(o, out, err); },
      [&](const BaselineOptions& o) { return baseline(o, out, err); },
      [&](const ReconstructOptions& o) { return reconstruct(o, out, err); },
      [&](const EvaluateOptions& o) { return evaluate(o, out, err); });
}

}  // namespace bilevel_app::mri
