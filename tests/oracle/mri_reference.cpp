#include "tests/oracle/mri_reference.hpp"

#include <stdexcept>

namespace bilevel::oracle {

MriProblem mri_problem(const testing_support::ReferenceCase& data) {
  if (data.model != "mri") throw std::invalid_argument(data.name + " is not an MRI case");
  MriProblem problem;
  problem.n = data.N;
  problem.h = data.H;
  problem.w = data.W;
  problem.potential = data.potential == "huber_c2" ? Potential::huber_c2 : Potential::charbonnier;
  problem.pattern = data.parameterisation == "lines" ? PatternKind::rows : PatternKind::free;
  problem.map = data.parameterisation == "rational" ? SamplingMap::rational : SamplingMap::direct;
  problem.sampling.assign(data.theta.begin(),
                          data.theta.end() - static_cast<std::ptrdiff_t>(data.scalar_layout.size()));
  for (const std::string& name : data.scalar_layout) {
    if (name != "log_alpha") throw std::invalid_argument(data.name + " learns " + name);
    problem.learn_alpha = true;
  }
  problem.alpha = data.parameter("alpha");
  problem.nu = data.parameter("nu");
  problem.xi = data.parameter("xi");
  problem.beta1 = data.penalty.at("beta1");
  problem.beta2 = data.penalty.at("beta2");
  problem.x_true = data.x_true;
  for (int i = 0; i < data.N; ++i) {  // (re, im) pairs to planes
    const std::vector<double> pairs = data.image(data.y, i);
    for (std::size_t part = 0; part < 2; ++part)
      for (std::size_t j = part; j < pairs.size(); j += 2) problem.y.push_back(pairs[j]);
  }
  return problem;
}

}  // namespace bilevel::oracle
