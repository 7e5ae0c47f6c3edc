#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/output_check.hpp"
#include "apps/common/text.hpp"
#include "apps/learn/classifier_model.hpp"
#include "apps/learn/options.hpp"
#include "apps/learn/problem.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app::learn {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* program = "bilevel-learn";

/// Throws IoError naming the file of `f` when they are not finite.
std::vector<double> scores(const CommonOptions& common, const ClassifierModel& model, const NamedFile& file,
                           const Features& f, std::ostream& err) {
  Context context(open_device(common, program, err));
  const std::vector<double> s = common.precision == "float" ? scores_of<float>(context, f, model.weights)
                                                            : scores_of<double>(context, f, model.weights);
  if (!std::all_of(s.begin(), s.end(), [](double v) { return std::isfinite(v); }))
    throw IoError(file.text(), "its features are so large that scores are not finite in --precision " +
                                   common.precision + ".");
  return s;
}

/// A class, or all of them; numbers that a class without samples lacks are left out.
struct Row {
  std::string name;
  int samples, errors;
  double cross_entropy;  ///< sum

  double error_rate() const { return static_cast<double>(errors) / samples; }
  double mean() const { return cross_entropy / samples; }
};

Json row_json(const Row& r) {
  return {{"samples", r.samples},
          {"errors", r.errors},
          {"error_rate", r.samples > 0 ? Json(r.error_rate()) : Json(nullptr)},
          {"cross_entropy", r.samples > 0 ? Json(r.mean()) : Json(nullptr)}};
}

std::string report(const EvaluateOptions& o, const Classes& classes, const Verdict& v) {
  const Row all{"all", v.samples, v.errors(), v.cross_entropy() * v.samples};
  std::vector<Row> rows;
  for (std::size_t c = 0; c < classes.labels.size(); ++c)
    rows.push_back({std::to_string(classes.labels[c]), v.of_class[c], v.wrong[c], v.cross_entropies[c]});
  if (o.common.json) {
    Json json{{"model", o.model}, {"data", o.data}, {"all", row_json(all)}, {"classes", Json::array()}};
    for (std::size_t c = 0; c < rows.size(); ++c) {
      json["classes"].push_back({{"label", classes.labels[c]}});
      json["classes"].back().update(row_json(rows[c]));
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::vector<std::vector<std::string>> cells{{"class", "samples", "errors", "error rate", "cross entropy"}};
  rows.push_back(all);
  for (const Row& r : rows)
    cells.push_back({r.name, std::to_string(r.samples), std::to_string(r.errors),
                     r.samples > 0 ? format("%.2f %%", 100 * r.error_rate()) : "-",
                     r.samples > 0 ? format("%.4f", r.mean()) : "-"});
  return table(cells);
}

/// A file of the run whose model.json is given.
std::string beside(const std::string& model, const char* file) {
  return (std::filesystem::path(model).parent_path() / file).string();
}

}  // namespace

int evaluate(const EvaluateOptions& o, std::ostream& out, std::ostream& err) {
  const ClassifierModel model = read_classifier(o.model);
  const NamedFile data{"--data", o.data}, labels{"--labels", o.labels};
  const Features f = model.read(data);
  const std::vector<int> right = model.classes.numbers(labels, read_labels(labels, f.count, data));
  out << report(o, model.classes, judge(model.classes, scores(o.common, model, data, f, err), right));
  return exit_ok;
}

int apply(const ApplyOptions& o, std::ostream& out, std::ostream& err) {
  require_output_is_no_input({"--output", o.output}, {{"--model", o.model},
                                                      {"--model", beside(o.model, "weights.npy")},
                                                      {"--model", beside(o.model, "sample_weight.npy")},
                                                      {"--model", beside(o.model, "ridge_weight.npy")},
                                                      {"--data", o.data}});
  const ClassifierModel model = read_classifier(o.model);
  const NamedFile data{"--data", o.data};
  const Features f = model.read(data);
  std::vector<std::int64_t> labels;
  for (const int c : most_likely(model.classes, scores(o.common, model, data, f, err)))
    labels.push_back(model.classes.labels[static_cast<std::size_t>(c)]);
  const std::size_t shape[] = {labels.size()};
  write_npy(o.output, shape, std::span<const std::int64_t>(labels));
  if (o.common.json) {
    out << Json{{"model", o.model}, {"output", o.output}, {"samples", labels.size()}}.dump(
               2, ' ', false, Json::error_handler_t::replace)
        << '\n';
  } else if (!o.common.quiet) {
    out << o.output << ": the classes of " << labels.size() << " samples\n";
  }
  return exit_ok;
}

}  // namespace bilevel_app::learn
