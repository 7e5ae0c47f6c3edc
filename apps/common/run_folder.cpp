#include "apps/common/run_folder.hpp"

#include <algorithm>
#include <system_error>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;
using bilevel::ConfigError;
using bilevel::IoError;

namespace {

bool holds_run(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {"model.json", "log.jsonl", "summary.json", "checkpoint"})
    if (fs::exists(folder / name, ignored)) return true;
  return false;
}

/// Whether a file is there that is no writer's leftover.
bool saved_something(const fs::path& checkpoints) {
  std::error_code error;
  fs::recursive_directory_iterator at(checkpoints, error);
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with('.')) {
      at.disable_recursion_pending();
    } else if (at->is_regular_file(error)) {
      return true;
    }
  }
  return false;
}

}  // namespace

RunFolder::RunFolder(fs::path path, bool resume) : path_(std::move(path)) {
  std::error_code error;
  const bool exists = fs::exists(path_, error);
  if (exists && !fs::is_directory(path_, error))
    throw IoError(path_.string(), "--out is a file, not a folder.");
  had_run_ = holds_run(path_);
  if (had_run_ && !resume)
    throw ConfigError("--out " + path_.string() +
                      " already holds a run; add --resume to go on with it, or choose another folder.");
  if (!exists && resume)
    throw ConfigError("--resume: the folder " + path_.string() +
                      " does not exist; leave out --resume to begin a run.");
  for (fs::path p = path_; !p.empty() && !fs::exists(p, error); p = p.parent_path()) {
    if (p.has_filename()) made_.push_back(p);
    if (p == p.parent_path()) break;
  }
  fs::create_directories(path_, error);
  if (error) {
    made_.clear();
    throw IoError(path_.string(), "the folder of --out cannot be made (" + error.message() + ").");
  }
  const fs::path probe = path_ / ".bilevel-probe";
  try {
    bilevel::write_file_atomically(probe, "x");
  } catch (const IoError& failure) {
    for (const fs::path& p : made_) fs::remove(p, error);
    const std::string reason = failure.what();
    throw IoError(path_.string(),
                  "the folder of --out cannot be written" + reason.substr(reason.rfind(" (")) + ".");
  }
  fs::remove(probe, error);
  if (had_run_)
    for (const fs::path& folder : {path_, path_ / "images"}) bilevel::remove_temporaries(folder);
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (kept_ || saved_something(path_ / "checkpoint")) return;
  if (!had_run_) {
    fs::remove(path_ / "log.jsonl", ignored);
    fs::remove_all(path_ / "checkpoint", ignored);
  }
  for (const fs::path& p : made_) fs::remove(p, ignored);  // only when empty
}

}  // namespace bilevel_app
