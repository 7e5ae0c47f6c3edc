#include "apps/common/output_check.hpp"

#include "bilevel/core/error.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;

namespace {

/// The files that a path given as an input stands for, whether they exist or not.
std::vector<fs::path> files_of(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> files{path};
  if (!fs::is_directory(path, error)) {
    const std::string extension = path.extension().string();
    if (extension == ".cfl" || extension == ".hdr" || extension == ".img")
      for (const char* other : {".cfl", ".hdr", ".img"})
        files.push_back(fs::path(path).replace_extension(other));
    for (const char* other : {".cfl", ".hdr"}) files.emplace_back(path.string() + other);
    return files;
  }
  const auto readable = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at(path, readable, error), end; !error && at != end;
       at.increment(error))
    files.push_back(at->path());
  return files;
}

}  // namespace

void require_output_is_no_input(const NamedPath& output, const std::vector<NamedPath>& inputs) {
  std::error_code error;
  if (!fs::exists(output.path, error)) return;
  for (const NamedPath& input : inputs) {
    if (input.path.empty()) continue;
    for (const fs::path& file : files_of(input.path))
      if (fs::equivalent(output.path, file, error))
        throw bilevel::ConfigError(output.option + " " + output.path.string() + " would replace " +
                                   file.string() + ", which " + input.option +
                                   " names; choose another file.");
  }
}

}  // namespace bilevel_app
