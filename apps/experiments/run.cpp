#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>

#include "apps/common/dispatch.hpp"
#include "apps/common/text.hpp"
#include "apps/experiments/options.hpp"
#include "apps/experiments/registry.hpp"
#include "apps/experiments/report.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel_app::experiments {

namespace fs = std::filesystem;
using bilevel::ConfigError;
using bilevel::IoError;

namespace {

constexpr const char* kProgram = "bilevel-experiments";

int list(std::ostream& out) {
  out << "bilevel-experiments run NAME:\n";
  for (const Experiment& e : experiments())
    out << format("  %-6s %s (%s)%s\n", e.id.c_str(), e.title.c_str(), e.source.c_str(),
                  e.data == DataKind::none
                      ? ""
                      : ((e.without_data ? "; takes " : "; needs ") + remedy(e.data)).c_str());
  return exit_ok;
}

/// The folder of results, which can be written to.
fs::path results_folder(const std::string& name) {
  const fs::path folder = name;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder))
    throw IoError(name, "the folder of --out cannot be made (" +
                            (error ? error.message() : std::string("a file has that name")) + ").");
  bilevel::remove_temporaries(folder, true);
  const fs::path probe = folder / ".probe";
  bilevel::write_file_atomically(probe, "", false);
  fs::remove(probe, error);
  return folder;
}

std::vector<std::string> ids_of(const std::vector<Experiment>& all) {
  std::vector<std::string> ids;
  for (const Experiment& e : all) ids.push_back(e.id);
  return ids;
}

/// A quick result may not replace one that took minutes.
void require_no_full_result(const fs::path& folder, const Experiment& e) {
  const fs::path file = folder / e.id / "result.json";
  std::error_code error;
  if (!fs::exists(file, error)) return;
  try {
    if (read_result(file).quick) return;
  } catch (const IoError&) {
    return;  // damaged, to be replaced
  }
  throw ConfigError("--out " + folder.string() + " holds a full result of " + e.id +
                    ", which --quick would replace; choose another folder.");
}

/// As a word for a shell.
std::string word(const std::string& text) {
  const bool plain =
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+=@%") ==
      std::string::npos;
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// The command line that makes a result again.
std::string command_of(const RunOptions& o, const Experiment& e) {
  std::string text = std::string(kProgram) + " run " + e.id;
  if (o.quick) text += " --quick";
  if (e.own_draws && o.common.seed != 0) text += " --seed " + std::to_string(o.common.seed);
  for (const std::string& path : of_kind(e.data, o.data)) text += " --data " + word(path);
  return text + " --device " + o.common.device + " --out " + word(o.out);
}

SavedResult run_one(const RunOptions& o, const Experiment& e, const Settings& settings) {
  const auto begin = std::chrono::steady_clock::now();
  SavedResult saved{e.id, e.title, e.claim, e.source, e.run(settings), command_of(o, e), {}, BILEVEL_VERSION};
  saved.device = settings.device.name() + " (" + settings.device.description() + ")";
  saved.quick = o.quick;
  saved.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return saved;
}

int run_all(const RunOptions& o, std::ostream& out, std::ostream& err) {
  const std::vector<Experiment> wanted = chosen(o.names);
  const bilevel::Device device = open_device(o.common, kProgram, err);
  const fs::path folder = results_folder(o.out);
  static_cast<void>(read_results(folder, ids_of(wanted)));  // the page will show them
  if (o.quick)
    for (const Experiment& e : wanted) require_no_full_result(folder, e);

  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  fs::path page;
  for (const Experiment& e : wanted) {
    if (lacks_data(e, o.data)) {
      err << kProgram << ": " << e.id << " is left out, as it needs " << remedy(e.data) << ".\n";
      continue;
    }
    const Settings settings{device, e.own_draws ? o.common.seed : 0, o.quick, of_kind(e.data, o.data),
                            [&](const std::string& what) {
                              if (!o.common.quiet) err << e.id << ": " << what << std::endl;
                            }};
    const SavedResult saved = run_one(o, e, settings);
    write_result(folder, saved);
    page = write_report(folder);
    if (o.common.json)
      all.push_back(to_json(saved));
    else
      out << text_report(saved) << '\n' << std::flush;
  }
  if (o.common.json)
    out << all.dump(1) << '\n';
  else if (!page.empty())
    out << "page: " << page.string() << '\n';
  return exit_ok;
}

}  // namespace

int run(const Options& options, std::ostream& out, std::ostream& err) {
  const auto run_until_signal = [&](const RunOptions& o) -> int {
    try {
      return run_all(o, out, err);
    } catch (const Interrupted&) {
      err << kProgram << ": interrupted; the results that were finished are in " << o.out << ".\n";
      return exit_interrupted;
    }
  };
  const auto report = [&](const ReportOptions& o) -> int {
    out << "page: " << write_report(o.folder).string() << '\n';
    return exit_ok;
  };
  return dispatch(
      options.command, out, [&](const ListOptions&) { return list(out); }, run_until_signal, report);
}

}  // namespace bilevel_app::experiments
