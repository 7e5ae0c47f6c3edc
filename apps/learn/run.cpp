#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/learn/options.hpp"

namespace bilevel_app::learn {

int run(const Options& options, std::ostream& out, std::ostream& err) {
  const InterruptGuard guard;
  struct Dispatch {
    std::ostream &out, &err;
    int operator()(const std::string& text) const {
      out << text;
      return exit_ok;
    }
    int operator()(const TrainOptions& o) const { return train(o, out, err); }
    int operator()(const EvaluateOptions& o) const { return evaluate(o, out, err); }
    int operator()(const ApplyOptions& o) const { return apply(o, out, err); }
  };
  return std::visit(Dispatch{out, err}, options.command);
}

}  // namespace bilevel_app::learn
