#include "apps/denoise/deblurring.hpp"

#include "bilevel/core/error.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

void require_deblurs(const std::string& mask, const std::string& precision, const std::string& solver) {
  if (!mask.empty())
    throw ConfigError(
        "--mask is for models without a blur, whose pixels are measured one by one; leave it out.");
  if (precision == "mixed")
    throw ConfigError("--precision mixed is for models without a blur; use double or float.");
  if (solver == "pdhg")
    throw ConfigError("--solver pdhg is for models without a blur; use another solver, such as newton.");
}

void require_deblurs(const DenoiseModel& model, const std::string& mask, const std::string& precision,
                     const std::string& solver) {
  if (model.blur) require_deblurs(mask, precision, solver);
}

}  // namespace bilevel_app::denoise
