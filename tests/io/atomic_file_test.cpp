#include "bilevel/core/atomic_file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "io_test_support.hpp"
#include "tests/support/no_descriptors.hpp"

namespace {

/// Sees every fsync of this program, and may make it fail with the error it returns.
std::function<int(int)> on_fsync;

}  // namespace

extern "C" int fsync(int file) {
  if (on_fsync) {
    if (const int error = on_fsync(file)) {
      errno = error;
      return -1;
    }
  }
  return static_cast<int>(::syscall(SYS_fsync, file));
}

namespace {

namespace fs = std::filesystem;
using bilevel::write_file_atomically;
using bilevel_test::entries;
using bilevel_test::get_file;
using bilevel_test::put_file;

/// Stands for a full disk: files cannot grow beyond `bytes` while the object lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

class AtomicFile : public ::testing::Test {
 protected:
  bilevel_test::TemporaryFolder folder_;
};

TEST_F(AtomicFile, WritesAllBytesAndLeavesNothingElse) {
  const std::string bytes("a\0b\r\n\xff", 6);
  write_file_atomically(folder_ / "x", bytes);
  EXPECT_EQ(get_file(folder_ / "x"), bytes);
  write_file_atomically(folder_ / "x", "");
  EXPECT_EQ(get_file(folder_ / "x"), "");
  EXPECT_EQ(entries(folder_.path()), 1U);
}

TEST_F(AtomicFile, FullDiskKeepsTheOldFile) {
  put_file(folder_ / "x", "old content");
  const std::string large(100000, 'n');
  {
    const FileSizeLimit limit(4096);
    EXPECT_THROW(write_file_atomically(folder_ / "x", large), bilevel::IoError);
    EXPECT_THROW(write_file_atomically(folder_ / "new", large), bilevel::IoError);
    EXPECT_THROW(bilevel::write_image(folder_ / "new.png", bilevel_test::random_image(3, 64, 64, 1)),
                 bilevel::IoError);
    EXPECT_THROW(bilevel::write_image(folder_ / "new.tif", bilevel_test::random_image(3, 64, 64, 1)),
                 bilevel::IoError);
    EXPECT_THROW(bilevel::write_image(folder_ / "new.ppm", bilevel_test::random_image(3, 64, 64, 1)),
                 bilevel::IoError);
    EXPECT_THROW(bilevel::write_image(folder_ / "new.npy", bilevel_test::random_image(3, 64, 64, 1)),
                 bilevel::IoError);
  }
  EXPECT_EQ(get_file(folder_ / "x"), "old content");
  EXPECT_EQ(entries(folder_.path()), 1U) << "temporary files are removed";
}

/// While it lives, every fsync is handed to a function.
class FsyncHook {
 public:
  explicit FsyncHook(std::function<int(int)> hook) { on_fsync = std::move(hook); }
  ~FsyncHook() { on_fsync = {}; }
};

bool is_folder(int file) {
  struct stat status {};
  return ::fstat(file, &status) == 0 && S_ISDIR(status.st_mode);
}

TEST_F(AtomicFile, BytesAreOnTheDiskBeforeTheNameIs) {
  std::vector<std::string> seen;
  const FsyncHook hook([&](int file) {
    seen.push_back(std::string(is_folder(file) ? "folder" : "file") +
                   (fs::exists(folder_ / "x") ? " after" : " before"));
    return 0;
  });
  write_file_atomically(folder_ / "x", "bytes");
  EXPECT_EQ(seen, (std::vector<std::string>{"file before", "folder after"}));
  seen.clear();
  write_file_atomically(folder_ / "y", "bytes", false);
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(get_file(folder_ / "y"), "bytes");
  bilevel::force_to_disk(folder_ / "y");
  bilevel::force_to_disk(folder_.path());
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_THROW(bilevel::force_to_disk(folder_ / "nothing"), bilevel::IoError);
}

TEST_F(AtomicFile, ADiskThatFailsKeepsTheOldFile) {
  put_file(folder_ / "x", "old content");
  const auto written = [&](const std::function<int(int)>& hook) {
    const FsyncHook set(hook);
    try {
      write_file_atomically(folder_ / "x", "new");
    } catch (const bilevel::IoError& error) {
      return std::string(error.what());
    }
    return std::string("written");
  };
  const std::string refused = written([](int file) { return is_folder(file) ? 0 : EIO; });
  EXPECT_NE(refused.find("nothing was changed"), std::string::npos) << refused;
  EXPECT_EQ(get_file(folder_ / "x"), "old content");
  EXPECT_EQ(entries(folder_.path()), 1U);
  const std::string unsure = written([](int file) { return is_folder(file) ? EIO : 0; });
  EXPECT_NE(unsure.find("perhaps not on the disk"), std::string::npos) << unsure;
  // A file system that has nothing to force.
  EXPECT_EQ(written([](int) { return EINVAL; }), "written");
  int calls = 0;
  EXPECT_EQ(written([&](int) { return ++calls % 2 == 1 ? EINTR : 0; }), "written");
  EXPECT_EQ(entries(folder_.path()), 1U);
}

TEST_F(AtomicFile, LeftoversOfKilledWritersAreRemoved) {
  const std::string own = std::to_string(::getpid());
  pid_t ended = ::fork();  // a process number that is not in use
  if (ended == 0) ::_exit(0);
  ::waitpid(ended, nullptr, 0);
  const std::string gone = std::to_string(ended);
  const std::vector<std::string> others{"x", ".note.tmp", ".tmp", "..tmp", ".x.1-2.txt", "x.1-2.tmp"};
  const auto fill = [&] {
    for (const std::string& name : others) put_file(folder_ / name, "of somebody else");
    for (const std::string& name :
         {".x." + own + "-0.tmp", ".x." + gone + "-7.tmp", std::string(".000007.tmp")})
      put_file(folder_ / name, "left");
  };
  fill();
  bilevel::remove_temporaries(folder_.path(), true);
  EXPECT_FALSE(fs::exists(folder_ / (".x." + gone + "-7.tmp")));
  EXPECT_TRUE(fs::exists(folder_ / (".x." + own + "-0.tmp")));
  EXPECT_TRUE(fs::exists(folder_ / ".000007.tmp"));
  fill();
  bilevel::remove_temporaries(folder_.path());
  EXPECT_EQ(entries(folder_.path()), others.size());
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(folder_ / name)) << name;
}

TEST_F(AtomicFile, TooFewDescriptorsAreCounted) {
  put_file(folder_ / "x", "text");
  auto none = std::make_unique<bilevel::testing_support::NoDescriptors>();
  const rlim_t most = none->most();
  std::vector<std::exception_ptr>
      errors;  // read afterwards: sanitizers need descriptors to look at an object
  for (const bool write : {true, false}) {
    try {
      if (write)
        write_file_atomically(folder_ / "x", "new");
      else
        static_cast<void>(bilevel::read_image(folder_ / "x"));
    } catch (...) {
      errors.push_back(std::current_exception());
    }
  }
  none.reset();
  ASSERT_EQ(errors.size(), 2U);
  std::vector<std::string> messages;
  for (const std::exception_ptr& error : errors) {
    try {
      std::rethrow_exception(error);
    } catch (const bilevel::IoError& e) {
      messages.emplace_back(e.what());
    }
  }
  for (const std::string& message : messages) {
    EXPECT_NE(message.find("may open " + std::to_string(most)), std::string::npos) << message;
    EXPECT_NE(message.find("ulimit -n"), std::string::npos) << message;
  }
  EXPECT_EQ(get_file(folder_ / "x"), "text");
}

TEST_F(AtomicFile, FullDeviceIsReportedAndStaysADevice) {
  if (!fs::is_character_file("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  EXPECT_THROW(write_file_atomically("/dev/full", "text"), bilevel::IoError);
  const std::vector<std::size_t> shape{1};
  const std::vector<double> values{1.0};
  EXPECT_THROW(bilevel::write_npy("/dev/full", shape, std::span<const double>(values)), bilevel::IoError);
  // Through a link with an image extension.
  fs::create_symlink("/dev/full", folder_ / "full.png");
  EXPECT_THROW(bilevel::write_image(folder_ / "full.png", bilevel_test::random_image(1, 3, 3, 1)),
               bilevel::IoError);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_NO_THROW(write_file_atomically("/dev/null", "text"));
}

TEST_F(AtomicFile, UnusableTargetsAreReported) {
  put_file(folder_ / "file", "x");
  EXPECT_THROW(write_file_atomically(folder_ / "file/below", "y"), bilevel::IoError)
      << "the parent is a file";
  EXPECT_THROW(write_file_atomically(folder_ / "missing/below", "y"), bilevel::IoError);
  EXPECT_THROW(write_file_atomically(folder_.path(), "y"), bilevel::IoError) << "a folder";
  EXPECT_THROW(write_file_atomically("", "y"), bilevel::IoError);
  EXPECT_THROW(write_file_atomically(folder_ / "", "y"), bilevel::IoError);
  EXPECT_THROW(write_file_atomically(folder_ / std::string(300, 'n'), "y"), bilevel::IoError)
      << "name too long";
  fs::create_symlink("loop", folder_ / "loop");
  EXPECT_THROW(write_file_atomically(folder_ / "loop", "y"), bilevel::IoError);
  EXPECT_EQ(entries(folder_.path()), 2U);
}

TEST_F(AtomicFile, ReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write into read-only folders";
  fs::permissions(folder_.path(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THROW(write_file_atomically(folder_ / "x", "y"), bilevel::IoError);
  fs::permissions(folder_.path(), fs::perms::owner_all);
}

TEST_F(AtomicFile, LinksAreFollowedAndModesKept) {
  put_file(folder_ / "real", "old");
  ::chmod((folder_ / "real").c_str(), 0640);
  fs::create_symlink("real", folder_ / "link");
  write_file_atomically(folder_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(get_file(folder_ / "real"), "new");
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "real").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
}

TEST_F(AtomicFile, RelativeNamesAndLongNames) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  write_file_atomically("plain.txt", "x");
  fs::current_path(before);
  EXPECT_EQ(get_file(folder_ / "plain.txt"), "x");
  const std::string longest(255, 'n');
  write_file_atomically(folder_ / longest, "z");
  EXPECT_EQ(get_file(folder_ / longest), "z");
}

}  // namespace
