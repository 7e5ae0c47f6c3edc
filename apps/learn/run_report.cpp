#include "apps/learn/run_report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/atomic_file.hpp"

namespace bilevel_app::learn {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

void append_samples(std::vector<NamedOption>& list, const TrainOptions& o) {
  const auto add_given = [&list](const char* name, const std::optional<int>& count) {
    if (count) list.emplace_back(name, static_cast<std::int64_t>(*count));
  };
  add_given("train", o.train);
  add_given("validation", o.validation);
  add_given("classes", o.classes);
  if (o.block_rows) list.emplace_back("block-rows given", true);  // their number changes no bit
  list.insert(list.end(), {{"bias", o.bias}, {"corrupt", o.corrupt}});
}

}  // namespace

std::vector<NamedOption> deciding_options(const TrainOptions& o) {
  std::vector<NamedOption> list{{"learn", name_of(o.learn)}};
  if (o.learn != Learn::shift) append_samples(list, o);
  list.emplace_back("init", o.first_value());
  if (o.learn != Learn::shift) list.emplace_back("seed", seed_value(o.common.seed));
  list.emplace_back("precision", o.common.precision);
  if (o.learn == Learn::samples || o.learn == Learn::shift) list.emplace_back("ridge", o.fixed_ridge());
  append_deciding(list, o.method);
  list.insert(list.end(), {{"scaling", o.scaling}, {"solver", o.solver}, {"linear-solver", o.linear_solver}});
  append_deciding(list, o.upper.schedule, "nu");
  return list;
}

bool over(const UpperReport& report) {
  return report.status != UpperStatus::failed && report.status != UpperStatus::interrupted;
}

Json write_summary(const RunFolder& folder, const TrainOptions& o, const Device& device, const Task& task,
                   const UpperReport& report, int resumed_from) {
  const IterationRecord& r = report.last;
  Json json{{"status", upper_status_name(report.status)},
            {"message", report.message},
            {"program", "bilevel-learn train"},
            {"learn", name_of(o.learn)},
            {"theta", values_json(task.parameters(), report.theta, false)},
            {"loss", r.loss},
            {"loss_lower", r.loss_lower},
            {"loss_upper", r.loss_upper},
            {"gradient_norm", r.gradient_norm},
            {"error_bound", r.error_bound},
            {"tolerance", o.upper.schedule.tolerance},
            {"epsilon", r.epsilon}};
  json.update(task.summary(report.theta));
  json["iterations"] = r.iteration;
  json.update(work_json(r.work));
  json["seconds"] = r.seconds;
  json["resumed_from"] = resumed_from < 0 ? Json(nullptr) : Json(resumed_from);
  json.update(machine_json(device, o.common.precision));
  write_file_atomically(folder / "summary.json",
                        json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return json;
}

std::string summary_text(const Task& task, const UpperReport& report, const RunFolder& folder) {
  const IterationRecord& r = report.last;
  const Parameters& parameters = task.parameters();
  Lines lines;
  for (const Segment& s : parameters.segments())
    if (s.learned)
      lines.emplace_back(s.name, parameter_text(s, parameters.values(s.name, report.theta), false));
  lines.emplace_back("loss",
                     format("%.6g, certainly between %.6g and %.6g", r.loss, r.loss_lower, r.loss_upper));
  const Lines own = task.lines(report.theta);
  lines.insert(lines.end(), own.begin(), own.end());
  lines.emplace_back("work", format("%d iterations, %llu operator applications, %.1f s", r.iteration,
                                    static_cast<unsigned long long>(r.work.total()), r.seconds));
  lines.emplace_back("run", folder.path().string());
  std::string text;
  for (const auto& [name, what] : lines)
    text += name + std::string(std::max<std::size_t>(name.size(), 14) - name.size() + 1, ' ') + what + "\n";
  return text;
}

}  // namespace bilevel_app::learn
