#include "apps/mri/mask_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <filesystem>
#include <fstream>
#include <optional>

#include "apps/common/image_data.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/mri_model.hpp"
#include "apps/mri/run_files.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/kspace_file.hpp"

namespace bilevel_app::mri {

namespace fs = std::filesystem;
using namespace bilevel;

namespace {

/// Equal copies of [rows][columns] values with `parts` numbers each, the second 0 or equal to the first.
struct Layout {
  std::size_t rows = 0, columns = 0, parts = 1;
};

/// How a shape holds a mask of height x width: all of it, or one row that stands for all.
std::optional<Layout> layout_of(std::vector<std::size_t> shape, std::size_t height, std::size_t width) {
  const auto ends_with_mask = [&](std::size_t parts) -> std::optional<Layout> {
    const std::size_t rows = shape[shape.size() - 2], columns = shape.back();
    if (columns != width || (rows != height && rows != 1)) return {};
    return Layout{rows, columns, parts};
  };
  if (shape.size() == 1) shape.insert(shape.begin(), 1);
  if (shape.size() < 2) return {};
  if (const auto found = ends_with_mask(1)) return found;
  const std::size_t parts = shape.back();
  if (shape.size() < 3 || parts > 2) return {};
  shape.pop_back();
  return ends_with_mask(parts);
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (const std::size_t extent : shape) text += (text.size() > 1 ? "," : "") + std::to_string(extent);
  return text + "]";
}

IoError wrong_shape(const std::string& path, const std::vector<std::size_t>& shape, int height, int width) {
  return IoError(path, format("the mask has the shape %s, but the data have %d x %d frequencies; give "
                              "another mask, [%d,%d], or [%d] for whole columns.",
                              shape_text(shape).c_str(), width, height, height, width, width));
}

/// One copy of the mask, its only row repeated.
std::vector<double> one_copy(const std::string& path, const ComplexArray& array, const Layout& layout,
                             int height) {
  const auto& v = array.values;
  const std::size_t plane = layout.rows * layout.columns;
  std::vector<double> out(plane);
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::size_t at = i / layout.parts % plane, part = i % layout.parts;
    if (!std::isfinite(v[i].real()) || !std::isfinite(v[i].imag()))
      throw IoError(path, "the mask holds a NaN or infinite value.");
    if (v[i].imag() != 0)
      throw IoError(path, "the mask is complex, and its imaginary part is not zero; a mask holds 0 and 1.");
    const double value = v[i].real();
    if (i / layout.parts < plane && part == 0) out[at] = value;
    if (value != out[at] && !(part == 1 && value == 0))
      throw IoError(path, "the shape " + shape_text(array.shape) +
                              " holds masks that differ; give the one of the slice, [H,W] or [W].");
  }
  const std::vector<double> row = out;
  for (int i = 1; layout.rows == 1 && i < height; ++i) out.insert(out.end(), row.begin(), row.end());
  return out;
}

bool is_npy(const std::string& path) {
  std::array<char, 6> first{};
  std::ifstream(path, std::ios::binary).read(first.data(), first.size());
  return std::string(first.data(), first.size()) == "\x93NUMPY";
}

bool is_bart(const fs::path& path) {
  std::error_code error;
  return path.extension() == ".cfl" || path.extension() == ".hdr" ||
         (!fs::exists(path, error) && fs::exists(path.string() + ".cfl", error));
}

/// The numbers of the file, zero frequency where it has it.
std::vector<double> read_values(const std::string& path, int height, int width,
                                std::vector<std::string>& notes) {
  ComplexArray array;
  if (is_bart(path)) {
    ComplexImages images = read_complex_images(path);
    const auto extent = [](int n) { return static_cast<std::size_t>(n); };
    array = {{extent(images.count), extent(images.rows), extent(images.columns)}, std::move(images.values)};
    if (images.columns == 1 && width > 1)
      throw IoError(path,
                    format("the mask has one line of %d values where the data have %d x %d frequencies; "
                           "repeat it along the other dimension (bart repmat).",
                           images.rows, width, height));
  } else if (is_npy(path)) {
    array = read_complex_npy(path);
  } else {
    HostImage image = to_luma(read_image(path));
    bilevel_app::take_zero_and_one(image, path, notes);
    array.shape = {static_cast<std::size_t>(image.height), static_cast<std::size_t>(image.width)};
    array.values.assign(image.pixels.begin(), image.pixels.end());
  }
  const auto layout =
      layout_of(array.shape, static_cast<std::size_t>(height), static_cast<std::size_t>(width));
  if (!layout || array.values.empty()) throw wrong_shape(path, array.shape, height, width);
  return one_copy(path, array, *layout, height);
}

/// Of mask.npy in the folder of a run: how that run wrote it. Otherwise in the middle.
MaskCentre centre_in_run(const fs::path& path, const std::vector<double>& values, int height, int width,
                         std::vector<std::string>& notes) {
  const fs::path images = fs::absolute(path).parent_path();
  if (path.filename() != "mask.npy" || images.filename() != "images") return MaskCentre::middle;
  MriModel model;
  try {
    model = read_mri_model(images.parent_path() / "model.json");
  } catch (const Error&) {
    return MaskCentre::middle;
  }
  if (model.height != height || model.width != width) return MaskCentre::middle;
  const std::vector<double> mask = model.pattern().weights(model.s);
  if (values == centred(mask, height, width).pixels) return MaskCentre::middle;
  if (values == mask) {
    notes.push_back(path.string() +
                    ": the run wrote its mask with zero frequency at [0,0], and so it is read");
    return MaskCentre::first;
  }
  if (model.centred_mask_file) return MaskCentre::middle;
  throw IoError(
      path.string(),
      "it is not the mask of its run, whose time wrote masks with zero frequency at [0,0]; say where it has "
      "zero frequency with --mask-centre middle or first.");
}

/// Makes the values 0 or 1.
void make_binary(const std::string& path, Mask& mask) {
  double other = 0;
  for (const double v : mask.values)
    if (v != 0) other = v;
  const auto grey =
      std::count_if(mask.values.begin(), mask.values.end(), [&](double v) { return v != 0 && v != other; });
  if (grey > 0 || other < 0)
    mask.notes.push_back(path + ": its values are more than 0 and 1; frequencies above 0.5 are kept");
  for (double& v : mask.values) v = v > 0.5 ? 1.0 : 0.0;
  if (std::all_of(mask.values.begin(), mask.values.end(), [](double v) { return v == 0; }))
    throw IoError(path, "the mask keeps no frequency: none of its values is above 0.5.");
}

/// The largest r for which the mask keeps all frequencies at most r rows and columns from [row,column],
/// counted around the border; -1 when it leaves out that one.
int sampled_radius(std::span<const double> mask, int height, int width, int row, int column) {
  const auto kept = [&](int i, int j) {
    const int at_row = (row + i + height) % height, at_column = (column + j + width) % width;
    return mask[static_cast<std::size_t>(at_row) * width + at_column] != 0;
  };
  for (int r = 0; r <= std::min(height, width) / 2; ++r)
    for (int i = -r; i <= r; ++i)
      if (!kept(i, -r) || !kept(i, r) || !kept(-r, i) || !kept(r, i)) return r - 1;
  return std::min(height, width) / 2;
}

}  // namespace

MaskCentre mask_centre_from(const std::string& name) {
  if (name.empty()) return MaskCentre::by_itself;
  if (name == "middle") return MaskCentre::middle;
  if (name == "first") return MaskCentre::first;
  throw ConfigError("--mask-centre " + name + ": use middle (index floor(n/2)) or first ([0,0]).");
}

Mask read_mask(const std::string& path, int height, int width, MaskCentre centre) {
  Mask mask;
  mask.values = read_values(path, height, width, mask.notes);
  if (centre == MaskCentre::by_itself) centre = centre_in_run(path, mask.values, height, width, mask.notes);
  make_binary(path, mask);
  if (centre == MaskCentre::middle) mask.values = uncentred({1, height, width, std::move(mask.values)});
  return mask;
}

std::string centre_fault(std::span<const double> mask, int height, int width) {
  const int least = 2;  // radius of a part that is no accident of a random mask
  const int here = sampled_radius(mask, height, width, 0, 0),
            opposite = sampled_radius(mask, height, width, (height + 1) / 2, (width + 1) / 2);
  const bool kept = mask[0] != 0;
  if (kept && (opposite < least || opposite <= 2 * here)) return {};
  std::string text = kept ? "the mask is fully sampled farthest from zero frequency, and not around it"
                          : "the mask leaves out zero frequency";
  if (!kept && opposite >= 0) text += " and keeps the one farthest from it";
  if (opposite >= 0) text += "; --mask-centre says where the file has zero frequency";
  return text;
}

MaskFit fit_of(std::span<const double> mask, std::span<const unsigned char> sampled) {
  MaskFit fit;
  for (std::size_t j = 0; j < mask.size(); ++j) {
    fit.unmeasured += mask[j] != 0 && sampled[j] == 0;
    fit.unused += mask[j] == 0 && sampled[j] != 0;
  }
  return fit;
}

}  // namespace bilevel_app::mri
