#include "apps/common/dispatch.hpp"
#include "apps/denoise/options.hpp"

namespace bilevel_app::denoise {

int run(const Options& options, std::ostream& out, std::ostream& err) {
  return dispatch(
      options.command, out, [&](const TrainOptions& o) { return train(o, out, err); },
      [&](const ApplyOptions& o) { return apply(o, out, err); },
      [&](const EvaluateOptions& o) { return evaluate(o, out, err); },
      [&](const CheckOptions& o) { return check(o, out, err); });
}

}  // namespace bilevel_app::denoise
