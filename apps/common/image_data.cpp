#include "apps/common/image_data.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/common/blur_option.hpp"
#include "apps/common/noise.hpp"
#include "apps/common/option_support.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;
using bilevel::ConfigError;
using bilevel::HostImage;
using bilevel::IoError;

namespace {

std::string extent(int height, int width) {
  return std::to_string(width) + " x " + std::to_string(height) + " pixels";
}

void require_crop_fits(const ImageSource& source, const HostImage& image, int crop) {
  if (image.height < crop || image.width < crop)
    throw IoError(source.text(), "the image of " + extent(image.height, image.width) +
                                     " is smaller than the crop of " + extent(crop, crop) +
                                     "; use a smaller --crop or larger images.");
}

struct Corner {
  int row, column;
};

/// A grid of non-overlapping crops: the one through the centre crop, or the one of most crops in the middle
/// of the image, which has up to one row and one column more.
enum class Grid { centred, densest };

/// Corners of the grid. That through the centre crop has it first; the others are shuffled (Fisher-Yates with
/// numbers of stream `file`).
std::vector<Corner> crop_corners(Grid grid, int height, int width, int size, std::uint64_t seed,
                                 std::uint32_t file) {
  const bool centred = grid == Grid::centred;
  const int row = (height - size) / 2, column = (width - size) / 2;
  std::vector<Corner> corners;
  if (centred) corners.push_back({row, column});
  for (int r = centred ? row % size : height % size / 2; r + size <= height; r += size)
    for (int c = centred ? column % size : width % size / 2; c + size <= width; c += size)
      if (!centred || r != row || c != column) corners.push_back({r, c});
  const CounterRandom random(seed, Purpose::crops, file);
  const std::size_t first = centred ? 1 : 0;
  for (std::size_t k = corners.size() - 1; k > first; --k)
    std::swap(corners[k], corners[first + random.bits(k) % (k + 1 - first)]);
  return corners;
}

/// How many crops each file gives: one each, and more in turn when there are fewer files than images.
std::vector<int> distribute(const std::vector<int>& capacity, int images) {
  std::vector<int> taken(capacity.size(), 0);
  for (int left = images; left > 0;) {
    const int before = left;
    for (std::size_t f = 0; f < capacity.size() && left > 0; ++f)
      if (taken[f] < capacity[f]) ++taken[f], --left;
    if (left == before) break;
  }
  return taken;
}

bilevel::DataFingerprint make_fingerprint(const ImageBatch& batch, const std::vector<std::string>& files) {
  bilevel::DataFingerprint f;
  f.files = files;
  f.images = batch.images;
  f.height = f.width = batch.size;
  f.pixels = bilevel::fingerprint(batch.noisy, bilevel::fingerprint(batch.clean));
  if (!batch.mask.empty()) f.pixels = bilevel::fingerprint(batch.mask, f.pixels);
  if (!batch.reference.empty()) f.pixels = bilevel::fingerprint(batch.reference, f.pixels);
  return f;
}

/// Crops of one file, clean and noisy, and of the reference.
void take_crops(const SourcePair& pair, const HostImage& clean, const HostImage& reference,
                const std::vector<Corner>& corners, int count, const DataOptions& o, PairReader& reader,
                ImageBatch& batch) {
  require_reference_fits(o.reference, reference, clean.height, clean.width, pair.clean.text());
  const bool has_noisy = !pair.noisy.path.empty();
  const HostImage given = has_noisy ? reader.noisy(pair, clean) : HostImage{};
  for (int k = 0; k < count; ++k) {
    const auto [row, column] = corners[static_cast<std::size_t>(k)];
    append_crop(clean, row, column, o.crop, o.crop, batch.clean);
    if (!reference.pixels.empty()) append_crop(reference, row, column, o.crop, o.crop, batch.reference);
    append_crop(has_noisy ? given : clean, row, column, o.crop, o.crop, batch.noisy);
    if (!has_noisy) {
      const auto image = std::span(batch.noisy).last(batch.shape().image());
      if (o.blur) blur_channels(*o.blur, o.crop, o.crop, image);
      add_noise(image, o.sigma, o.seed, static_cast<std::uint32_t>(batch.images));
    }
    std::string name = pair.clean.name();
    if (count > 1) name += " @" + std::to_string(column) + "," + std::to_string(row);
    batch.names.push_back(name);
    ++batch.images;
  }
}

/// The values of a mask; integers that have no intensity scale as they are.
HostImage read_mask_image(const std::string& path) {
  if (fs::path(path).extension() == ".npy") {
    bilevel::Array array = bilevel::read_npy(path);
    const std::string& type = array.type;
    if (type[0] == 'i' || type == "u4" || type == "u8") {
      const bilevel::ImageLayout layout = bilevel::image_layout(path, array.shape);
      if (layout.images != 1 || layout.channels != 1)
        throw IoError(path, "a mask of integers is one array of shape [H,W].");
      return {1, static_cast<int>(layout.height), static_cast<int>(layout.width), std::move(array.values)};
    }
  }
  return bilevel::to_luma(bilevel::read_image(path));
}

}  // namespace

void append_crop(const HostImage& image, int row, int column, int height, int width,
                 std::vector<double>& out) {
  for (int c = 0; c < image.channels; ++c)
    for (int i = row; i < row + height; ++i) {
      const auto line = static_cast<std::size_t>(c * image.height + i) * image.width;
      const double* first = image.pixels.data() + line + column;
      out.insert(out.end(), first, first + width);
    }
}

void blur_channels(const bilevel::BlurKernel& kernel, int height, int width, std::span<double> image) {
  const std::size_t plane = static_cast<std::size_t>(height) * width;
  for (std::size_t at = 0; at < image.size(); at += plane)
    blur(kernel, height, width, image.subspan(at, plane));
}

void validate(const DataOptions& o) {
  if (o.data.empty()) throw ConfigError("--data PATH is missing: name a folder of images, or image files.");
  if (!std::isfinite(o.sigma) || o.sigma < 0)
    throw ConfigError("--sigma " + bilevel::option_text(o.sigma) +
                      ": the standard deviation of the noise is a number >= 0 (intensities being 0 to 1).");
  if (o.images < 1) throw ConfigError("--images " + std::to_string(o.images) + ": use at least 1.");
  if (o.crop < 2 || o.crop > 1 << 15)
    throw ConfigError("--crop " + std::to_string(o.crop) + ": the size of the crops is 2 to 32768 pixels.");
}

std::vector<fs::path> list_all(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    const auto found = bilevel::list_images(path);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

std::vector<SourcePair> paired_sources(const DataOptions& o, std::size_t most) {
  std::vector<SourcePair> pairs;
  if (o.noisy.empty()) {
    for (const ImageSource& source : list_sources(o.data, most)) pairs.push_back({source, {}});
    return pairs;
  }
  const auto clean = list_sources(o.data), noisy = list_sources(o.noisy);
  if (noisy.size() != clean.size())
    throw ConfigError("--noisy holds " + std::to_string(noisy.size()) + " images and --data " +
                      std::to_string(clean.size()) +
                      "; every clean image needs one noisy partner (paired in sorted order).");
  for (std::size_t k = 0; k < std::min(clean.size(), most); ++k) pairs.push_back({clean[k], noisy[k]});
  return pairs;
}

HostImage PairReader::noisy(const SourcePair& pair, const HostImage& clean) {
  HostImage noisy = noisy_.read(pair.noisy);
  if (noisy.height != clean.height || noisy.width != clean.width)
    throw IoError(pair.noisy.text(), "the noisy image has " + extent(noisy.height, noisy.width) +
                                         ", but its clean partner " + pair.clean.text() + " has " +
                                         extent(clean.height, clean.width) + ".");
  noisy_.census().require_scale_of(clean_.census());
  return noisy;
}

std::vector<std::string> PairReader::notes() const {
  std::vector<std::string> all = clean_.notes(), noisy = noisy_.notes();
  all.insert(all.end(), noisy.begin(), noisy.end());
  return all;
}

std::string noise_note(double sigma) {
  if (sigma <= 1) return {};
  return format(
      "--sigma %g is more noise than there is signal, intensities being 0 to 1; for grey levels of 0 to 255 "
      "divide it by 255",
      sigma);
}

std::string reference_note(const std::string& path, std::size_t files) {
  if (path.empty() || files < 2) return {};
  return "--reference " + path + " serves the images of " + std::to_string(files) +
         " files; its edges help only those that show the same scene";
}

ImageBatch load_crops(const DataOptions& o) {
  const HostImage reference = read_reference(o.reference);
  const auto pairs = paired_sources(o, static_cast<std::size_t>(o.images));
  PairReader reader(o.channels);
  ImageBatch batch;
  batch.size = o.crop;
  batch.channels = o.channels;
  batch.notes = o.notes;
  if (!o.mask.empty()) batch.mask = load_mask(o.mask, o.crop, o.crop, batch.notes);
  const bool several = pairs.size() < static_cast<std::size_t>(o.images);
  std::vector<int> taken(pairs.size(), 1);
  Grid grid = Grid::centred;
  if (several) {
    std::vector<int> centred, densest;
    for (const SourcePair& pair : pairs) {
      const HostImage image = reader.clean(pair);
      require_crop_fits(pair.clean, image, o.crop);
      const auto crops = [&](Grid kind) {
        return static_cast<int>(crop_corners(kind, image.height, image.width, o.crop, 0, 0).size());
      };
      centred.push_back(crops(Grid::centred));
      densest.push_back(crops(Grid::densest));
    }
    const auto all = [](const std::vector<int>& counts) {
      return std::accumulate(counts.begin(), counts.end(), 0);
    };
    if (all(centred) < o.images) grid = Grid::densest;
    const std::vector<int>& capacity = grid == Grid::centred ? centred : densest;
    const int available = all(capacity);
    if (available < o.images)
      throw ConfigError("--images " + std::to_string(o.images) + ": " + std::to_string(pairs.size()) +
                        " file(s) hold only " + std::to_string(available) + " non-overlapping crops of " +
                        extent(o.crop, o.crop) + "; use a smaller --images or --crop, or more files.");
    taken = distribute(capacity, o.images);
    batch.notes.push_back(std::to_string(pairs.size()) + " file(s) for " + std::to_string(o.images) +
                          " images: up to " + std::to_string(taken.front()) +
                          " non-overlapping crops are taken from each.");
  }
  std::vector<std::string> files;
  for (std::size_t f = 0; f < pairs.size(); ++f) {
    const HostImage clean = reader.clean(pairs[f]);
    require_crop_fits(pairs[f].clean, clean, o.crop);
    const auto corners =
        crop_corners(grid, clean.height, clean.width, o.crop, o.seed, static_cast<std::uint32_t>(f));
    take_crops(pairs[f], clean, reference, corners, taken[f], o, reader, batch);
    files.push_back(pairs[f].clean.name());
  }
  if (!batch.mask.empty())
    for (std::size_t k = 0; k < batch.noisy.size(); ++k) batch.noisy[k] *= batch.mask[k % batch.mask.size()];
  for (const std::string& text : reader.notes()) batch.notes.push_back(text);
  if (const std::string text = reference_note(o.reference, pairs.size()); !text.empty())
    batch.notes.push_back(text);
  if (const std::string text = noise_note(o.sigma); o.noisy.empty() && !text.empty())
    batch.notes.push_back(text);
  batch.fingerprint = make_fingerprint(batch, files);
  return batch;
}

ImagePair load_pair(const SourcePair& source, const DataOptions& o, std::uint32_t index, PairReader& reader) {
  ImagePair pair{source.clean.name(), reader.clean(source), {}};
  if (source.noisy.path.empty()) {
    pair.noisy = pair.clean;
    add_noise(pair.noisy.pixels, o.sigma, o.seed, index);
  } else {
    pair.noisy = reader.noisy(source, pair.clean);
  }
  return pair;
}

void take_zero_and_one(HostImage& mask, const std::string& path, std::vector<std::string>& notes) {
  const double one = mask.pixels.empty() ? 0 : *std::max_element(mask.pixels.begin(), mask.pixels.end());
  for (const double all : {255.0, 65535.0})
    if (mask.from_integers && std::abs(one * all - 1) < 1e-9) {
      for (double& v : mask.pixels) v *= all;
      notes.push_back(format("%s: its values are 0 and 1 of %g, which count as 0 and 1", path.c_str(), all));
      return;
    }
}

std::vector<double> load_mask(const std::string& path, int height, int width,
                              std::vector<std::string>& notes) {
  HostImage image = read_for("--mask", [&] { return read_mask_image(path); });
  if (image.height != height || image.width != width)
    throw IoError(path, "the mask has " + extent(image.height, image.width) + ", but the images have " +
                            extent(height, width) + "; give one of their size.");
  take_zero_and_one(image, path, notes);
  const auto [low, high] = std::minmax_element(image.pixels.begin(), image.pixels.end());
  if (*low < 0 || *high > 1)
    throw IoError(path, "the values of the mask are " + range_text(*low, *high) +
                            "; store 0 and 1, or an image of 0 and 255.");
  if (std::any_of(image.pixels.begin(), image.pixels.end(), [](double v) { return v > 0 && v < 1; }))
    notes.push_back(path + ": its values are more than 0 and 1; pixels above 0.5 are measured");
  for (double& v : image.pixels) v = v > 0.5 ? 1.0 : 0.0;
  if (std::all_of(image.pixels.begin(), image.pixels.end(), [](double v) { return v == 0; }))
    throw IoError(path, "the mask has no intensity above 0.5, so no pixel would be measured.");
  return std::move(image.pixels);
}

HostImage read_reference(const std::string& path) {
  if (path.empty()) return {};
  HostImage reference = read_for("--reference", [&] {
    const auto sources = list_sources({path}, 2);
    if (sources.size() != 1) throw IoError(path, "the reference is one image; name a file of one.");
    return ImageReader(std::nullopt).read(sources[0]);
  });
  const auto [low, high] = std::minmax_element(reference.pixels.begin(), reference.pixels.end());
  if (*low < -0.1 || *high > 1.1)  // --edge-eta is of intensities
    throw IoError(path, "the values of the reference are " + range_text(*low, *high) +
                            "; scale it to [0,1], as --edge-eta expects.");
  return reference;
}

void require_reference_fits(const std::string& path, const HostImage& reference, int height, int width,
                            const std::string& name) {
  if (path.empty() || (reference.height == height && reference.width == width)) return;
  throw IoError(path, "the reference has " + extent(reference.height, reference.width) + ", but " + name +
                          " has " + extent(height, width) + "; give one of the size of the images.");
}

}  // namespace bilevel_app
