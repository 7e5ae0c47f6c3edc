#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/common/text.hpp"
#include "apps/learn/matrix_file.hpp"
#include "apps/learn/model_json.hpp"
#include "apps/learn/run_report.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/model/bilevel_problem.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/model_file.hpp"
#include "bilevel/model/upper_loss.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

namespace {

constexpr const char* x_file = "x.npy";

/// A matrix, or a vector, and where it is from.
template <class Numbers>
struct Given {
  NamedFile file;
  Numbers numbers;
};

/// What a file has a number of.
struct Count {
  const NamedFile& file;
  int number;
  const char* what;
};

void require_equal(const Count& a, const Count& b) {
  if (a.number != b.number)
    throw IoError(a.file.text(), "it has " + std::to_string(a.number) + " " + a.what + ", but " +
                                     b.file.text() + " has " + std::to_string(b.number) + " " + b.what + ".");
}

/// theta minimises 1/2 |A1 x - b1|^2, x = argmin 1/2 |A2 x + A3 theta - b2|^2 + xi/2 |x|^2.
struct ShiftData {
  Given<Matrix> a1, a2, a3;
  Given<std::vector<double>> b1, b2;

  explicit ShiftData(const ShiftFiles& f)
      : a1(matrix("--upper-matrix", f.upper_matrix)),
        a2(matrix("--lower-matrix", f.lower_matrix)),
        a3(matrix("--shift-matrix", f.shift_matrix)),
        b1(vector("--upper-vector", f.upper_vector)),
        b2(vector("--lower-vector", f.lower_vector)) {
    require_equal(columns(a2), columns(a1));
    require_equal(numbers(b1), rows(a1));
    require_equal(rows(a3), rows(a2));
    require_equal(numbers(b2), rows(a2));
  }
  std::uint64_t fingerprint() const {
    std::uint64_t f = bilevel::fingerprint(a1.numbers.values);
    for (const auto* values : {&b1.numbers, &a2.numbers.values, &a3.numbers.values, &b2.numbers})
      f = bilevel::fingerprint(*values, f);
    return f;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const NamedFile& file : {a1.file, b1.file, a2.file, a3.file, b2.file})
      names.push_back(std::filesystem::path(file.path).filename().string());
    return names;
  }

 private:
  static Given<Matrix> matrix(const char* option, const std::string& path) {
    const NamedFile file{option, path};
    return {file, read_matrix(file)};
  }
  static Given<std::vector<double>> vector(const char* option, const std::string& path) {
    const NamedFile file{option, path};
    return {file, read_vector(file)};
  }
  static Count rows(const Given<Matrix>& a) { return {a.file, a.numbers.rows, "rows"}; }
  static Count columns(const Given<Matrix>& a) { return {a.file, a.numbers.columns, "columns"}; }
  static Count numbers(const Given<std::vector<double>>& v) {
    return {v.file, static_cast<int>(v.numbers.size()), "numbers"};
  }
};

Parameters parameters_of(const TrainOptions& o, const ShiftData& d) {
  const auto [lower, upper] = bounds_of(Learn::shift);
  const int entries = d.a3.numbers.columns;
  const double xi = 2 * o.fixed_ridge();
  return Parameters({{"shift",
                      Transform::identity,
                      0,
                      lower,
                      upper,
                      true,
                      {entries},
                      std::vector<double>(static_cast<std::size_t>(entries), o.first_value())},
                     {"xi", Transform::identity, xi, 0, xi, false}});
}

class ShiftTask final : public Task {
 public:
  explicit ShiftTask(const TrainOptions& options)
      : options_(options), data_(options.shift), parameters_(parameters_of(options, data_)) {}

  const Parameters& parameters() const override { return parameters_; }
  NamedOption fingerprint() const override {
    return {"matrices (fingerprint)", fingerprint_text(data_.fingerprint())};
  }
  UpperReport optimise(Context& context, Observer& observer, const UpperState* resume) override {
    return options_.common.precision == "float" ? optimise_in<float>(context, observer, resume)
                                                : optimise_in<double>(context, observer, resume);
  }
  bool has_result() const override { return !x_.empty(); }
  void write(const RunFolder& folder, const std::vector<double>& theta) const override;
  nlohmann::ordered_json summary(const std::vector<double>&) const override {
    return {{"unknowns", data_.a2.numbers.columns}, {"parameters", parameters_.size()}};
  }
  Lines lines(const std::vector<double>&) const override {
    if (x_.empty()) return {};
    const auto [least, most] = std::minmax_element(x_.begin(), x_.end());
    return {{"x", format("%zu numbers, %.3g to %.3g", x_.size(), *least, *most)}};
  }

 private:
  template <class T>
  UpperReport optimise_in(Context&, Observer&, const UpperState* resume);

  const TrainOptions& options_;
  ShiftData data_;
  Parameters parameters_;
  std::vector<double> x_;
};

template <class T>
UpperReport ShiftTask::optimise_in(Context& context, Observer& observer, const UpperState* resume) {
  const auto matrix = [&context](const Given<Matrix>& a) {
    const Matrix& m = a.numbers;
    return operator_of<T>(context, 1, m.rows, m.columns, m.values, a.file);
  };
  const auto row = [&context](const std::vector<double>& v) {
    return Tensor<T>(context, {1, 1, 1, static_cast<int>(v.size())}, std::vector<T>(v.begin(), v.end()));
  };
  const auto lower = matrix(data_.a2);
  if (options_.fixed_ridge() == 0 && !(lower->least2() > 0))
    throw IoError(data_.a2.file.text(),
                  "its columns are not certainly independent, so that x is not certain to be the only "
                  "minimiser; add --ridge A.");
  const Tensor<T> b1 = row(data_.b1.numbers), b2 = row(data_.b2.numbers),
                  start = row(std::vector<double>(static_cast<std::size_t>(data_.a2.numbers.columns), 0));
  const BilevelProblem<T> problem(
      std::make_unique<ComposedEnergy<T>>(context, lower, matrix(data_.a3), b2.view(), parameters_),
      observed_least_squares<T>(context, matrix(data_.a1), b1.view()), parameters_);
  const auto optimiser = make_optimiser<T>(options_.method, options_.upper);
  UpperReport report =
      optimiser->run(context, problem, parameters_.initial(), start.view(), observer, resume);
  if (const View<const T> reached = optimiser->reconstructions()) {
    const std::vector<T> x = download<T>(context, reached);
    if (std::all_of(x.begin(), x.end(), [](T v) { return std::isfinite(v); })) x_.assign(x.begin(), x.end());
  }
  return report;
}

void ShiftTask::write(const RunFolder& folder, const std::vector<double>& theta) const {
  const std::vector<Segment> learned = parameters_.at(theta);
  nlohmann::ordered_json json = model_head("bilevel-shift", 1, name_of(Learn::shift));
  json["x"] = {{"file", x_file}, {"shape", nlohmann::ordered_json::array({x_.size()})}};
  json["theta"] = theta_json(learned);
  json["conventions"] = {{"energy", "1/2 |A2 x + A3 shift - b2|^2 + xi/2 |x|^2"},
                         {"loss", "1/2 |A1 x - b1|^2"}};
  json["training"] = training_json(deciding_options(options_));
  json["data"] = {{"files", data_.files()}, {"fingerprint", fingerprint_text(data_.fingerprint())}};
  write_npy(folder / x_file, extents({static_cast<int>(x_.size())}), std::span<const double>(x_));
  write_model_json(folder / "model.json", json, learned);
}

}  // namespace

std::unique_ptr<Task> make_shift_task(const TrainOptions& options) {
  return std::make_unique<ShiftTask>(options);
}

}  // namespace bilevel_app::learn
