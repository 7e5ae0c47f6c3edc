#include "tests/oracle/tv_reference.hpp"

#include <stdexcept>

namespace bilevel::oracle {

TvModel tv_model(const testing_support::ReferenceCase& data) {
  if (data.model != "tv" && data.model != "tv2" && data.model != "h1")
    throw std::invalid_argument(data.name + " is no case of differences");
  TvModel model;
  model.height = data.H;
  model.width = data.W;
  model.isotropic = data.model != "tv" || data.isotropy == "isotropic";
  model.potential = data.potential == "huber_c2"    ? Potential::huber_c2
                    : data.potential == "quadratic" ? Potential::quadratic
                                                    : Potential::charbonnier;
  if (data.model == "tv2") model.differences = Differences::second;
  model.alpha = data.parameter("alpha");
  if (model.potential != Potential::quadratic) model.nu = data.parameter("nu");
  model.xi = data.parameter("xi");
  model.mask = data.mask;
  return model;
}

std::vector<Parameter> tv_parameters(const testing_support::ReferenceCase& data) {
  std::vector<Parameter> parameters;
  for (const std::string& name : data.scalar_layout) {
    const bool logarithm = name.rfind("log_", 0) == 0;
    parameters.push_back(
        {logarithm ? name.substr(4) : name, logarithm ? Transform::exp : Transform::identity});
  }
  return parameters;
}

}  // namespace bilevel::oracle
