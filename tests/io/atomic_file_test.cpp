#include "bilevel/core/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "io_test_support.hpp"

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
