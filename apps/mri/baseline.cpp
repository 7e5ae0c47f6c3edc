#include "apps/mri/options.hpp"
#include "bilevel/core/error.hpp"
namespace bilevel_app::mri {
int baseline(const BaselineOptions&, std::ostream&, std::ostream&) { throw bilevel::ConfigError("not yet."); }
int reconstruct(const ReconstructOptions&, std::ostream&, std::ostream&) {
  throw bilevel::ConfigError("not yet.");
}
int evaluate(const EvaluateOptions&, std::ostream&, std::ostream&) { throw bilevel::ConfigError("not yet."); }
}  // namespace bilevel_app::mri
