#include "bilevel/core/atomic_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& what, int error) {
  throw IoError(path.string(), what + " (" + io_detail::reason_of(error) + ")");
}

/// 0, or why the bytes cannot be forced to the disk. What has nothing to force (a pipe, some folders) says
/// EINVAL or ENOTSUP.
int force(int file) {
  while (::fsync(file) != 0) {
    if (errno == EINVAL || errno == ENOTSUP || errno == ENOSYS) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

/// 0, or the error number of the first write, force or close that failed. Closes `file` in any case.
int write_all_and_close(int file, std::string_view bytes, bool forced) {
  int error = 0;
  std::size_t done = 0;
  while (error == 0 && done < bytes.size()) {
    const ssize_t count = ::write(file, bytes.data() + done, bytes.size() - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count == 0) {
      error = ENOSPC;
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (forced && error == 0) error = force(file);
  // After EINTR Linux has closed the descriptor already.
  if (::close(file) != 0 && errno != EINTR && error == 0) error = errno;
  return error;
}

void write_in_place(const fs::path& path, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) fail(path, "cannot be opened for writing", errno);
  if (const int error = write_all_and_close(file, bytes, false)) fail(path, "writing failed", error);
}

/// 0, or why the content of `path` cannot be forced to the disk.
int force_path(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int error = force(file);
  ::close(file);
  return error;
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// Opens a new file ".<name>.<process>-<number>.tmp" in the folder of `target`.
int open_temporary(const fs::path& target, fs::path& temporary) {
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < 100; ++attempt) {
    // Long names are cut so that the added text does not exceed the system's limit of 255 bytes.
    const std::string stem = target.filename().string().substr(0, 200);
    temporary = target.parent_path() /
                ("." + stem + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp");
    const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 || errno != EEXIST) return file;
  }
  errno = EEXIST;
  return -1;
}

/// The file a chain of symbolic links ends at, which need not exist.
fs::path resolve_links(const fs::path& path) {
  fs::path target = path;
  std::error_code error;
  for (int depth = 0; fs::is_symlink(fs::symlink_status(target, error)); ++depth) {
    if (depth == 40) fail(path, "cannot be written", ELOOP);
    const fs::path link = fs::read_symlink(target, error);
    if (error) fail(path, "cannot be written", error.value());
    target = link.is_absolute() ? link : target.parent_path() / link;
  }
  return target;
}

/// The process in .NAME.PROCESS-NUMBER.tmp, 0 for a name .NUMBER.tmp, -1 for other names.
long writer_of(const std::string& name) {
  constexpr std::string_view end = ".tmp";
  if (!name.starts_with('.') || !name.ends_with(end) || name.size() <= end.size() + 1) return -1;
  const std::string stem = name.substr(0, name.size() - end.size());
  const std::string text = stem.substr(stem.rfind('.') + 1);
  const std::string_view first = std::string_view(text).substr(0, text.find('-'));
  if (text.empty() || text.find_first_not_of("0123456789-") != std::string::npos) return -1;
  if (first.size() == text.size()) return 0;
  long process = -1;
  const auto [stop, error] = std::from_chars(first.data(), first.data() + first.size(), process);
  return error == std::errc() && stop == first.data() + first.size() ? process : -1;
}

bool runs(long process) {
  return process > 0 && (::kill(static_cast<pid_t>(process), 0) == 0 || errno != ESRCH);
}

}  // namespace

void write_file_atomically(const fs::path& path, std::string_view bytes, bool forced) {
  if (!path.has_filename()) fail(path, "is no file name", EINVAL);
  const fs::path target = resolve_links(path);
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail(path, "cannot be written", EISDIR);
  if (exists && !S_ISREG(status.st_mode)) return write_in_place(path, bytes);
  if (exists && ::access(target.c_str(), W_OK) != 0) fail(path, "cannot be written", errno);

  fs::path temporary;
  const int file = open_temporary(target, temporary);
  if (file < 0) fail(path, "cannot be written", errno);
  // The mode is a courtesy: some file systems have none, and the content is what counts.
  if (exists) static_cast<void>(::fchmod(file, status.st_mode & 07777) == 0);
  int error = write_all_and_close(file, bytes, forced);
  if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail(path, "writing failed and nothing was changed", error);
  }
  // EACCES: a folder that may be written and not read.
  if (forced) error = force_path(folder_of(target));
  if (error != 0 && error != EACCES) fail(path, "is written, but perhaps not on the disk", error);
}

void force_to_disk(const fs::path& path) {
  if (const int error = force_path(path)) fail(path, "cannot be forced to the disk", error);
}

void remove_temporaries(const fs::path& folder, bool shared) {
  std::error_code error, ignored;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const long writer = writer_of(at->path().filename().string());
    if (writer < 0 || (shared && (writer == 0 || runs(writer)))) continue;
    fs::remove_all(at->path(), ignored);
  }
}

}  // namespace v0
}  // namespace bilevel
