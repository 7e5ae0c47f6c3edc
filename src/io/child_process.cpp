#include "io/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

// The stream is a sequence of frames: their length in 8 bytes, then as many bytes. Two lengths mean more.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr std::uint64_t kRefusal =
    std::numeric_limits<std::uint64_t>::max();  // a frame with a sentence follows
constexpr std::uint64_t kEnd = kRefusal - 1;
constexpr std::size_t kLongestReason = 2000;
constexpr int kSilence = 120000;  // milliseconds without a byte after which the child is given up

rlim_t processor_seconds(std::uintmax_t file_size) { return 3 + file_size / (std::uintmax_t{4} << 20); }

void write_bytes(int pipe, const void* bytes, std::size_t size) {
  const char* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t count = ::write(pipe, from, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::system_error(errno, std::generic_category());
    from += count;
    size -= static_cast<std::size_t>(count);
  }
}

void limit(int resource, rlim_t value) {
  rlimit bound{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &bound) != 0) return;
  bound.rlim_cur = std::min(value, bound.rlim_max);
  ::setrlimit(static_cast<__rlimit_resource_t>(resource), &bound);
}

/// Address space of this process in bytes, 0 if the system does not tell.
std::uintmax_t address_space() {
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[64] = {};
  const ssize_t count = ::read(file, text, sizeof text - 1);
  ::close(file);
  const long page = ::sysconf(_SC_PAGESIZE);
  return count > 0 && page > 0 ? std::strtoull(text, nullptr, 10) * static_cast<std::uintmax_t>(page) : 0;
}

void confine(std::uintmax_t file_size) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGPIPE, SIGINT, SIGTERM}) {
    ::signal(signal, SIG_DFL);
  }
  const int nothing = ::open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, standard);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, processor_seconds(file_size));
  const std::uintmax_t held = address_space();
  if (held > 0) limit(RLIMIT_AS, held + (std::uintmax_t{256} << 20) + 16 * file_size);
}

void run_child(const std::string& name, std::uintmax_t file_size, int pipe,
               const std::function<void(Outlet&)>& produce) noexcept {
  Outlet outlet(pipe);
  try {
    confine(file_size);
    try {
      produce(outlet);
      outlet.send_end();
    } catch (const IoError& error) {
      const std::string text = error.what(), prefix = name + ": ";
      outlet.send_refusal(text.compare(0, prefix.size(), prefix) == 0 ? text.substr(prefix.size()) : text);
    } catch (const std::bad_alloc&) {
      outlet.send_refusal("it asks for more memory than a file of its size needs; it is probably damaged");
    } catch (const std::exception& error) {
      outlet.send_refusal("cannot be read (" + printable(error.what()) + "); it is probably damaged");
    }
  } catch (...) {
  }
}

}  // namespace

void Outlet::send(const void* bytes, std::size_t size) {
  const std::uint64_t length = size;
  write_bytes(pipe_, &length, sizeof length);
  write_bytes(pipe_, bytes, size);
}

void Outlet::send_refusal(const std::string& reason) {
  write_bytes(pipe_, &kRefusal, sizeof kRefusal);
  send(reason.data(), std::min(reason.size(), kLongestReason));
}

void Outlet::send_end() { write_bytes(pipe_, &kEnd, sizeof kEnd); }

Inlet::Inlet(std::string name, std::uintmax_t file_size, int pipe, pid_t child)
    : name_(std::move(name)), file_size_(file_size), pipe_(pipe), child_(child) {}

Inlet::~Inlet() {
  ::close(pipe_);
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void Inlet::report_death() {
  int status = 0;
  pid_t waited = 0;
  while ((waited = ::waitpid(child_, &status, 0)) < 0 && errno == EINTR) continue;
  const bool known = waited == child_;
  child_ = 0;
  if (known && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
    throw IoError(name_, "reading it took more than " + std::to_string(processor_seconds(file_size_)) +
                             " s of processor time; the file is probably damaged");
  }
  throw IoError(name_,
                "the library that reads this format failed on it" +
                    (known && WIFSIGNALED(status) ? " (signal " + std::to_string(WTERMSIG(status)) + ")"
                                                  : std::string()) +
                    "; the file is probably damaged");
}

void Inlet::read_bytes(void* to, std::size_t size) {
  char* at = static_cast<char*>(to);
  while (size > 0) {
    pollfd wait{pipe_, POLLIN, 0};
    const int ready = ::poll(&wait, 1, kSilence);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) throw IoError(name_, "reading it came to a standstill; is its disk reachable?");
    const ssize_t count = ready < 0 ? -1 : ::read(pipe_, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError(name_, "reading failed (" + reason_of(errno) + ")");
    if (count == 0) report_death();
    at += count;
    size -= static_cast<std::size_t>(count);
  }
}

void Inlet::next_frame() {
  read_bytes(&left_, sizeof left_);
  if (left_ != kRefusal) return;
  std::uint64_t length = 0;
  read_bytes(&length, sizeof length);
  std::string reason(std::min<std::uint64_t>(length, kLongestReason), '\0');
  read_bytes(reason.data(), reason.size());
  throw IoError(name_, reason);
}

void Inlet::receive(void* to, std::size_t size) {
  char* at = static_cast<char*>(to);
  while (size > 0) {
    while (left_ == 0) next_frame();
    if (left_ == kEnd) throw IoError(name_, "ended too early while it was read");
    const std::size_t count = std::min<std::uint64_t>(left_, size);
    read_bytes(at, count);
    at += count;
    size -= count;
    left_ -= count;
  }
}

void Inlet::finish() {
  while (left_ == 0) next_frame();
  if (left_ != kEnd) throw IoError(name_, "holds more than was expected while it was read");
}

void read_in_child(const std::string& name, std::uintmax_t file_size,
                   const std::function<void(Outlet&)>& produce, const std::function<void(Inlet&)>& consume) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw IoError(name, "no pipe to read it through (" + reason_of(errno) + ")");
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    run_child(name, file_size, ends[1], produce);
    ::_exit(0);
  }
  const int error = errno;
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    throw IoError(name, "no process to read it in could be started (" + reason_of(error) + ")");
  }
  Inlet inlet(name, file_size, ends[0], child);
  consume(inlet);
  inlet.finish();
}

std::uintmax_t regular_file_size(const std::string& name) {
  const int file = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw IoError(name, "cannot be opened for reading (" + reason_of(errno) + ")");
  struct stat status {};
  const int examined = ::fstat(file, &status), error = errno;
  ::close(file);
  if (examined != 0) throw IoError(name, "cannot be examined (" + reason_of(error) + ")");
  if (S_ISDIR(status.st_mode)) throw IoError(name, "is a folder where a file is needed");
  if (!S_ISREG(status.st_mode)) throw IoError(name, "is no regular file; copy its content to one");
  if (status.st_size == 0) throw IoError(name, "the file is empty (0 bytes)");
  return static_cast<std::uintmax_t>(status.st_size);
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
