#include "apps/mri/staged_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/common/earlier_run.hpp"
#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/run_output.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/observe/checkpoint.hpp"
#include "bilevel/observe/console_progress.hpp"
#include "bilevel/observe/jsonl_log.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

/// Hands records on with the counts of the stages before added.
class Continued final : public Observer {
 public:
  Continued(Observer& log, int lines, const Work& work, double seconds)
      : log_(log), lines_(lines), work_(work), seconds_(seconds) {}
  bool iteration(const IterationRecord& record) override { return log_.iteration(added(record)); }
  void finished(const UpperReport& report) override {
    UpperReport all = report;
    all.last = added(report.last);
    log_.finished(all);
  }

 private:
  IterationRecord added(IterationRecord r) const {
    r.iteration += lines_;
    r.work += work_;
    r.seconds += seconds_;
    return r;
  }
  Observer& log_;
  int lines_;
  Work work_;
  double seconds_;
};

/// A bit-exact stamp of where a stage starts.
std::string start_of(const Stage& stage) {
  std::uint64_t stamp = fingerprint(stage.theta0);
  for (const Segment& s : stage.parameters.segments()) stamp = fingerprint(s.initial_values(), stamp);
  return fingerprint_text(stamp);
}

bool by_limit(UpperStatus status) {
  return status == UpperStatus::max_iterations || status == UpperStatus::time_limit ||
         status == UpperStatus::budget;
}

UpperStatus status_from(const std::string& name) {
  for (int s = 0; s <= static_cast<int>(UpperStatus::failed); ++s)
    if (upper_status_name(static_cast<UpperStatus>(s)) == name) return static_cast<UpperStatus>(s);
  throw Error("unknown status");
}

std::filesystem::path result_file(const std::filesystem::path& folder) { return folder / "result.json"; }

Json limits_json(const UpperOptions& o) {
  return {{"max_iterations", o.max_iterations}, {"time_limit", o.time_limit}, {"budget", o.budget}};
}

/// Whether a stage that ended with `status` at limits `before` has more room now.
bool raised(UpperStatus status, const Json& before, const UpperOptions& now) {
  const auto more = [](double old, double limit) { return old > 0 && (limit == 0 || limit > old); };
  switch (status) {
    case UpperStatus::max_iterations:
      return now.max_iterations > before.at("max_iterations").get<int>();
    case UpperStatus::time_limit:
      return more(before.at("time_limit").get<double>(), now.time_limit);
    case UpperStatus::budget:
      return more(before.at("budget").get<double>(), static_cast<double>(now.budget));
    default:
      return false;
  }
}

Json identity_json(const std::vector<NamedOption>& identity) {
  Json json = Json::object();
  for (const auto& [name, value] : identity) json[name] = option_text(value);
  return json;
}

std::vector<std::filesystem::path> folders_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->is_directory(error) && !at->is_symlink(error)) found.push_back(at->path());
  return found;
}

/// Folders of stages in that of the checkpoints.
std::vector<std::filesystem::path> stage_folders(const std::filesystem::path& checkpoints) {
  std::vector<std::filesystem::path> found = folders_in(checkpoints);
  std::erase_if(found, [](const auto& path) { return !is_stage_name(path.filename().string()); });
  return found;
}

void save(const std::filesystem::path& folder, const Stage& stage, const std::vector<NamedOption>& identity,
          const StageResult& r) {
  const Json json{{"identity", identity_json(identity)},
                  {"start", start_of(stage)},
                  {"limits", limits_json(stage.upper)},
                  {"status", upper_status_name(r.status)},
                  {"message", r.message},
                  {"theta", r.theta},
                  {"loss", {r.loss, r.loss_lower, r.loss_upper}},
                  {"gradient", {r.gradient_norm, r.error_bound}},
                  {"iterations", r.iterations},
                  {"work", {r.work.gradients, r.work.hessian_products, r.work.other, r.work.solves}},
                  {"seconds", r.seconds}};
  write_file_atomically(result_file(folder),
                        json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

/// The result kept in a stage's folder, if it is whole, starts where the stage does, and no limit that ended
/// it was raised.
std::optional<StageResult> load(const std::filesystem::path& folder, const Stage& stage) {
  std::error_code error;
  if (!std::filesystem::exists(result_file(folder), error) && !error) return {};
  std::ifstream file(result_file(folder), std::ios::binary);
  if (!file) throw IoError(result_file(folder).string(), "cannot be read, though the run is to be resumed.");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto number = [](const Json& v) { return v.is_number() ? v.get<double>() : std::nan(""); };
  try {
    const Json json = Json::parse(text);
    if (!json.at("identity").is_object() || json.at("start").get<std::string>() != start_of(stage)) return {};
    StageResult r;
    r.name = stage.name;
    r.status = status_from(json.at("status").get<std::string>());
    if (by_limit(r.status) && raised(r.status, json.at("limits"), stage.upper)) return {};
    r.message = json.at("message").get<std::string>();
    r.theta = json.at("theta").get<std::vector<double>>();
    if (r.theta.size() != stage.parameters.size()) return {};
    r.loss = number(json.at("loss").at(0));
    r.loss_lower = number(json.at("loss").at(1));
    r.loss_upper = number(json.at("loss").at(2));
    r.gradient_norm = number(json.at("gradient").at(0));
    r.error_bound = number(json.at("gradient").at(1));
    r.iterations = json.at("iterations").get<int>();
    const auto work = json.at("work").get<std::vector<std::uint64_t>>();
    r.work = {work.at(0), work.at(1), work.at(2), work.at(3)};
    r.seconds = json.at("seconds").get<double>();
    return r;
  } catch (const std::exception&) {
    return {};
  }
}

/// The message of a stage, where rounding ended it with the options that help.
std::string message_of(const Stage& stage, const UpperReport& report, const std::string& precision,
                       const RegulariserSum& sum) {
  if (report.status != UpperStatus::accuracy_limit || stage.method.fixed_accuracy()) return report.message;
  const bool has_nu = std::any_of(sum.parts.begin(), sum.parts.end(), smoothed);
  return with_options(report.message,
                      limit_options(stage.method, precision == "float" ? "--precision mixed or double"
                                                  : has_nu             ? "--nu, or --tolerance"
                                                                       : "--tolerance"));
}

StageResult result_of(const std::string& stage, const UpperReport& report, std::string message) {
  const IterationRecord& r = report.last;
  return {stage,        report.status,   std::move(message), report.theta, r.loss, r.loss_lower,
          r.loss_upper, r.gradient_norm, r.error_bound,      r.iteration,  r.work, r.seconds};
}

template <class T>
UpperReport optimise_in(const Stage& stage, const Device& device, const MriData& data,
                        const RegulariserSum& regulariser, const std::string& precision, Observer& observer,
                        const UpperState* state) {
  Context context(device);
  const Tensor<T> truth(context, data.shape(), std::vector<T>(data.truth.begin(), data.truth.end()));
  auto energy =
      make_energy<T>(context, data, stage.pattern, stage.parameters, regulariser, precision == "mixed");
  energy->bind(stage.theta0);
  const Tensor<T> first =
      start_from<T>(context, zero_filled<T>(context, *energy, data).view(), energy->shape());
  const BilevelProblem<T> problem(std::move(energy), truth.view(), stage.parameters, stage.penalty);
  const auto optimiser = stage.method.name == "exchange"
                             ? make_pattern_exchange<T>(stage.upper, stage.exchange)
                             : make_optimiser<T>(stage.method, stage.upper);
  return optimiser->run(context, problem, stage.theta0, first.view(), observer, state);
}

}  // namespace

bool is_stage_name(const std::string& name) {
  const std::size_t dash = name.find('-');
  const std::string number = dash == std::string::npos ? "" : name.substr(dash + 1);
  const bool numbered = !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
  for (const char* known : {"weight", "pattern", "exchange", "binary"})
    if (name.substr(0, dash) == known) return dash == std::string::npos || numbered;
  return false;
}

StagedRun::StagedRun(RunFolder& folder, const CommonOptions& common, bool resume,
                     std::vector<NamedOption> identity, const Device& device, const MriData& data,
                     const RegulariserSum& regulariser, std::ostream& err)
    : folder_(folder),
      common_(common),
      identity_(std::move(identity)),
      device_(device),
      data_(data),
      regulariser_(regulariser),
      err_(err),
      resume_(resume) {
  if (!resume_) return;
  for (const auto& stage :
       stage_folders(folder_ / "checkpoint"))  // also those that this run does not come to
    require_same_options(folder_.path(), stage, identity_);
}

void StagedRun::note(const std::string& text) const {
  if (!common_.quiet) err_ << "bilevel-mri: " << sentence(text) << '\n' << std::flush;
}

void StagedRun::add(const StageResult& result) {
  results_.push_back(result);
  work_ += result.work;
  seconds_ += result.seconds;
  iterations_ += result.iterations;
  lines_ += result.iterations + 1;
}

StageResult StagedRun::run(const Stage& stage) {
  const std::filesystem::path folder = folder_ / "checkpoint" / stage.name;
  if (resume_) {
    if (const auto kept = load(folder, stage)) {
      add(*kept);
      resumed_ = saved_ = true;
      return *kept;
    }
  }
  const StageResult result = optimise(stage, folder);
  add(result);
  if (resume_) forget_what_followed();
  if (result.status != UpperStatus::interrupted) {
    save(folder, stage, identity_, result);
    saved_ = true;
  }
  return result;
}

/// Folders of stages that came after the last one in an earlier run.
void StagedRun::forget_what_followed() {
  resume_ = false;
  std::error_code ignored;
  for (const auto& folder : stage_folders(folder_ / "checkpoint"))
    if (std::none_of(results_.begin(), results_.end(),
                     [&](const StageResult& r) { return r.name == folder.filename(); }))
      std::filesystem::remove_all(folder, ignored);
}

StageResult StagedRun::optimise(const Stage& stage, const std::filesystem::path& folder) {
  std::vector<NamedOption> identity = identity_;
  identity.emplace_back("start", start_of(stage));
  std::optional<Checkpoint::Loaded> state;
  if (resume_) {
    state = Checkpoint::load_latest(folder, identity);
    if (state && !state->note.empty()) note(state->note);
    if (!state && results_.empty()) {
      require_no_result(folder_.path());
      note("--resume: no iteration was saved yet in " + folder_.path().string() +
           ", so the run begins at the start");
    }
    std::error_code ignored;
    std::filesystem::remove(result_file(folder), ignored);
  }
  resumed_ = resumed_ || state;
  const UpperState* from = state ? &state->state : nullptr;
  if (common_.verbose) note(stage.task);
  JsonlLog log(folder_ / "log.jsonl", stage.parameters, lines_ + (from ? from->iteration : 0), {},
               [&](const IterationRecord& r) {
                 std::vector<NamedOption> fields{{"stage", stage.name}};
                 if (stage.parameters.entry("s") >= 0)
                   fields.emplace_back(
                       "rate",
                       stage.pattern.rate(stage.pattern.threshold(stage.parameters.values("s", r.theta))));
                 return fields;
               });
  Continued continued(log, lines_, work_, seconds_);
  Checkpoint checkpoint(folder, identity);
  const bool terminal = &err_ == &std::cerr && isatty(STDERR_FILENO) != 0 && !common_.quiet;
  const UpperOptions& o = stage.upper;
  ConsoleProgress progress(err_, terminal, {o.max_iterations, o.time_limit, o.budget}, common_.verbose);
  InterruptObserver interrupt;
  RunFolderWatch watch(folder_);
  RunFolderKeeper keeper(folder_);
  ObserverList observers({&watch, &continued, &checkpoint, &keeper, &progress, &interrupt});
  const UpperReport report =
      common_.precision == "float"
          ? optimise_in<float>(stage, device_, data_, regulariser_, common_.precision, observers, from)
          : optimise_in<double>(stage, device_, data_, regulariser_, common_.precision, observers, from);
  saved_ = saved_ || from || checkpoint.last() >= 0;
  return result_of(stage.name, report, message_of(stage, report, common_.precision, regulariser_));
}

}  // namespace bilevel_app::mri
