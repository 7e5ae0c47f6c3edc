#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace bilevel::testing_support {

/// As long as it lives this process can open no file.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::open("/dev/null", O_RDONLY);
    ::close(next);
    most_ = static_cast<rlim_t>(next);
    const rlimit none{most_, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  /// How many it may have open.
  rlim_t most() const { return most_; }

 private:
  rlimit before_{};
  rlim_t most_ = 0;
};

}  // namespace bilevel::testing_support
