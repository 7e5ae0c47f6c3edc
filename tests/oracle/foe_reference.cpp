#include "tests/oracle/foe_reference.hpp"

#include <stdexcept>

namespace bilevel::oracle {

FoeProblem foe_problem(const testing_support::ReferenceCase& data) {
  if (data.model != "foe") throw std::invalid_argument(data.name + " is not a fields-of-experts case");
  FoeProblem problem;
  problem.n = data.N;
  problem.h = data.H;
  problem.w = data.W;
  problem.filters = data.filters;
  problem.size = data.filter_size;
  problem.padding = data.padding == "valid" ? Padding::valid : Padding::symmetric;
  problem.potential = data.potential == "huber_c2" ? Potential::huber_c2 : Potential::charbonnier;
  problem.mu = data.parameter("mu");
  problem.theta = data.theta;
  problem.y = data.y;
  problem.x_true = data.x_true;
  return problem;
}

}  // namespace bilevel::oracle
