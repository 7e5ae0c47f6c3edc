// bilevel-learn train --learn shift, against normal equations.

#include <cmath>

#include "tests/apps/learn_test_support.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel::testing_support;
namespace oracle = bilevel::oracle;
using Vector = std::vector<double>;

std::size_t size_of(int n) { return static_cast<std::size_t>(n); }

Vector transposed_times(const oracle::Matrix& a, const Vector& z) {
  Vector out(size_of(a.cols), 0);
  for (int i = 0; i < a.rows; ++i)
    for (int j = 0; j < a.cols; ++j) out[size_of(j)] += a(i, j) * z[size_of(i)];
  return out;
}

/// f(t) = 1/2 |A1 x - b1|^2, x = argmin 1/2 |A2 x + A3 t - b2|^2 + ridge |x|^2, in files of a folder.
struct Quadratic {
  oracle::Matrix a1, a2, a3;
  Vector b1, b2;
  double ridge = 0;
  TemporaryFolder folder;

  Quadratic(int rows, int unknowns, int parameters, unsigned number) {
    Random random(seed(number));
    const auto draw = [&](int m, int n) {
      oracle::Matrix a(m, n);
      for (double& e : a.entries) e = random.uniform(-1, 1);
      return a;
    };
    a1 = draw(rows + 3, unknowns), a2 = draw(rows, unknowns), a3 = draw(rows, parameters);
    b1 = random.normal_vector(size_of(rows + 3)), b2 = random.normal_vector(size_of(rows));
    put();
  }
  void put() const {
    put_matrix("a1", a1), put_matrix("a2", a2), put_matrix("a3", a3);
    put_npy(folder / "b1", {b1.size()}, b1);
    put_npy(folder / "b2", {b2.size(), 1}, b2);
  }
  void put_matrix(const std::string& name, const oracle::Matrix& a) const {
    put_npy(folder / name, {size_of(a.rows), size_of(a.cols)}, a.entries);
  }
  oracle::Matrix hessian() const {
    oracle::Matrix h(a2.cols, a2.cols);
    for (int i = 0; i < a2.cols; ++i)
      for (int j = 0; j < a2.cols; ++j) {
        h(i, j) = i == j ? 2 * ridge : 0;
        for (int k = 0; k < a2.rows; ++k) h(i, j) += a2(k, i) * a2(k, j);
      }
    return h;
  }
  Vector minimiser(const Vector& t) const {
    return oracle::cholesky_solve(hessian(),
                                  transposed_times(a2, add_scaled(b2, -1, oracle::multiply(a3, t))));
  }
  Vector residual(const Vector& t) const { return add_scaled(oracle::multiply(a1, minimiser(t)), -1, b1); }
  double loss(const Vector& t) const {
    const Vector r = residual(t);
    return dot(r, r) / 2;
  }
  /// -A3^T A2 q, (A2^T A2 + 2 ridge I) q = A1^T (A1 x - b1).
  Vector gradient(const Vector& t) const {
    const Vector q = oracle::cholesky_solve(hessian(), transposed_times(a1, residual(t)));
    Vector z = transposed_times(a3, oracle::multiply(a2, q));
    for (double& e : z) e = -e;
    return z;
  }
  /// Of the smallest loss: t = -H^+ grad f(0), where the Hessian H of f has full rank.
  Vector best() const {
    const Vector none(size_of(a3.cols), 0), first = gradient(none);
    oracle::Matrix h(a3.cols, a3.cols);
    for (int j = 0; j < a3.cols; ++j) {
      Vector unit = none;
      unit[size_of(j)] = 1;
      const Vector column = add_scaled(gradient(unit), -1, first);
      for (int i = 0; i < a3.cols; ++i) h(i, j) = column[size_of(i)];
    }
    Vector t = oracle::cholesky_solve(h, first);
    for (double& e : t) e = -e;
    return t;
  }
  /// min over all x of 1/2 |A1 x - b1|^2.
  double least_misfit() const {
    oracle::Matrix h(a1.cols, a1.cols);
    for (int i = 0; i < a1.cols; ++i)
      for (int j = 0; j < a1.cols; ++j)
        for (int k = 0; k < a1.rows; ++k) h(i, j) += a1(k, i) * a1(k, j);
    const Vector x = oracle::cholesky_solve(h, transposed_times(a1, b1)),
                 r = add_scaled(oracle::multiply(a1, x), -1, b1);
    return dot(r, r) / 2;
  }

  std::vector<std::string> options(const std::string& out, const std::vector<std::string>& more,
                                   const std::map<std::string, std::string>& changed = {}) const {
    std::map<std::string, std::string> all{{"--learn", "shift"},
                                           {"--upper-matrix", folder / "a1"},
                                           {"--upper-vector", folder / "b1"},
                                           {"--lower-matrix", folder / "a2"},
                                           {"--shift-matrix", folder / "a3"},
                                           {"--lower-vector", folder / "b2"},
                                           {"--out", folder / out}};
    for (const auto& [name, value] : changed) all[name] = value;
    std::vector<std::string> a{"train"};
    for (const auto& [name, value] : all)
      if (!value.empty()) a.insert(a.end(), {name, value});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    return learn_here(options(out, more));
  }
  Vector array(const std::string& out, const std::string& name) const {
    return bilevel::read_npy(folder / (out + "/" + name)).values;
  }
};

/// What a run says holds for what is in its files.
void expect_certified(const Quadratic& problem, const std::string& out, double rounding) {
  const Json summary = summary_of(problem.folder, out);
  const Vector t = problem.array(out, "shift.npy"), exact = problem.minimiser(t);
  EXPECT_LE(distance(problem.array(out, "x.npy"), exact),
            summary["epsilon"].get<double>() + rounding * norm(exact));
  EXPECT_LE(summary["loss_lower"], problem.loss(t) * (1 + rounding));
  EXPECT_GE(summary["loss_upper"], problem.loss(t) * (1 - rounding));
  const double error_bound = summary["error_bound"], gradient_norm = summary["gradient_norm"];
  EXPECT_LE(norm(problem.gradient(t)), gradient_norm + error_bound + rounding);
}

TEST(LearnShift, EveryMethodReachesTheMinimum) {
  for (const bool with_ridge : {false, true}) {
    Quadratic problem(30, 6, 4, 4221);
    std::vector<std::string> usual{"--tolerance", "1e-4", "--min-progress", "0", "--init", "1"};
    if (with_ridge) {
      problem.ridge = 0.7;
      usual.insert(usual.end(), {"--ridge", "0.7"});
    }
    const Vector best = problem.best();
    const std::vector<std::vector<std::string>> methods{
        {"--algorithm", "lbfgsb"},
        {"--algorithm", "maid"},
        {"--algorithm", "maid", "--scaling", "lbfgs", "--solver", "fista-restart", "--linear-solver", "cg"},
        {"--algorithm", "fixed", "--epsilon0", "1e-8", "--delta0", "1e-8"}};
    for (std::size_t k = 0; k < methods.size(); ++k) {
      SCOPED_TRACE(k);
      std::vector<std::string> more = usual;
      more.insert(more.end(), methods[k].begin(), methods[k].end());
      const std::string out = "run" + std::to_string(k);
      const Outcome o = problem.train(out, more);
      ASSERT_EQ(o.code, 0) << o.err;
      EXPECT_EQ(summary_of(problem.folder, out)["status"], "stationary") << o.out;
      expect_certified(problem, out, 1e-11);
      EXPECT_LE(distance(problem.array(out, "shift.npy"), best), 1e-3 * norm(best));
    }
  }
}

/// More parameters than unknowns; single precision; a limit of the user.
TEST(LearnShift, FilesHoldWhatIsCertified) {
  const Quadratic wide(12, 3, 9, 4222);
  ASSERT_EQ(wide.train("run", {"--tolerance", "1e-5"}).code, 0);
  expect_certified(wide, "run", 1e-11);
  EXPECT_LE(wide.loss(wide.array("run", "shift.npy")), 1.001 * wide.least_misfit());

  Quadratic single(30, 6, 4, 4223);
  const Outcome o = single.train("run", {"--precision", "float", "--tolerance", "0.5"});
  ASSERT_EQ(o.code, 0) << o.err;
  expect_certified(single, "run", 1e-5);  // data of the problem in single precision
  EXPECT_EQ(summary_of(single.folder, "run")["precision"], "float");

  ASSERT_EQ(single.train("short", {"--max-iterations", "1", "--json"}).code, 0);
  expect_certified(single, "short", 1e-11);
  const std::vector<std::string> names = tree(single.folder / "short");
  for (const char* name :
       {"model.json", "shift.npy", "x.npy", "log.jsonl", "summary.json", "convergence.svg"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  const Json model = Json::parse(get_file(single.folder / "short/model.json"));
  EXPECT_EQ(model["theta"][0]["file"], "shift.npy");
  EXPECT_EQ(model["training"]["learn"], "shift");
  EXPECT_EQ(model["x"]["shape"], Json::array({6}));
  expect_learn_sentence(learn_here({"evaluate", "--model", single.folder / "short/model.json", "--data",
                                    single.folder / "a1", "--labels", single.folder / "b1"}),
                        3, {"it is of --learn shift and classifies nothing"});
}

/// An instance that another program solved.
TEST(LearnShift, ReachesTheMinimumOfTheReferenceInstance) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "The shared folder is absent; set BILEVEL_SHARED to run this test.";
  const fs::path data = *shared / "reference/quadratic_40x8";
  const ReferenceCase reference = read_reference("quadratic_40x8");
  ASSERT_TRUE(reference.theta_opt && reference.f_opt);
  const TemporaryFolder folder;
  const Outcome o = learn_here({"train", "--learn", "shift", "--upper-matrix", data / "A1.npy",
                                "--upper-vector", data / "b1.npy", "--lower-matrix", data / "A2.npy",
                                "--shift-matrix", data / "A3.npy", "--lower-vector", data / "b2.npy",
                                "--tolerance", "1e-6", "--min-progress", "0", "--out", folder / "run"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json summary = summary_of(folder, "run");
  EXPECT_EQ(summary["status"], "stationary") << summary;
  EXPECT_LE(distance(bilevel::read_npy(folder / "run/shift.npy").values, *reference.theta_opt),
            1e-4 * norm(*reference.theta_opt));
  EXPECT_LE(summary["loss_lower"], *reference.f_opt * (1 + 1e-6));
  EXPECT_GE(summary["loss_upper"], *reference.f_opt * (1 - 1e-12));
}

TEST(LearnShift, ATakenUpRunGivesTheSameBits) {
  Quadratic problem(20, 5, 4, 4224);
  for (const std::string algorithm : {"lbfgsb", "maid"}) {
    SCOPED_TRACE(algorithm);
    std::vector<std::string> more{"--algorithm",      algorithm, "--scaling",      "none",
                                  "--tolerance",      "1e-9",    "--min-progress", "0",
                                  "--max-iterations", "5"};
    ASSERT_EQ(problem.train("whole" + algorithm, more).code, 0);
    more.back() = "2";
    ASSERT_EQ(problem.train("parts" + algorithm, more).code, 0);
    more.back() = "5";
    more.push_back("--resume");
    const Outcome o = problem.train("parts" + algorithm, more);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(summary_of(problem.folder, "parts" + algorithm)["resumed_from"], 2);
    EXPECT_TRUE(contents_of_run(problem.folder / ("parts" + algorithm)) ==
                contents_of_run(problem.folder / ("whole" + algorithm)));
    more.insert(more.end(), {"--ridge", "0.1"});
    expect_learn_sentence(problem.train("parts" + algorithm, more), 2, {"--ridge was 0.0, not 0.1"});
  }
  problem.a3(0, 0) += 1;
  problem.put();
  expect_learn_sentence(problem.train("partsmaid", {"--algorithm", "maid", "--scaling", "none", "--tolerance",
                                                    "1e-9", "--resume"}),
                        2, {"the data of --upper-matrix or of the other files is another now"});
}

TEST(LearnShift, BadInputIsNamed) {
  const Quadratic problem(10, 3, 2, 4225);
  const auto refuse = [&](int code, const std::vector<std::string>& parts,
                          const std::map<std::string, std::string>& changed,
                          const std::vector<std::string>& more = {}) {
    expect_learn_sentence(learn_here(problem.options("run", more, changed)), code, parts);
    EXPECT_FALSE(fs::exists(problem.folder / "run"));
  };
  const auto file = [&problem](const char* name) { return problem.folder / name; };
  for (const char* option :
       {"--upper-matrix", "--upper-vector", "--lower-matrix", "--shift-matrix", "--lower-vector"}) {
    refuse(2, {std::string("train --learn shift needs ") + option + " FILE"}, {{option, ""}});
    refuse(3, {std::string(option) + " " + file("none")}, {{option, file("none")}});
  }
  for (const char* option : {"--train-data", "--train-labels", "--validation-data", "--validation-labels"})
    refuse(2, {std::string(option) + " is for classifiers, not for --learn shift; leave it out"},
           {{option, "x"}});
  for (const char* option : {"--validation", "--train", "--classes", "--block-rows"})
    refuse(2, {std::string(option) + " is for classifiers"}, {{option, "2"}});
  refuse(2, {"--bias is for classifiers"}, {}, {"--bias"});
  refuse(2, {"--corrupt is for classifiers"}, {{"--corrupt", "0.1"}});
  refuse(2, {"--ridge 0.0: use a positive number"}, {{"--ridge", "0"}});
  refuse(2, {"--init 10000000.0: use a number from -1000000.0 to 1000000.0"}, {{"--init", "1e7"}});

  refuse(3,
         {"--lower-matrix " + file("a3"), "2 columns, but --upper-matrix " + file("a1") + " has 3 columns"},
         {{"--lower-matrix", file("a3")}});
  refuse(3, {"--shift-matrix " + file("a1"), "13 rows, but --lower-matrix " + file("a2") + " has 10 rows"},
         {{"--shift-matrix", file("a1")}});
  refuse(3, {"--upper-vector " + file("b2"), "10 numbers, but --upper-matrix " + file("a1") + " has 13 rows"},
         {{"--upper-vector", file("b2")}});
  refuse(3, {"--lower-vector " + file("b1"), "13 numbers, but --lower-matrix"},
         {{"--lower-vector", file("b1")}});
  refuse(3, {"--upper-matrix " + file("b1"), "it must be an array [rows][columns], but is one [13]"},
         {{"--upper-matrix", file("b1")}});
  refuse(3, {"--upper-vector " + file("a1"), "it must be an array [n] or [n][1], but is one [13][3]"},
         {{"--upper-vector", file("a1")}});
  put_npy(file("empty"), {0, 3}, {});
  refuse(3, {"--upper-matrix " + file("empty"), "it holds no number"}, {{"--upper-matrix", file("empty")}});
  Vector values(20, 0.5);
  values[7] = std::nan("");
  put_npy(file("bad"), {10, 2}, values);
  refuse(3, {"--shift-matrix " + file("bad"), "number 7 (counted from 0) is nan, which is not finite"},
         {{"--shift-matrix", file("bad")}});
  values[7] = 1e200;
  put_npy(file("huge"), {10, 2}, values);
  refuse(3, {"--shift-matrix " + file("huge"), "squares leave the range of double precision"},
         {{"--shift-matrix", file("huge")}});
  put_npy(file("flat"), {10, 3}, Vector(30, 0.5));
  refuse(3, {"--lower-matrix " + file("flat"), "columns are not certainly independent", "add --ridge A"},
         {{"--lower-matrix", file("flat")}});
}

}  // namespace
}  // namespace bilevel_test
