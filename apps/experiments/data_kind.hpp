#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace bilevel_app::experiments {

/// What an experiment takes from --data.
enum class DataKind { none, photographs, digits, volume };

/// "photographs; give --data PATH": what is to be done where there is none of the kind.
std::string remedy(DataKind kind);
/// The paths of --data that are of a kind: folders of digits, files of volumes, or all others.
std::vector<std::string> of_kind(DataKind kind, const std::vector<std::string>& data);

/// The four files of a folder of digits: MNIST's, unpacked, of which the test samples may also be named
/// val-*.
struct DigitFiles {
  std::string images, labels, test_images, test_labels;
};
DigitFiles digit_files(const std::filesystem::path& folder);

}  // namespace bilevel_app::experiments
