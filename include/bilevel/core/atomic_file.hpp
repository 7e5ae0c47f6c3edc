#pragma once

#include <filesystem>
#include <string_view>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Writes `bytes` to a temporary name beside `path` and renames it, so that `path` holds either the old
/// content or all of the new one. A symbolic link is followed; the mode of an existing file is kept.
/// A target that is no regular file (a device, a pipe) is written in place.
/// With `forced` the bytes are on the disk before the rename and the new name is when the call returns;
/// without it, a power failure soon afterwards may leave an empty file: for what is written often and has a
/// checksum. Every write, the close and the rename are checked; on failure the temporary file is removed.
/// Throws IoError (full disk, missing folder, no permission, `path` is a folder).
BILEVEL_API void write_file_atomically(const std::filesystem::path& path, std::string_view bytes,
                                       bool forced = true);

/// Waits until a file, or the names in a folder, are on the disk. Throws IoError.
BILEVEL_API void force_to_disk(const std::filesystem::path& path);

/// Removes what writers that were killed left in a folder: .NAME.PROCESS-NUMBER.tmp and .NUMBER.tmp, files
/// and folders. `shared`: other processes may be writing there, whose files stay. Errors are ignored.
BILEVEL_API void remove_temporaries(const std::filesystem::path& folder, bool shared = false);

}  // namespace v0
}  // namespace bilevel
