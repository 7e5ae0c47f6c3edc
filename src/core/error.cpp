#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

Error::Error(const std::string& message) : std::runtime_error(message) {}
Error::~Error() = default;

ShapeError::ShapeError(const std::string& message) : Error(message) {}
ShapeError::~ShapeError() = default;

ConfigError::ConfigError(const std::string& message) : Error(message) {}
ConfigError::~ConfigError() = default;

DeviceError::DeviceError(const std::string& message) : Error(message) {}
DeviceError::~DeviceError() = default;

IoError::IoError(const std::string& path, const std::string& reason)
    : Error(path + ": " + reason), path_(path) {}
IoError::~IoError() = default;

}  // namespace v0
}  // namespace bilevel
