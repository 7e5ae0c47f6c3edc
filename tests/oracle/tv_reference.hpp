#pragma once

#include <vector>

#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel::oracle {

/// Model and learned parameters, in the order of theta, of a reference case with model "tv", "tv2" or "h1".
TvModel tv_model(const testing_support::ReferenceCase& data);
std::vector<Parameter> tv_parameters(const testing_support::ReferenceCase& data);

}  // namespace bilevel::oracle
