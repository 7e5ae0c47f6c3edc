#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace bilevel_app {

/// A file or folder and the option that names it, for example "--kspace".
struct NamedPath {
  std::string option;
  std::filesystem::path path;
};

/// Throws ConfigError naming both options when the file to be written is one that is read, also by another
/// name (symbolic and hard links). An input stands for itself, for the pair NAME.cfl and NAME.hdr that BART
/// names by NAME or either file, for the pair of .img and .hdr, and for all files of a folder and those
/// below. Inputs without a path are left out.
void require_output_is_no_input(const NamedPath& output, const std::vector<NamedPath>& inputs);

}  // namespace bilevel_app
