#pragma once

#include <hdf5.h>

#include <string>
#include <utility>
#include <vector>

namespace bilevel {
inline namespace v0 {
namespace io_detail {

/// Owner of an HDF5 identifier.
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Hdf5Handle() {
    if (id_ >= 0) close_(id_);
  }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

/// A dataset whose values lie in the file itself.
struct Hdf5Dataset {
  Hdf5Handle dataset, type, space;
  std::vector<hsize_t> extents;  ///< empty for a single value
  bool filtered = false;         ///< compressed, so that it can hold more than its size in the file
};

/// All of these run in the child process (see read_in_child) and throw IoError.
/// Opens the file for reading; errors are no longer printed, and no filter plugins are loaded.
Hdf5Handle open_hdf5(const std::string& name);
bool has_dataset(hid_t file, const std::string& dataset);
/// Throws also when the dataset is missing, with the names of those in the file.
Hdf5Dataset open_dataset(const std::string& name, hid_t file, const std::string& dataset);
/// ": a, b, ..." for the end of a message, or that there are none.
std::string datasets_found(hid_t file);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
