#pragma once

#include <stdexcept>
#include <string>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// Base of everything this library throws. The message is one sentence that names the remedy.
class BILEVEL_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message);
  ~Error() override;
};

/// Shapes that do not fit together; the message carries both.
class BILEVEL_API ShapeError : public Error {
 public:
  explicit ShapeError(const std::string& message);
  ~ShapeError() override;
};

/// An option or parameter outside its domain.
class BILEVEL_API ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message);
  ~ConfigError() override;
};

/// A device that is absent, or a device call that failed.
class BILEVEL_API DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message);
  ~DeviceError() override;
};

/// A file that cannot be read or written. `path()` names it.
class BILEVEL_API IoError : public Error {
 public:
  IoError(const std::string& path, const std::string& reason);
  ~IoError() override;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace v0
}  // namespace bilevel
