// A client of the installed library: public headers and the shared library only.

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/quality.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path file = std::filesystem::path(argv[1]) / "ramp.png";

  bilevel::HostImage ramp;
  ramp.height = 12;
  ramp.width = 16;
  for (int i = 0; i < ramp.height * ramp.width; ++i) ramp.pixels.push_back(i / 255.0);
  bilevel::write_image(file, ramp);
  const bilevel::HostImage back = bilevel::read_image(file);
  if (back.height != ramp.height || back.width != ramp.width) return 1;
  if (bilevel::psnr(back.pixels, ramp.pixels) < 200.0) return 1;

  // Types of exceptions must be the same on both sides of the library's border.
  try {
    bilevel::read_image(std::filesystem::path(argv[1]) / "missing.png");
    return 1;
  } catch (const bilevel::IoError& error) {
    if (error.path().find("missing.png") == std::string::npos) return 1;
  }
  try {
    throw bilevel::ShapeError("shapes differ");
  } catch (const bilevel::Error& error) {
    if (std::string(error.what()) != "shapes differ") return 1;
  }

  std::printf("bilevel %s\n", BILEVEL_VERSION);
  return 0;
}
