#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/mri/options.hpp"

namespace bilevel_app::mri {

int run(const Options& options, std::ostream& out, std::ostream& err) {
  const InterruptGuard guard;
  struct Dispatch {
    std::ostream &out, &err;
    int operator()(const std::string& text) const {
      out << text;
      return exit_ok;
    }
    int operator()(const LearnOptions& o) const { return learn(o, out, err); }
    int operator()(const BaselineOptions& o) const { return baseline(o, out, err); }
    int operator()(const ReconstructOptions& o) const { return reconstruct(o, out, err); }
    int operator()(const EvaluateOptions& o) const { return evaluate(o, out, err); }
  };
  return std::visit(Dispatch{out, err}, options.command);
}

}  // namespace bilevel_app::mri
