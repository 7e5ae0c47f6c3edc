#pragma once

#include <string>

#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// Throws ConfigError for what deblurring does not have: --mask, --precision mixed, --solver pdhg.
void require_deblurs(const std::string& mask, const std::string& precision, const std::string& solver);
/// The same for a model that deblurs; nothing for others.
void require_deblurs(const bilevel::DenoiseModel& model, const std::string& mask,
                     const std::string& precision, const std::string& solver);

}  // namespace bilevel_app::denoise
