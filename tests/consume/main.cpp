// A client of the installed libraries that looks at their border.
//   client FOLDER           an image goes through a file, exceptions cross the border; writes truth.png,
//   noisy.png client FOLDER IMAGE     whether IMAGE is closer to truth.png than noisy.png is

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/quality.hpp"

namespace fs = std::filesystem;
using namespace bilevel;

namespace {

bool round_trip(const fs::path& file) {
  HostImage ramp{1, 12, 16, {}};
  for (int i = 0; i < ramp.height * ramp.width; ++i) ramp.pixels.push_back(i / 255.0);
  write_image(file, ramp);
  const HostImage back = read_image(file);
  return back.height == ramp.height && back.width == ramp.width && psnr(back.pixels, ramp.pixels) > 200.0;
}

/// Types of exceptions are the same on both sides of the libraries' border.
bool exceptions(const fs::path& missing) {
  try {
    read_image(missing);
    return false;
  } catch (const IoError& error) {
    if (error.path() != missing.string()) return false;
  }
  try {
    throw ShapeError("shapes differ");
  } catch (const Error& error) {
    return std::string(error.what()) == "shapes differ";
  }
}

void write_pair(const fs::path& folder) {
  std::mt19937_64 generator(7);
  std::normal_distribution<double> noise(0, 0.1);
  HostImage truth{1, 60, 80, {}}, noisy = truth;
  for (int row = 0; row < truth.height; ++row)
    for (int column = 0; column < truth.width; ++column) {
      truth.pixels.push_back(std::hypot(row - 30, column - 30) < 18 ? 0.8 : column < 50 ? 0.3 : 0.5);
      noisy.pixels.push_back(truth.pixels.back() + noise(generator));
    }
  write_image(folder / "truth.png", truth, {16});
  write_image(folder / "noisy.png", noisy, {16});
}

int compare(const fs::path& folder, const fs::path& image) {
  const HostImage truth = read_image(folder / "truth.png");
  const double before = psnr(read_image(folder / "noisy.png").pixels, truth.pixels);
  const double after = psnr(read_image(image).pixels, truth.pixels);
  std::printf("%.2f dB, the noisy image %.2f dB\n", after, before);
  return after > before ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return compare(argv[1], argv[2]);
  if (argc != 2) return 2;
  const fs::path folder = argv[1];
  if (!round_trip(folder / "ramp.png") || !exceptions(folder / "missing.png")) return 1;
  write_pair(folder);
  std::printf("bilevel %s\n", BILEVEL_VERSION);
  return 0;
}
