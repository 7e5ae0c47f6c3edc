#pragma once

#include <map>

#include "apps/learn/options.hpp"
#include "bilevel/io/array_file.hpp"
#include "tests/apps/in_process.hpp"
#include "tests/learn/dense_lab.hpp"

namespace bilevel_test {

inline Outcome learn_here(const std::vector<std::string>& arguments) {
  return in_process("bilevel-learn", arguments, bilevel_app::learn::parse, bilevel_app::learn::run);
}
inline Outcome learn(const std::vector<std::string>& arguments) {
  return Process(arguments, {}, BILEVEL_LEARN_PATH).wait();
}

inline std::string big_endian(std::size_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}
/// An idx file of unsigned bytes.
inline std::string idx_bytes(const std::vector<std::size_t>& shape, const std::string& values) {
  std::string bytes{'\0', '\0', '\10', static_cast<char>(shape.size())};
  for (const std::size_t extent : shape) bytes += big_endian(extent);
  return bytes + values;
}

inline void put_npy(const std::string& path, const std::vector<std::size_t>& shape,
                    const std::vector<double>& values) {
  bilevel::write_npy(path, shape, std::span<const double>(values));
}
inline void put_labels(const std::string& path, const std::vector<int>& labels) {
  const std::vector<std::int64_t> values(labels.begin(), labels.end());
  const std::size_t shape[] = {values.size()};
  bilevel::write_npy(path, shape, std::span<const std::int64_t>(values));
}

/// Images [height][width] of classes that differ in which pixels are bright, as idx files NAME-images and
/// NAME-labels; equal seeds give equal classes.
struct Pictures {
  int height = 5, width = 4, classes = 3;

  void put(const TemporaryFolder& folder, const std::string& name, int count, unsigned seed) const {
    std::mt19937 shared(17), own(seed);
    const int area = height * width;
    std::vector<int> bright(static_cast<std::size_t>(classes * area));
    for (int& b : bright) b = static_cast<int>(shared() % 2);
    std::string pixels, labels;
    for (int j = 0; j < count; ++j) {
      const int label = j % classes;
      labels += static_cast<char>(label);
      for (int p = 0; p < area; ++p)
        pixels +=
            static_cast<char>(40 + 60 * bright[static_cast<std::size_t>(label * area + p)] + own() % 110);
    }
    const auto extent = [](int n) { return static_cast<std::size_t>(n); };
    put_file(folder / (name + "-images"), idx_bytes({extent(count), extent(height), extent(width)}, pixels));
    put_file(folder / (name + "-labels"), idx_bytes({extent(count)}, labels));
  }
};

/// The options that name the files of `train` and `validation`.
inline std::vector<std::string> learn_files(const TemporaryFolder& folder, const std::string& out,
                                            const std::vector<std::string>& more) {
  std::vector<std::string> a{"train",
                             "--train-data",
                             folder / "train-images",
                             "--train-labels",
                             folder / "train-labels",
                             "--validation-data",
                             folder / "validation-images",
                             "--validation-labels",
                             folder / "validation-labels",
                             "--out",
                             folder / out};
  a.insert(a.end(), more.begin(), more.end());
  return a;
}

inline Json summary_of(const TemporaryFolder& folder, const std::string& out) {
  return Json::parse(get_file(folder / (out + "/summary.json")));
}

/// Files of a run, without the times and where it was taken up.
inline std::map<std::string, std::string> contents_of_run(const fs::path& run) {
  std::map<std::string, std::string> all;
  for (const std::string& name : tree(run)) {
    if (fs::is_directory(run / name) || name.starts_with("checkpoint/")) continue;
    std::string text = get_file(run / name);
    if (name == "log.jsonl" || name == "summary.json") {
      std::string kept;
      for (const std::string& line : name == "log.jsonl" ? lines_of(text) : std::vector<std::string>{text}) {
        Json json = Json::parse(line);
        for (const char* key : {"seconds", "peak_memory_bytes", "resumed_from"}) json.erase(key);
        kept += json.dump() + "\n";
      }
      text = kept;
    }
    all[name] = text;
  }
  return all;
}

/// A bad command ends with `code` and one sentence that has all `parts`.
inline void expect_learn_sentence(const Outcome& o, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(o.code, code) << o.err << o.out;
  EXPECT_EQ(o.out, "");
  expect_one_sentence(o, "bilevel-learn");
  for (const std::string& part : parts)
    EXPECT_NE(o.err.find(part), std::string::npos) << part << ": " << o.err;
}

}  // namespace bilevel_test
