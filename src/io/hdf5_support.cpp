#include "io/hdf5_support.hpp"

#include <algorithm>
#include <cstdlib>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr std::size_t kMostNames = 20;

/// Paths of datasets below `group`, to a depth of four groups.
void collect(hid_t group, const std::string& prefix, int depth, std::vector<std::string>& names) {
  H5G_info_t info{};
  if (H5Gget_info(group, &info) < 0) return;
  for (hsize_t k = 0; k < std::min<hsize_t>(info.nlinks, 1000) && names.size() <= kMostNames; ++k) {
    char link[256] = {};
    if (H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, k, link, sizeof link, H5P_DEFAULT) < 0)
      return;
    const Hdf5Handle object(H5Oopen(group, link, H5P_DEFAULT), H5Oclose);
    if (!object) continue;
    const H5I_type_t type = H5Iget_type(object.get());
    if (type == H5I_DATASET) names.push_back(prefix + printable(link));
    if (type == H5I_GROUP && depth < 4)
      collect(object.get(), prefix + printable(link) + "/", depth + 1, names);
  }
}

}  // namespace

Hdf5Handle open_hdf5(const std::string& name) {
  // Some network file systems have no locks; before the library first asks for them.
  ::setenv("HDF5_USE_FILE_LOCKING", "BEST_EFFORT", 0);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
  Hdf5Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file) throw IoError(name, "is no HDF5 file, or a damaged one");
  return file;
}

bool has_dataset(hid_t file, const std::string& dataset) {
  for (std::size_t slash = dataset.find('/');; slash = dataset.find('/', slash + 1)) {
    if (H5Lexists(file, dataset.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
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
  if (!has_dataset(file, dataset))
    throw IoError(name, "has no dataset '" + dataset + "'; " + datasets_found(file));
  Hdf5Dataset opened;
  opened.dataset = Hdf5Handle(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (opened.dataset) {
    opened.type = Hdf5Handle(H5Dget_type(opened.dataset.get()), H5Tclose);
    opened.space = Hdf5Handle(H5Dget_space(opened.dataset.get()), H5Sclose);
  }
  const Hdf5Handle creation(opened.dataset ? H5Dget_create_plist(opened.dataset.get()) : -1, H5Pclose);
  hsize_t extents[H5S_MAX_RANK] = {};
  const int rank = opened.space ? H5Sget_simple_extent_dims(opened.space.get(), extents, nullptr) : -1;
  if (!opened.type || !creation || rank < 0) throw IoError(name, "the dataset '" + dataset + "' is damaged");
  opened.extents.assign(extents, extents + rank);
  opened.filtered = H5Pget_nfilters(creation.get()) != 0;
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) != 0) {
    throw IoError(name,
                  "the values of '" + dataset + "' lie in other files; copy them into this one (h5repack)");
  }
  return opened;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
