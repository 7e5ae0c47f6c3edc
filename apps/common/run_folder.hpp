#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/observe/observer.hpp"

namespace bilevel_app {

/// The folder of a run, locked against other processes until this object or the process ends. Unless keep()
/// was called, which says that something was saved, the destructor removes what a first run left there, and
/// the folders made for it.
class RunFolder {
 public:
  /// Makes the folder, locks it, removes temporary files of killed runs and checks that files can be made.
  /// Throws ConfigError when another process holds it, when it already holds a run and `resume` is not set,
  /// when there is nothing to resume, or when its run is one of another command than `command` (as
  /// command_of_run names it; empty: any); IoError when it cannot be written.
  RunFolder(std::filesystem::path path, bool resume, const std::string& command = {});
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }
  /// Throws IoError when the folder was removed, renamed or replaced since it was locked.
  void require_present() const;

 private:
  /// An open folder and the lock on it (flock), which the system releases when the process ends.
  class Lock {
   public:
    Lock() = default;
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    void take(const std::filesystem::path& folder);
    bool names(const std::filesystem::path& folder) const;  ///< whether it still is the folder of that name

   private:
    int folder_ = -1;
  };

  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  ///< innermost first
  Lock lock_;
  bool had_run_ = false, kept_ = false;
};

/// Ends a run whose folder is gone, before it goes on for nothing.
class RunFolderWatch final : public bilevel::Observer {
 public:
  explicit RunFolderWatch(const RunFolder& folder) : folder_(folder) {}
  bool iteration(const bilevel::IterationRecord&) override {
    folder_.require_present();
    return true;
  }

 private:
  const RunFolder& folder_;
};

/// Keeps the folder of a run from its first checkpoint on; stands behind Checkpoint in the list of observers.
class RunFolderKeeper final : public bilevel::Observer {
 public:
  explicit RunFolderKeeper(RunFolder& folder) : folder_(folder) {}
  void state(const bilevel::UpperState&) override { folder_.keep(); }

 private:
  RunFolder& folder_;
};

}  // namespace bilevel_app
