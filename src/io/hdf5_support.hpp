#pragma once

#include <hdf5.h>

#include <filesystem>
#include <optional>
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
  std::string missing_filter;    ///< a filter that this library lacks, for messages; empty: none
};

/// The version of the superblock if the file begins like HDF5: with its signature, which may stand behind a
/// block of the user's, at 0, 512, 1024, 2048, ... Any file may be asked about.
std::optional<int> hdf5_superblock(const std::filesystem::path& path);

/// All of these run in the child process (see read_in_child) and throw IoError.
/// Opens the file for reading; errors are no longer printed, and no filter plugins are loaded.
Hdf5Handle open_hdf5(const std::string& name);
/// Throws when the path leads through a link to another file.
bool has_dataset(const std::string& name, hid_t file, const std::string& dataset);
/// Throws also when the dataset is missing, with the names of those in the file.
Hdf5Dataset open_dataset(const std::string& name, hid_t file, const std::string& dataset);
/// Refuses values that could not be read; `what` they are.
[[noreturn]] void refuse_values(const std::string& name, const Hdf5Dataset& dataset, const std::string& what);
/// The only element of a dataset of strings, of fixed or variable length.
std::string read_text(const std::string& name, hid_t file, const std::string& dataset);
/// "the datasets in it are: a, b, ..." for the end of a message, or that there are none.
std::string datasets_found(hid_t file);

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
