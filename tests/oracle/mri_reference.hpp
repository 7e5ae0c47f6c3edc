#pragma once

#include "tests/oracle/mri_oracle.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel::oracle {

/// Problem at theta of a reference case with model "mri".
MriProblem mri_problem(const testing_support::ReferenceCase& data);

}  // namespace bilevel::oracle
