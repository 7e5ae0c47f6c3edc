#include "apps/experiments/data_kind.hpp"

#include <algorithm>
#include <iterator>

namespace bilevel_app::experiments {

namespace fs = std::filesystem;

namespace {

bool exists(const std::string& file) {
  std::error_code error;
  return fs::exists(file, error);
}

DataKind kind_of(const std::string& path) {
  if (exists(digit_files(path).images)) return DataKind::digits;
  const auto ends = [&path](const char* ending) { return path.ends_with(ending); };
  const bool volume = ends(".nii") || ends(".nii.gz") || ends(".hdr") || ends(".img") || ends(".img.gz");
  return volume ? DataKind::volume : DataKind::photographs;
}

}  // namespace

std::string remedy(DataKind kind) {
  switch (kind) {
    case DataKind::photographs:
      return "photographs; give --data PATH";
    case DataKind::digits:
      return "digits; give --data FOLDER, a folder of the unpacked files train-images-idx3-ubyte, "
             "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or val-* for "
             "t10k-*)";
    case DataKind::volume:
      return "a volume; give --data FILE (NIfTI or ANALYZE)";
    case DataKind::none:
      break;
  }
  return "no data";
}

std::vector<std::string> of_kind(DataKind kind, const std::vector<std::string>& data) {
  std::vector<std::string> out;
  if (kind == DataKind::none) return out;
  std::copy_if(data.begin(), data.end(), std::back_inserter(out),
               [kind](const std::string& path) { return kind_of(path) == kind; });
  return out;
}

DigitFiles digit_files(const fs::path& folder) {
  const auto file = [&folder](const std::string& name) { return (folder / name).string(); };
  const std::string test = exists(file("t10k-images-idx3-ubyte")) ? "t10k" : "val";
  return {file("train-images-idx3-ubyte"), file("train-labels-idx1-ubyte"), file(test + "-images-idx3-ubyte"),
          file(test + "-labels-idx1-ubyte")};
}

}  // namespace bilevel_app::experiments
