#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/run_output.hpp"
#include "apps/common/run_session.hpp"
#include "apps/learn/run_report.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

Task::~Task() = default;

namespace {

constexpr const char* program = "bilevel-learn";

std::vector<NamedOption> identity_of(const TrainOptions& o, const Task& task) {
  std::vector<NamedOption> identity = deciding_options(o);
  identity.emplace_back("program", "bilevel-learn train");
  identity.push_back(task.fingerprint());
  return identity;
}

std::string message_of(const TrainOptions& o, const UpperReport& report) {
  if (report.status != UpperStatus::accuracy_limit || o.method.fixed_accuracy()) return report.message;
  const bool has_ridge = o.learn == Learn::samples || o.learn == Learn::shift;
  return with_options(report.message,
                      limit_options(o.method, o.common.precision == "float" ? "--precision double"
                                              : has_ridge ? "a larger --ridge or --tolerance"
                                                          : "a larger --tolerance"));
}

}  // namespace

int train(const TrainOptions& o, std::ostream& out, std::ostream& err) {
  const Device device = open_device(o.common, program, err);
  RunFolder folder(o.run.out, o.run.resume, "bilevel-learn train");
  const std::unique_ptr<Task> task = o.learn == Learn::shift ? make_shift_task(o) : make_classifier_task(o);
  const auto note = [&](const std::string& text) {
    if (!o.common.quiet) err << program << ": " << sentence(text) << '\n';
  };
  const std::vector<NamedOption> identity = identity_of(o, *task);
  const auto saved = checkpoint_to_resume(folder, o.run.resume, identity, note);
  const UpperState* state = saved ? &saved->state : nullptr;

  Context context(device);
  RunObservers observers(folder, task->parameters(), identity, state, o.common, o.upper, err);
  UpperReport report = task->optimise(context, observers.all(), state);
  folder.keep();
  folder.require_present();
  report.message = message_of(o, report);
  if (over(report))
    for (const std::string& text :
         bound_notes(task->parameters(), report.theta, [](const std::string&) { return std::string(); }))
      note(text);

  if (report.status != UpperStatus::failed && task->has_result()) task->write(folder, report.theta);
  const auto summary = write_summary(folder, o, device, *task, report, state ? state->iteration : -1);
  write_convergence_plot(folder);
  return tell_end(program, exit_code(report.status, o.method.fixed_accuracy()), report.message, summary,
                  summary_text(*task, report, folder), o.common, observers.saved(), out, err);
}

}  // namespace bilevel_app::learn
