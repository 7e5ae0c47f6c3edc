#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bilevel/core/device.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/image_file.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel_test {

/// Why there is no CUDA device; empty when there is one.
inline std::string no_cuda() {
  try {
    static_cast<void>(bilevel::Device::open("cuda"));
    return {};
  } catch (const bilevel::Error& error) {
    return error.what();
  }
}

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A folder that exists as long as the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "bilevel-apps-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline std::string get_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void put_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  for (std::size_t stop; (stop = text.find('\n', at)) != std::string::npos; at = stop + 1)
    lines.push_back(text.substr(at, stop - at));
  return lines;
}

/// Names of everything below a folder, sorted, relative to it.
inline std::vector<std::string> tree(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    names.push_back(fs::relative(at->path(), folder).string());
  std::sort(names.begin(), names.end());
  return names;
}

/// A synthetic photograph: a smooth background, discs with sharp edges, a striped corner, slight texture.
inline bilevel::HostImage photograph(int height, int width, unsigned seed, int channels = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  bilevel::HostImage image{channels, height, width, {}};
  image.pixels.resize(static_cast<std::size_t>(channels) * height * width);
  for (int c = 0; c < channels; ++c) {
    const double slope = uniform(generator) - 0.5, base = 0.3 + 0.3 * uniform(generator);
    double* plane = image.pixels.data() + static_cast<std::size_t>(c) * height * width;
    for (int i = 0; i < height; ++i)
      for (int j = 0; j < width; ++j)
        plane[i * width + j] = base + 0.3 * slope * (i + 2.0 * j) / (height + 2.0 * width) +
                               (i < height / 3 && j < width / 3 && (j / 4) % 2 == 0 ? 0.2 : 0.0) +
                               0.01 * std::sin(0.9 * i) * std::cos(1.3 * j);
    for (int disc = 0; disc < 4; ++disc) {
      const double y = uniform(generator) * height, x = uniform(generator) * width;
      const double r = (0.08 + 0.15 * uniform(generator)) * std::min(height, width), v = uniform(generator);
      for (int i = 0; i < height; ++i)
        for (int j = 0; j < width; ++j)
          if ((i - y) * (i - y) + (j - x) * (j - x) < r * r) plane[i * width + j] = 0.1 + 0.8 * v;
    }
  }
  for (double& v : image.pixels) v = std::min(std::max(v, 0.0), 1.0);
  return image;
}

/// Writes `count` photographs photo1.png ... into a new folder and returns its name.
inline std::string photographs(const TemporaryFolder& folder, const std::string& name, int count, int height,
                               int width, unsigned seed = 1) {
  fs::create_directories(folder / name);
  for (int k = 0; k < count; ++k)
    bilevel::write_image(fs::path(folder / name) / ("photo" + std::to_string(k + 1) + ".png"),
                         photograph(height, width, seed + static_cast<unsigned>(k)));
  return folder / name;
}

struct Outcome {
  int code = -1;  ///< exit code, or 1000 + signal
  std::string out, err;
};

/// A command as a process of its own. What it prints fits into a pipe (64 KiB).
class Process {
 public:
  /// `prepare` runs in the child before the program starts.
  explicit Process(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {},
                   const char* program = BILEVEL_DENOISE_PATH) {
    int out[2], err[2];
    if (::pipe(out) != 0 || ::pipe(err) != 0) throw std::runtime_error("cannot make a pipe");
    std::vector<std::string> copy = arguments;
    copy.insert(copy.begin(), program);
    std::vector<char*> argv;
    for (std::string& a : copy) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ > 0) {
      ::close(out[1]), ::close(err[1]);
      out_ = out[0], err_ = err[0];
      return;
    }
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (::dup2(nothing, 0) < 0 || ::dup2(out[1], 1) < 0 || ::dup2(err[1], 2) < 0) ::_exit(126);
    for (const int file : {nothing, out[0], out[1], err[0], err[1]}) ::close(file);
    if (prepare) prepare();
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ~Process() {
    if (!waited_) {
      ::kill(pid_, SIGKILL);
      wait();
    }
    ::close(out_), ::close(err_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  bool running() {
    if (waited_) return false;
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }
  Outcome wait() {
    int status = 0;
    if (!waited_) ::waitpid(pid_, &status, 0);
    waited_ = true;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    return {code, drain(out_), drain(err_)};
  }

 private:
  static std::string drain(int file) {
    std::string text;
    char buffer[4096];
    for (ssize_t count; (count = ::read(file, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(count));
    return text;
  }
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  bool waited_ = false;
};

inline Outcome run(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) {
  return Process(arguments, prepare).wait();
}

/// The arguments with --device BILEVEL_TEST_DEVICE; without that variable with `usual`.
inline std::vector<std::string> on_device(std::vector<std::string> arguments,
                                          const std::vector<std::string>& usual = {}) {
  const std::string device = bilevel::testing_support::test_device("");
  const std::vector<std::string> more = device.empty() ? usual : std::vector<std::string>{"--device", device};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}
inline std::vector<std::string> on_device_or_one_thread(const std::vector<std::string>& arguments) {
  return on_device(arguments, {"--device", "cpu", "--threads", "1"});
}

/// Arguments of a quick training run.
inline std::vector<std::string> training(const std::string& data, const std::string& out,
                                         const std::vector<std::string>& more = {}) {
  std::vector<std::string> a =
      on_device_or_one_thread({"train", "--data", data, "--out", out, "--images", "3", "--crop", "32",
                               "--max-iterations", "4", "--tolerance", "1e-9"});
  a.insert(a.end(), more.begin(), more.end());
  return a;
}

/// One sentence on the error stream: one line, beginning with the program's name, ending with a full stop.
inline void expect_one_sentence(const Outcome& o, const std::string& program = "bilevel-denoise") {
  EXPECT_EQ(lines_of(o.err).size(), 1u) << o.err;
  EXPECT_TRUE(o.err.starts_with(program + ": ")) << o.err;
  EXPECT_TRUE(o.err.ends_with(".\n")) << o.err;
  EXPECT_EQ(o.err.find("what()"), std::string::npos) << o.err;
}

}  // namespace bilevel_test
