// Data hypercleaning of handwritten digits (MNIST).

#include "tests/apps/learn_test_support.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

/// A tenth of 2000 training labels is wrong: learning finds them, and the classifier errs less than without
/// weights. (Weights go on to 0 and 1 later, also those of clean samples that do not help.)
TEST(LearnDigits, WrongLabelsAreFound) {
  const auto shared = bilevel::testing_support::shared_folder();
  if (!shared) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const fs::path digits = *shared / "data/digits";
  const TemporaryFolder folder;
  const Outcome o = learn_here({"train",
                                "--train-data",
                                digits / "train-images-idx3-ubyte",
                                "--train-labels",
                                digits / "train-labels-idx1-ubyte",
                                "--validation-data",
                                digits / "val-images-idx3-ubyte",
                                "--validation-labels",
                                digits / "val-labels-idx1-ubyte",
                                "--train",
                                "2000",
                                "--corrupt",
                                "0.1",
                                "--learn",
                                "samples",
                                "--ridge",
                                "0.01",
                                "--max-iterations",
                                "5",
                                "--out",
                                folder / "run"});
  ASSERT_EQ(o.code, 0) << o.err;
  std::cout << o.out;
  const Json summary = summary_of(folder, "run"), &weights = summary["sample_weights"];
  EXPECT_EQ(weights["corrupted"], 200);
  EXPECT_LE(weights["mean_corrupted"], 0.5 * weights["mean_clean"].get<double>());
  EXPECT_GE(weights["area_under_curve"], 0.9);
  EXPECT_LE(summary["validation"]["error_rate"], summary["compared_with"]["error_rate"]);
}

}  // namespace
}  // namespace bilevel_test
