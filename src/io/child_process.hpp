#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// What the child process hands over, in the order in which the parent takes it.
class Outlet {
 public:
  explicit Outlet(int pipe) : pipe_(pipe) {}
  void send(const void* bytes, std::size_t size);
  template <class T>
  void send_value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    send(&value, sizeof value);
  }
  /// Ends the stream with the sentence that becomes the parent's IoError.
  void send_refusal(const std::string& reason);
  void send_end();

 private:
  int pipe_;
};

/// The parent's end. Receiving throws IoError when the child refused the file, died or fell silent.
class Inlet {
 public:
  Inlet(std::string name, std::uintmax_t file_size, int pipe, pid_t child);
  ~Inlet();
  Inlet(const Inlet&) = delete;
  Inlet& operator=(const Inlet&) = delete;
  void receive(void* to, std::size_t size);
  template <class T>
  T receive_value() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    receive(&value, sizeof value);
    return value;
  }
  /// Throws unless the child came to its end.
  void finish();

 private:
  void read_bytes(void* to, std::size_t size);
  void next_frame();
  [[noreturn]] void report_death();
  std::string name_;
  std::uintmax_t file_size_;
  int pipe_;
  pid_t child_;
  std::uint64_t left_ = 0;  ///< bytes of the frame that have not been taken
};

/// Runs `produce` in a forked child process and `consume` here. The libraries that read HDF5 and NIfTI crash,
/// loop or allocate without bound on some damaged files, print, and keep global state without locks; in the
/// child none of this reaches the caller. The child has 256 MiB and 16 times the file's size of memory beyond
/// what the process holds, 3 s of processor time and 1 s for each 4 MiB, and its output goes to /dev/null.
/// An IoError thrown by `produce` is thrown here with the same words. `produce` must only call what works
/// after a fork: no device, no thread pool, no library whose lock another thread may hold.
void read_in_child(const std::string& name, std::uintmax_t file_size,
                   const std::function<void(Outlet&)>& produce, const std::function<void(Inlet&)>& consume);

/// Size of a file. Throws IoError unless it is a regular file that can be opened for reading and is not
/// empty.
std::uintmax_t regular_file_size(const std::string& name);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
