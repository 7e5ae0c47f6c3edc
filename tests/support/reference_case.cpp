#include "tests/support/reference_case.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bilevel::testing_support {
namespace {

std::vector<double> take(const ReferenceCase& data, const std::string& key) {
  const auto found = data.arrays.find(key);
  return found == data.arrays.end() ? std::vector<double>{} : found->second.data;
}

std::optional<std::vector<double>> take_optional(const ReferenceCase& data, const std::string& key) {
  if (data.arrays.count(key) == 0) return std::nullopt;
  return data.arrays.at(key).data;
}

void read_header(const nlohmann::json& json, ReferenceCase& data) {
  data.name = json.at("name").get<std::string>();
  data.model = json.at("model").get<std::string>();
  data.potential = json.value("potential", std::string{});
  data.isotropy = json.value("isotropy", std::string{});
  data.padding = json.value("padding", std::string{});
  data.parameterisation = json.value("parameterisation", std::string{});
  data.H = json.value("H", 0);
  data.W = json.value("W", 0);
  data.N = json.value("N", 1);
  data.filters = json.value("K", 0);
  data.filter_size = json.value("k", 0);
  data.scalar_layout = json.value("scalar_layout", std::vector<std::string>{});
  data.fixed = json.value("fixed", std::map<std::string, double>{});
  data.penalty = json.value("penalty", std::map<std::string, double>{});
  const std::vector<double> none;
  data.phi_xhat = json.value("phi_xhat", none);
  data.phi_x0 = json.value("phi_x0", none);
  data.grad_norm_xhat = json.value("grad_norm_xhat", none);
  data.error_x0 = json.value("error_x0", none);
  data.hessian_min_eig = json.value("hessian_min_eig_xhat", none);
  data.hessian_max_eig = json.value("hessian_max_eig_xhat", none);
  data.f = json.at("f").get<double>();
  data.f_data = json.at("f_data").get<double>();
  data.f_penalty = json.at("f_penalty").get<double>();
  if (json.contains("f_opt")) data.f_opt = json.at("f_opt").get<double>();
}

}  // namespace

double ReferenceCase::parameter(const std::string& parameter_name) const {
  for (std::size_t k = 0; k < scalar_layout.size(); ++k) {
    const std::size_t position = theta.size() - scalar_layout.size() + k;  // scalars close theta
    if (scalar_layout[k] == parameter_name) return theta[position];
    if (scalar_layout[k] == "log_" + parameter_name) return std::exp(theta[position]);
  }
  return fixed.at(parameter_name);
}

std::vector<double> ReferenceCase::image(const std::vector<double>& batch, int i) const {
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(batch.size()) / N;
  return {batch.begin() + i * size, batch.begin() + (i + 1) * size};
}

std::optional<std::filesystem::path> shared_folder() {
  std::filesystem::path folder;
#ifdef BILEVEL_SHARED_DEFAULT
  folder = BILEVEL_SHARED_DEFAULT;
#endif
  if (const char* variable = std::getenv("BILEVEL_SHARED")) folder = variable;
  std::error_code error;
  if (folder.empty() || !std::filesystem::is_directory(folder, error)) return std::nullopt;
  return folder;
}

std::vector<std::string> reference_names(const std::string& prefix) {
  std::vector<std::string> names;
  const auto shared = shared_folder();
  if (!shared || !std::filesystem::is_directory(*shared / "reference")) return names;
  for (const auto& entry : std::filesystem::directory_iterator(*shared / "reference")) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && std::filesystem::exists(entry.path() / "case.json")) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

ReferenceCase read_reference(const std::string& name) {
  const auto shared = shared_folder();
  if (!shared) throw std::runtime_error("no shared folder; set BILEVEL_SHARED");
  return read_reference_folder(*shared / "reference" / name);
}

ReferenceCase read_reference_folder(const std::filesystem::path& folder) {
  std::ifstream stream(folder / "case.json");
  if (!stream) throw std::runtime_error((folder / "case.json").string() + ": cannot be opened");
  const nlohmann::json json = nlohmann::json::parse(stream);
  ReferenceCase data;
  read_header(json, data);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".npy")
      data.arrays[entry.path().stem().string()] = read_npy(entry.path());
  }
  data.theta = take(data, "theta");
  data.mask = take(data, "mask");
  data.y = take(data, "y");
  data.x_true = take(data, "x_true");
  data.xhat = take(data, "xhat");
  data.adjoint_q = take(data, "adjoint_q");
  data.hypergradient = take(data, "hypergradient");
  data.x0 = take(data, "x0");
  data.v = take(data, "v");
  data.dtheta = take(data, "dtheta");
  data.grad_x0 = take(data, "grad_x0");
  data.hvp_x0_v = take(data, "hvp_x0_v");
  data.jtv_x0_v = take(data, "jtv_x0_v");
  data.jd_x0_dtheta = take(data, "jd_x0_dtheta");
  data.theta_opt = take_optional(data, "theta_opt");
  data.x_opt = take_optional(data, "x_opt");
  return data;
}

}  // namespace bilevel::testing_support
