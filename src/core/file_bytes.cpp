#include "core/file_bytes.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

std::string allocate(const std::string& name, std::uintmax_t size) {
  try {
    return std::string(size, '\0');
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw IoError(name, "the file of " + std::to_string(size) + " bytes does not fit in memory");
}

}  // namespace

std::string reason_of(int error) {
  std::string text = std::generic_category().message(error);
  rlimit limit{};
  if (error == EMFILE && ::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    text += ": this process may open " + std::to_string(limit.rlim_cur) + ", allow more with 'ulimit -n'";
  return text;
}

std::string read_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  // Non-blocking, so that a pipe without a writer is refused below instead of waited for.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) throw IoError(name, "cannot be opened for reading (" + reason_of(errno) + ")");
  struct stat status {};
  if (::fstat(file.number, &status) != 0)
    throw IoError(name, "cannot be examined (" + reason_of(errno) + ")");
  if (S_ISDIR(status.st_mode)) throw IoError(name, "is a folder where a file is needed");
  if (!S_ISREG(status.st_mode)) throw IoError(name, "is no regular file; copy its content to one");
  if (status.st_size == 0) throw IoError(name, "the file is empty (0 bytes)");
  std::string bytes = allocate(name, static_cast<std::uintmax_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file.number, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw IoError(name, "reading failed at byte " + std::to_string(done) + " (" + reason_of(errno) + ")");
    }
    if (count == 0) {
      throw IoError(name, "the file shrank to " + std::to_string(done) + " bytes while it was read");
    }
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
