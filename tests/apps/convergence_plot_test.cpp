// The plot of a run: its abscissa counts every operator application that the log has.

#include <array>

#include "apps/common/run_folder.hpp"
#include "apps/common/run_output.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

/// The tick labels of a plot of three records, the last with this many applications of each kind.
std::string plot_of(int gradients, int products, int others) {
  const TemporaryFolder folder;
  bilevel_app::RunFolder run(folder / "run", false);
  run.keep();
  std::string lines;
  for (const int part : {0, 1, 2})
    lines += Json{{"loss", 3 - part},
                  {"loss_lower", 3 - part},
                  {"loss_upper", 3.5 - part},
                  {"epsilon", 0.1},
                  {"delta", 0.1},
                  {"error_bound", 0.2},
                  {"gradient_norm", 1.0},
                  {"lower_gradients", gradients * part / 2},
                  {"hessian_products", products * part / 2},
                  {"other_operators", others * part / 2}}
                 .dump() +
             "\n";
  put_file(run / "log.jsonl", lines);
  bilevel_app::write_convergence_plot(run);
  return get_file(run / "convergence.svg");
}

TEST(ConvergencePlot, CountsEveryOperatorApplication) {
  for (const auto& [g, h, o] : {std::array{800, 0, 0}, std::array{0, 800, 0}, std::array{0, 0, 800}})
    EXPECT_NE(plot_of(g, h, o).find(">800<"), std::string::npos) << g << " " << h << " " << o;
  EXPECT_NE(plot_of(300, 200, 300).find(">800<"), std::string::npos);
  EXPECT_EQ(plot_of(300, 200, 200).find(">800<"), std::string::npos);
}

}  // namespace
}  // namespace bilevel_test
