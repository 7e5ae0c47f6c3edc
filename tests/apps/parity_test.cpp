// A training run on CUDA follows the CPU's: the same iterations, operator counts and decisions.

#include <iomanip>

#include "bilevel/core/device.hpp"
#include "bilevel/core/error.hpp"
#include "tests/apps/app_test_support.hpp"
#include "tests/model/scoped_environment.hpp"

namespace bilevel_test {
namespace {

using bilevel::testing_support::ScopedEnvironment;

/// Why there is no CUDA device with these kernels; empty when there is one.
std::string no_cuda_with(const char* variant) {
  const ScopedEnvironment choice("BILEVEL_CUDA_VARIANT", variant);
  return no_cuda();
}

#define BILEVEL_REQUIRE_CUDA(variant) \
  if (const std::string reason = no_cuda_with(variant); !reason.empty()) GTEST_SKIP() << reason

/// The log of a run, without its times.
std::vector<Json> log_of(const std::string& run) {
  std::vector<Json> lines;
  for (const std::string& line : lines_of(get_file(fs::path(run) / "log.jsonl")))
    lines.push_back(Json::parse(line));
  return lines;
}

struct Choice {
  const char* model;
  const char* precision;
};
void PrintTo(const Choice& c, std::ostream* out) { *out << c.model << "_" << c.precision; }

constexpr const char* decisions[] = {"iteration", "backtracks", "status"};
constexpr const char* counts[] = {"lower_gradients", "hessian_products", "other_operators"};
/// What the run computed, and what its decisions follow from.
constexpr const char* numbers[] = {"loss",        "loss_lower", "loss_upper", "gradient_norm",
                                   "error_bound", "epsilon",    "delta",      "step"};

double relative(double a, double b) {
  return a == b ? 0 : std::abs(a - b) / std::max(std::abs(a), std::abs(b));
}

class Parity : public testing::TestWithParam<Choice> {
 protected:
  /// Trains on a device with an environment variable set. In single precision only alpha is learned: a small
  /// nu asks for more than that precision certifies.
  std::vector<Json> train(const std::string& name, const std::vector<std::string>& more, const char* variable,
                          const char* value) {
    if (data_.empty()) data_ = photographs(folder_, "photos", 2, 28, 28, 5);
    std::vector<std::string> a{"train",
                               "--data",
                               data_,
                               "--out",
                               folder_ / name,
                               "--images",
                               "2",
                               "--crop",
                               "24",
                               "--max-iterations",
                               "6",
                               "--model",
                               GetParam().model,
                               "--precision",
                               GetParam().precision};
    const bool single = std::string(GetParam().precision) == "float";
    for (const char* text :
         {"--tolerance", single ? "3e-2" : "1e-9", "--learn", single ? "alpha" : "alpha,nu"})
      a.emplace_back(text);
    a.insert(a.end(), more.begin(), more.end());
    const Outcome o = bilevel_test::run(a, [=] { ::setenv(variable, value, 1); });
    EXPECT_EQ(o.code, 0) << o.err;
    return log_of(folder_ / name);
  }
  std::vector<Json> on_cpu(const char* nu = "0.01") {
    return train(std::string("cpu nu ") + nu,
                 {"--device", "cpu", "--threads", "1", "--init", std::string("nu=") + nu}, "BILEVEL_CPU_ISA",
                 "");
  }
  std::vector<Json> on_cuda(const char* variant) {
    return train("cuda", {"--device", "cuda"}, "BILEVEL_CUDA_VARIANT", variant);
  }
  static double theta_difference(const Json& a, const Json& b) {
    double worst = 0;
    for (const auto& [name, value] : a["theta"].items())
      worst = std::max(worst, relative(value.get<double>(), b["theta"][name].get<double>()));
    return worst;
  }
  /// The same over all lines.
  static double theta_difference(const std::vector<Json>& a, const std::vector<Json>& b) {
    double worst = 0;
    for (std::size_t k = 0; k < std::min(a.size(), b.size()); ++k)
      worst = std::max(worst, theta_difference(a[k], b[k]));
    return worst;
  }

  TemporaryFolder folder_;
  std::string data_;
};

std::string choice_name(const testing::TestParamInfo<Choice>& info) {
  std::string name = std::string(info.param.model) + "_" + info.param.precision;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// Without contraction every operation of a kernel is the CPU's; the sums of an image differ in their order.
/// What that may do to theta is told by the CPU alone, started from a nu that differs in its last bits.
using ExactParity = Parity;
TEST_P(ExactParity, CountsAndDecisionsAreTheCpus) {
  BILEVEL_REQUIRE_CUDA("checking");
  const std::vector<Json> cpu = on_cpu(), cuda = on_cuda("checking");
  const double rounding = theta_difference(cpu, on_cpu("0.01000000000000002"));
  ASSERT_EQ(cuda.size(), cpu.size());
  ASSERT_GE(cpu.size(), 5u);
  std::map<std::string, double> worst;
  for (std::size_t k = 0; k < cpu.size(); ++k) {
    SCOPED_TRACE("line " + std::to_string(k));
    for (const char* key : decisions) EXPECT_EQ(cuda[k][key], cpu[k][key]) << key;
    for (const char* key : counts) EXPECT_EQ(cuda[k][key], cpu[k][key]) << key;
    for (const char* key : numbers)
      worst[key] = std::max(worst[key], relative(cuda[k][key].get<double>(), cpu[k][key].get<double>()));
  }
  const double theta = theta_difference(cpu, cuda);
  std::cout << "largest relative differences:" << std::setprecision(2) << " theta " << theta
            << " (the CPU by itself " << rounding << ")";
  for (const auto& [key, value] : worst) std::cout << ", " << key << " " << value;
  std::cout << "\n";
  EXPECT_LE(theta, std::max(1e-12, 10 * rounding));
  EXPECT_LE(rounding, 1e-10);
  EXPECT_LE(worst["loss"], 1e-12);
}
INSTANTIATE_TEST_SUITE_P(Models, ExactParity,
                         testing::Values(Choice{"tv-aniso", "double"}, Choice{"tv", "double"}), choice_name);

using ShippedParity = Parity;
TEST_P(ShippedParity, CountsAreCloseAndTheLossIsTheSame) {
  BILEVEL_REQUIRE_CUDA("standard");
  const std::vector<Json> cpu = on_cpu(), cuda = on_cuda("standard");
  ASSERT_FALSE(cpu.empty());
  ASSERT_FALSE(cuda.empty());
  const auto total = [](const Json& line) {
    double sum = 0;
    for (const char* key : counts) sum += line[key].get<double>();
    return sum;
  };
  std::cout << "operators: CPU " << total(cpu.back()) << ", CUDA " << total(cuda.back())
            << std::setprecision(3) << "; relative difference of the loss "
            << relative(cuda.back()["loss"].get<double>(), cpu.back()["loss"].get<double>()) << ", of theta "
            << theta_difference(cpu.back(), cuda.back()) << "\n";
  for (const char* key : counts) {
    const double here = cuda.back()[key].get<double>(), there = cpu.back()[key].get<double>();
    EXPECT_LE(std::abs(here - there), 0.05 * there) << key << ": " << here << " and " << there;
  }
  if (std::string(GetParam().precision) == "double") {
    EXPECT_LE(relative(cuda.back()["loss"].get<double>(), cpu.back()["loss"].get<double>()), 1e-6);
  }
}
INSTANTIATE_TEST_SUITE_P(Models, ShippedParity,
                         testing::Values(Choice{"tv-aniso", "double"}, Choice{"tv", "double"},
                                         Choice{"tv-aniso", "float"}, Choice{"tv", "float"}),
                         choice_name);

}  // namespace
}  // namespace bilevel_test
