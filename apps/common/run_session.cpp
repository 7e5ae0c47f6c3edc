#include "apps/common/run_session.hpp"

#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common/earlier_run.hpp"
#include "apps/common/exit_codes.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app {

using namespace bilevel;

namespace {

/// ConfigErrors of other options name them as the user gives them.
std::optional<Checkpoint::Loaded> load_latest(const RunFolder& folder,
                                              const std::vector<NamedOption>& identity) {
  try {
    return Checkpoint::load_latest(folder / "checkpoint", identity);
  } catch (const ConfigError&) {
    require_same_options(folder.path(), folder / "checkpoint", identity);
    throw;
  }
}

bool shows_progress(const CommonOptions& common, const std::ostream& err) {
  return &err == &std::cerr && isatty(STDERR_FILENO) != 0 && !common.quiet;
}

}  // namespace

std::optional<Checkpoint::Loaded> checkpoint_to_resume(const RunFolder& folder, bool resume,
                                                       const std::vector<NamedOption>& identity,
                                                       const std::function<void(const std::string&)>& note) {
  if (!resume) return {};
  std::optional<Checkpoint::Loaded> saved = load_latest(folder, identity);
  if (!saved) {
    require_no_result(folder.path());
    note("--resume: no iteration was saved yet in " + folder.path().string() +
         ", so the run begins at the start");
  }
  if (saved && !saved->note.empty()) note(saved->note);
  return saved;
}

RunObservers::RunObservers(RunFolder& folder, const Parameters& parameters,
                           const std::vector<NamedOption>& identity, const UpperState* from,
                           const CommonOptions& common, const UpperOptions& upper, std::ostream& err,
                           JsonlLog::TestPsnr test_psnr)
    : resumed_(from != nullptr),
      watch_(folder),
      log_(folder / "log.jsonl", parameters, from ? from->iteration : 0, std::move(test_psnr)),
      checkpoint_(folder / "checkpoint", identity),
      keeper_(folder),
      progress_(err, shows_progress(common, err), {upper.max_iterations, upper.time_limit, upper.budget},
                common.verbose),
      all_({&watch_, &log_, &checkpoint_, &keeper_, &progress_, &interrupt_}) {}

int tell_end(const std::string& program, int code, const std::string& message,
             const nlohmann::ordered_json& summary, const std::string& text, const CommonOptions& common,
             bool saved, std::ostream& out, std::ostream& err) {
  if (common.json) {
    out << summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  } else if (!common.quiet) {
    if (code != exit_numerical) out << sentence(message) << '\n';
    out << text;
  }
  if (code == exit_interrupted) {
    err << program << ": interrupted; "
        << (saved ? "the last finished iteration is saved" : "no iteration was finished yet")
        << ", go on with the same command and --resume.\n";
  } else if (code != exit_ok) {
    err << program << ": " << sentence(message) << '\n';
  }
  return code;
}

}  // namespace bilevel_app
