// The plot of a run: its abscissa counts every operator application that the log has.

#include <array>
#include <tuple>

#include "apps/common/run_folder.hpp"
#include "apps/common/run_output.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

/// The tick labels of a plot of a run of three steps, with this many applications of each kind after the
/// third, and the record of its end.
std::string plot_of(int gradients, int products, int others) {
  const TemporaryFolder folder;
  bilevel_app::RunFolder run(folder / "run", false);
  run.keep();
  std::string lines;
  for (const int part : {0, 1, 2, 2})
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

/// The loss of a record belongs to the theta before its step, its work to the step too: the first loss is at
/// 0, that of the end at all the work, and no two at the same place.
TEST(ConvergencePlot, LossesStandWhereTheyWereReached) {
  const TemporaryFolder folder;
  bilevel_app::RunFolder run(folder / "run", false);
  run.keep();
  std::string lines;
  for (const auto& [loss, work] : {std::pair{4, 100}, {3, 200}, {2, 400}, {1, 400}})
    lines += Json{{"loss", loss},          {"loss_lower", loss},
                  {"loss_upper", loss},    {"epsilon", 0.1},
                  {"delta", 0.1},          {"error_bound", 0.2},
                  {"gradient_norm", 1.0},  {"lower_gradients", work},
                  {"hessian_products", 0}, {"other_operators", 0}}
                 .dump() +
             "\n";
  put_file(run / "log.jsonl", lines);
  bilevel_app::write_convergence_plot(run);
  const std::string svg = get_file(run / "convergence.svg");
  std::vector<double> x;  // of the points of the first curve, 4 falling losses
  for (std::size_t at = 0; x.size() < 4 && (at = svg.find("<circle cx=\"", at)) != std::string::npos; ++at)
    x.push_back(std::stod(svg.substr(at + 12)));
  ASSERT_EQ(x.size(), 4u) << svg.substr(0, 2000);
  EXPECT_NEAR((x[1] - x[0]) / (x[3] - x[0]), 0.25, 1e-2);
  EXPECT_NEAR((x[2] - x[0]) / (x[3] - x[0]), 0.5, 1e-2);
}

/// Of a run by minibatches only the checks of all images are drawn, which have no step.
TEST(ConvergencePlot, LeavesOutTheLossesOfMinibatches) {
  const TemporaryFolder folder;
  bilevel_app::RunFolder run(folder / "run", false);
  run.keep();
  std::string lines;
  for (const auto& [status, loss, work] : {std::tuple{"whole", 4, 100},
                                           {"minibatch", 90, 200},
                                           {"skipped", 1, 250},
                                           {"whole", 3, 300},
                                           {"minibatch", 70, 400},
                                           {"max_iterations", 2, 500}})
    lines += Json{{"status", status},      {"loss", loss},         {"loss_lower", loss},
                  {"loss_upper", loss},    {"epsilon", 0.1},       {"delta", 0.1},
                  {"error_bound", 0.2},    {"gradient_norm", 1.0}, {"lower_gradients", work},
                  {"hessian_products", 0}, {"other_operators", 0}}
                 .dump() +
             "\n";
  put_file(run / "log.jsonl", lines);
  bilevel_app::write_convergence_plot(run);
  const std::string svg = get_file(run / "convergence.svg");
  std::vector<double> x;
  for (std::size_t at = 0; x.size() < 3 && (at = svg.find("<circle cx=\"", at)) != std::string::npos; ++at)
    x.push_back(std::stod(svg.substr(at + 12)));
  ASSERT_EQ(x.size(), 3u) << svg.substr(0, 2000);
  EXPECT_NEAR((x[1] - x[0]) / (x[2] - x[0]), 0.5, 1e-2);
}

}  // namespace
}  // namespace bilevel_test
