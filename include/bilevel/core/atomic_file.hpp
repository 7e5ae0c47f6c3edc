#pragma once

#include <filesystem>
#include <string_view>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Writes `bytes` to a temporary name beside `path` and renames it, so that `path` holds either the old
/// content or all of the new one. A symbolic link is followed; the mode of an existing file is kept.
/// A target that is no regular file (a device, a pipe) is written in place.
/// Every write, the close and the rename are checked; on failure the temporary file is removed.
/// Throws IoError (full disk, missing folder, no permission, `path` is a folder).
BILEVEL_API void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Removes what writers that were killed left in a folder: ".*.tmp", files and folders. Errors are ignored.
BILEVEL_API void remove_temporaries(const std::filesystem::path& folder);

}  // namespace v0
}  // namespace bilevel
