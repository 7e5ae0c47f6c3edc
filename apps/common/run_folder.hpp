#pragma once

#include <filesystem>
#include <vector>

namespace bilevel_app {

/// The folder of a run. Unless keep() was called, the destructor removes what a run that saved
/// nothing left there, and the folders made for it.
class RunFolder {
 public:
  /// Makes the folder and checks that files can be made in it. Throws ConfigError when it already holds a run
  /// and `resume` is not set, or when there is nothing to resume; IoError when it cannot be written.
  RunFolder(std::filesystem::path path, bool resume);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  ///< innermost first
  bool had_run_ = false, kept_ = false;
};

}  // namespace bilevel_app
