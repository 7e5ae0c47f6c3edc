#include "apps/mri/run_files.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/common/run_output.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app::mri {

using namespace bilevel;

namespace {

constexpr int most_strips = 8;

/// out[(i + rows) mod height][(j + columns) mod width] = values[i][j].
std::vector<double> rolled(std::span<const double> values, int height, int width, int rows, int columns) {
  std::vector<double> out(values.size());
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j)
      out[static_cast<std::size_t>((i + rows) % height) * width + (j + columns) % width] =
          values[static_cast<std::size_t>(i) * width + j];
  return out;
}

}  // namespace

HostImage centred(std::span<const double> frequencies, int height, int width) {
  return {1, height, width, rolled(frequencies, height, width, height / 2, width / 2)};
}

std::vector<double> uncentred(const HostImage& image) {
  return rolled(image.pixels, image.height, image.width, (image.height + 1) / 2, (image.width + 1) / 2);
}

HostImage strip_of(const MriData& data, int image, const Reconstruction& r) {
  const std::size_t each = data.pixels() * data.components();
  const auto part = [&](const std::vector<double>& values) {
    return std::span(values).subspan(image * each, each);
  };
  std::vector<double> difference(part(r.x).begin(), part(r.x).end());
  for (std::size_t i = 0; i < each; ++i) difference[i] -= part(data.truth)[i];
  std::vector<double> error = magnitude(difference, data.components());
  for (double& e : error) e *= error_scale;
  const std::vector<double> truth = magnitude(part(data.truth), data.components()),
                            start = magnitude(part(r.zero_filled), data.components()),
                            result = magnitude(part(r.x), data.components());
  return strip({truth, start, result, error}, data.height, data.width);
}

void write_patterns(const RunFolder& folder, const MriModel& model, std::span<const double> relaxed_weights) {
  const std::filesystem::path images = images_folder(folder);
  const HostImage mask = centred(model.pattern().weights(model.s), model.height, model.width);
  write_image(images / "mask.png", mask);
  const std::array<std::size_t, 2> shape{static_cast<std::size_t>(model.height),
                                         static_cast<std::size_t>(model.width)};
  write_npy(images / "mask.npy", shape, std::span<const double>(mask.pixels));
  if (relaxed_weights.empty()) return;
  std::vector<double> s(relaxed_weights.begin(), relaxed_weights.end());
  for (double& v : s) v = std::min(1.0, std::sqrt(v));
  write_image(images / "s.png", centred(s, model.height, model.width));
}

void write_strips(const RunFolder& folder, const std::string& name, const MriData& data,
                  const Reconstruction& reconstruction) {
  const std::filesystem::path images = images_folder(folder);
  for (int k = 0; k < std::min(data.images, most_strips); ++k)
    write_image(images / (name + "_" + std::to_string(k) + ".png"), strip_of(data, k, reconstruction),
                {.forced = false});  // can be made again
}

}  // namespace bilevel_app::mri
