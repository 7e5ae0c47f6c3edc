#include "apps/common/run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "apps/common/earlier_run.hpp"
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

/// Files under a temporary name: in the folder, its images, and the checkpoints of each stage.
void remove_leftovers(const fs::path& run) {
  std::error_code error;
  const fs::path checkpoints = run / "checkpoint";
  for (const fs::path& folder : {run, run / "images", checkpoints}) bilevel::remove_temporaries(folder);
  for (fs::directory_iterator at(checkpoints, error), end; !error && at != end; at.increment(error))
    if (at->is_directory(error)) bilevel::remove_temporaries(at->path());
}

}  // namespace

RunFolder::Lock::~Lock() {
  if (folder_ >= 0) ::close(folder_);
}

bool RunFolder::Lock::names(const fs::path& folder) const {
  struct stat held {
  }, named{};
  return ::fstat(folder_, &held) == 0 && ::stat(folder.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

void RunFolder::Lock::take(const fs::path& folder) {
  std::error_code ignored;
  for (int attempt = 0; attempt < 10; ++attempt) {
    folder_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_ < 0)
      throw IoError(folder.string(),
                    "the folder of --out cannot be opened (" + std::generic_category().message(errno) + ").");
    // File systems that know no locks are used without.
    if (::flock(folder_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      throw ConfigError("--out " + folder.string() +
                        " is in use by another process; wait for its end, or choose another folder.");
    if (names(folder)) return;
    // Its last holder saved nothing and removed it between the two calls.
    ::close(std::exchange(folder_, -1));
    fs::create_directories(folder, ignored);
  }
  throw IoError(folder.string(), "the folder of --out is removed again and again.");
}

RunFolder::RunFolder(fs::path path, bool resume, const std::string& command) : path_(std::move(path)) {
  std::error_code error;
  const bool exists = fs::exists(path_, error);
  if (exists && !fs::is_directory(path_, error))
    throw IoError(path_.string(), "--out is a file, not a folder.");
  if (!exists && resume)
    throw ConfigError("--resume: the folder " + path_.string() +
                      " does not exist; leave out --resume to begin a run.");
  for (fs::path p = path_; !p.empty() && !fs::exists(p, error); p = p.parent_path()) {
    if (p.has_filename()) made_.push_back(p);
    if (p == p.parent_path()) break;
  }
  fs::create_directories(path_, error);
  if (error) throw IoError(path_.string(), "the folder of --out cannot be made (" + error.message() + ").");
  lock_.take(path_);
  had_run_ = holds_run(path_);
  if (had_run_ && !resume)
    throw ConfigError("--out " + path_.string() +
                      " already holds a run; add --resume to go on with it, or choose another folder.");
  if (const std::string other = command_of_run(path_); !command.empty() && !other.empty() && other != command)
    throw ConfigError("--resume: " + path_.string() + " holds a run of " + other + ", not of " + command +
                      "; choose another --out.");
  remove_leftovers(path_);
  const fs::path probe = path_ / ".probe.0-0.tmp";
  try {
    bilevel::write_file_atomically(probe, "x", false);
  } catch (const IoError& failure) {
    for (const fs::path& p : made_) fs::remove(p, error);
    const std::string reason = failure.what();
    throw IoError(path_.string(),
                  "the folder of --out cannot be written" + reason.substr(reason.rfind(" (")) + ".");
  }
  fs::remove(probe, error);
}

void RunFolder::require_present() const {
  if (!lock_.names(path_))
    throw IoError(path_.string(),
                  "the folder of --out was removed, renamed or replaced while the run was going on; bring it "
                  "back and add --resume, or begin anew.");
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (kept_ || !lock_.names(path_)) return;
  if (!had_run_) {
    fs::remove(path_ / "log.jsonl", ignored);
    fs::remove_all(path_ / "checkpoint", ignored);
  }
  for (const fs::path& p : made_) fs::remove(p, ignored);  // only when empty
}

}  // namespace bilevel_app
