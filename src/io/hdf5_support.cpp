#include "io/hdf5_support.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr std::size_t kMostNames = 20;

/// The kind of a link, H5L_TYPE_ERROR if there is none.
H5L_type_t link_type(hid_t group, const std::string& path) {
  H5L_info_t info{};
  const bool known = H5Lexists(group, path.c_str(), H5P_DEFAULT) > 0 &&
                     H5Lget_info(group, path.c_str(), &info, H5P_DEFAULT) >= 0;
  return known ? info.type : H5L_TYPE_ERROR;
}

/// Paths of datasets below `group`, to a depth of four groups.
void collect(hid_t group, const std::string& prefix, int depth, std::vector<std::string>& names) {
  H5G_info_t info{};
  if (H5Gget_info(group, &info) < 0) return;
  for (hsize_t k = 0; k < std::min<hsize_t>(info.nlinks, 1000) && names.size() <= kMostNames; ++k) {
    char link[256] = {};
    if (H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, k, link, sizeof link, H5P_DEFAULT) < 0)
      return;
    if (link_type(group, link) == H5L_TYPE_EXTERNAL) continue;
    const Hdf5Handle object(H5Oopen(group, link, H5P_DEFAULT), H5Oclose);
    if (!object) continue;
    const H5I_type_t type = H5Iget_type(object.get());
    if (type == H5I_DATASET) names.push_back(prefix + printable(link));
    if (type == H5I_GROUP && depth < 4)
      collect(object.get(), prefix + printable(link) + "/", depth + 1, names);
  }
}

/// "HDF5 1.10.8"
std::string library() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return "HDF5 " + std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

std::string newer_format(const std::string& what) {
  return "is in a format newer than " + library() + ", with which it is read, knows (" + what +
         "); write it anew in an older one (h5py: libver=('earliest', 'v110'))";
}

/// What HDF5 says about the call before this one, innermost function first.
std::vector<std::string> complaints() {
  std::vector<std::string> sentences;
  const auto take = [](unsigned, const H5E_error2_t* error, void* to) -> herr_t {
    if (error->desc != nullptr) static_cast<std::vector<std::string>*>(to)->push_back(printable(error->desc));
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &sentences);
  return sentences;
}

/// Why the call before this one failed, to follow the name of the file or dataset. From version 2 of the
/// superblock on, object headers have checksums that precede the reading of their messages: a message of an
/// unknown version ("bad version number for datatype message") is whole.
std::string failure(const std::string& name) {
  const std::vector<std::string> all = complaints();
  const auto find = [&](const char* words) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const std::string& sentence) {
      return sentence.find(words) != std::string::npos;
    });
    return found == all.end() ? std::string() : *found;
  };
  const std::optional<int> superblock = hdf5_superblock(name);
  if (!superblock) return "is no HDF5 file";
  const std::string lock = find("unable to lock file");
  if (lock.find("errno = " + std::to_string(EWOULDBLOCK) + ",") != std::string::npos) {
    return "is held open for writing by another program (HDF5 file lock); wait for it, or set "
           "HDF5_USE_FILE_LOCKING=FALSE";
  }
  if (!lock.empty()) return "cannot be locked (" + lock + "); set HDF5_USE_FILE_LOCKING=FALSE";
  if (!find("already open for").empty()) {
    return "is being written by another program, or was left unfinished by one; wait for it, or take the "
           "mark off (h5clear -s)";
  }
  if (!find("truncated file").empty()) return "is cut off";
  if (*superblock > 3) {
    return "has a superblock of version " + std::to_string(*superblock) + ", unknown to " + library() +
           ": it is damaged, or written in a newer format";
  }
  const std::string version = find("bad version number"), kind = find("unknown datatype class");
  if (*superblock >= 2 && !(version + kind).empty()) return newer_format(version.empty() ? kind : version);
  return "is damaged";
}

/// "lzf (32000)" of the first filter of a dataset that the library lacks. Numbers below 256 are HDF5's own.
std::string missing_filter(hid_t creation) {
  constexpr int kFirstForeign = 256;
  for (int k = 0; k < H5Pget_nfilters(creation); ++k) {
    unsigned flags = 0;
    std::size_t parameters = 0;
    char text[64] = {};
    const H5Z_filter_t filter = H5Pget_filter2(creation, static_cast<unsigned>(k), &flags, &parameters,
                                               nullptr, sizeof text - 1, text, nullptr);
    if (H5Zfilter_avail(filter) > 0 || (filter < kFirstForeign && filter != H5Z_FILTER_SZIP)) continue;
    const std::string full = printable(text), shown = full.substr(0, full.find(';'));
    return (shown.empty() ? "number " : shown + " (") + std::to_string(filter) + (shown.empty() ? "" : ")");
  }
  return {};
}

/// Name of the file in which an object lies.
std::string file_of(hid_t object) {
  const ssize_t length = H5Fget_name(object, nullptr, 0);
  std::string name(static_cast<std::size_t>(std::max<ssize_t>(length, 0)) + 1, '\0');
  H5Fget_name(object, name.data(), name.size());
  return name;
}

/// `tool` is the program that copies them.
[[noreturn]] void refuse_elsewhere(const std::string& name, const std::string& dataset,
                                   const std::string& place, const char* tool) {
  throw IoError(
      name, "the values of '" + dataset + "' lie in " + place + "; copy them into this one (" + tool + ")");
}
constexpr const char* kLinkTool = "h5copy -f ext";

bool is_group(hid_t file, const std::string& path) {
  const Hdf5Handle object(H5Oopen(file, path.c_str(), H5P_DEFAULT), H5Oclose);
  return object && H5Iget_type(object.get()) == H5I_GROUP;
}

/// "the file NAME" of an external link.
std::string link_target(hid_t file, const std::string& path) {
  H5L_info_t info{};
  if (H5Lget_info(file, path.c_str(), &info, H5P_DEFAULT) < 0) return "another file";
  std::string value(info.u.val_size + 1, '\0');
  unsigned flags = 0;
  const char *target = nullptr, *object = nullptr;
  if (H5Lget_val(file, path.c_str(), value.data(), value.size(), H5P_DEFAULT) < 0 ||
      H5Lunpack_elink_val(value.data(), info.u.val_size, &flags, &target, &object) < 0)
    return "another file";
  return "the file " + printable(target);
}

}  // namespace

std::optional<int> hdf5_superblock(const std::filesystem::path& path) {
  constexpr char kSignature[] = "\x89HDF\r\n\x1a\n";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  char first[9];
  for (std::streamoff at = 0; at <= 1 << 16; at = at == 0 ? 512 : 2 * at) {
    file.seekg(at);
    if (!file.read(first, sizeof first)) break;
    if (std::memcmp(first, kSignature, 8) == 0) return static_cast<unsigned char>(first[8]);
  }
  return std::nullopt;
}

Hdf5Handle open_hdf5(const std::string& name) {
  // Some network file systems have no locks; before the library first asks for them.
  ::setenv("HDF5_USE_FILE_LOCKING", "BEST_EFFORT", 0);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
  Hdf5Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file) throw IoError(name, failure(name));
  return file;
}

bool has_dataset(const std::string& name, hid_t file, const std::string& dataset) {
  if (H5Lexists(file, dataset.substr(0, dataset.find('/')).c_str(), H5P_DEFAULT) < 0)
    throw IoError(name, failure(name));  // of the root group
  for (std::size_t slash = dataset.find('/');; slash = dataset.find('/', slash + 1)) {
    const std::string path = dataset.substr(0, slash);
    const H5L_type_t type = link_type(file, path);
    if (type == H5L_TYPE_ERROR) return false;
    if (type == H5L_TYPE_EXTERNAL) refuse_elsewhere(name, dataset, link_target(file, path), kLinkTool);
    if (type == H5L_TYPE_SOFT && H5Oexists_by_name(file, path.c_str(), H5P_DEFAULT) <= 0) return false;
    if (slash == std::string::npos) return true;
  }
}

std::string datasets_found(hid_t file) {
  std::vector<std::string> names;
  collect(file, "", 0, names);
  if (names.empty()) return "it holds no datasets at all";
  std::string text;
  for (std::size_t k = 0; k < std::min(names.size(), kMostNames); ++k) text += (k > 0 ? ", " : "") + names[k];
  return "the datasets in it are: " + text + (names.size() > kMostNames ? ", ..." : "");
}

Hdf5Dataset open_dataset(const std::string& name, hid_t file, const std::string& dataset) {
  if (!has_dataset(name, file, dataset))
    throw IoError(name, "has no dataset '" + dataset + "'; " + datasets_found(file));
  const std::string what = "the dataset '" + dataset + "' ";
  if (is_group(file, dataset))
    throw IoError(name, "'" + dataset + "' is a group where a dataset is needed; " + datasets_found(file));
  Hdf5Dataset opened;
  opened.dataset = Hdf5Handle(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (!opened.dataset) throw IoError(name, what + failure(name));
  if (file_of(opened.dataset.get()) != file_of(file))
    refuse_elsewhere(name, dataset, "another file", kLinkTool);
  opened.type = Hdf5Handle(H5Dget_type(opened.dataset.get()), H5Tclose);
  if (!opened.type) throw IoError(name, what + failure(name));
  opened.space = Hdf5Handle(H5Dget_space(opened.dataset.get()), H5Sclose);
  const Hdf5Handle creation(H5Dget_create_plist(opened.dataset.get()), H5Pclose);
  hsize_t extents[H5S_MAX_RANK] = {};
  const int rank = opened.space ? H5Sget_simple_extent_dims(opened.space.get(), extents, nullptr) : -1;
  if (!creation || rank < 0) throw IoError(name, what + "is damaged");
  opened.extents.assign(extents, extents + rank);
  opened.filtered = H5Pget_nfilters(creation.get()) != 0;
  opened.missing_filter = missing_filter(creation.get());
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) != 0)
    refuse_elsewhere(name, dataset, "other files", "h5repack");
  H5D_space_status_t status = H5D_SPACE_STATUS_ALLOCATED;
  if (H5Sget_simple_extent_npoints(opened.space.get()) > 0 &&
      H5Dget_space_status(opened.dataset.get(), &status) >= 0 && status == H5D_SPACE_STATUS_NOT_ALLOCATED)
    throw IoError(name, "nothing was ever written to the dataset '" + dataset + "'; write the file anew");
  return opened;
}

void refuse_values(const std::string& name, const Hdf5Dataset& dataset, const std::string& what) {
  if (dataset.missing_filter.empty())
    throw IoError(name, what + " cannot be read; the file is cut off or damaged");
  throw IoError(name, what + " cannot be read: compressed with the filter " + dataset.missing_filter +
                          ", which is none of " + library() +
                          "'s own; write the file anew with gzip or uncompressed");
}

std::string read_text(const std::string& name, hid_t file, const std::string& dataset) {
  const Hdf5Dataset text = open_dataset(name, file, dataset);
  const std::string refusal = "the dataset '" + dataset + "' is no single string";
  if (H5Sget_simple_extent_npoints(text.space.get()) != 1 || H5Tget_class(text.type.get()) != H5T_STRING)
    throw IoError(name, refusal);
  if (H5Tis_variable_str(text.type.get()) > 0) {
    char* value = nullptr;
    if (H5Dread(text.dataset.get(), text.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) < 0 ||
        value == nullptr)
      throw IoError(name, refusal);
    std::string copy = value;
    H5Dvlen_reclaim(text.type.get(), text.space.get(), H5P_DEFAULT, &value);
    return copy;
  }
  constexpr std::size_t kLongest = std::size_t{1} << 24;
  std::string value(std::min(H5Tget_size(text.type.get()), kLongest), '\0');
  if (H5Tget_size(text.type.get()) > kLongest ||
      H5Dread(text.dataset.get(), text.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, value.data()) < 0)
    throw IoError(name, refusal);
  return value.substr(0, value.find('\0'));
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
