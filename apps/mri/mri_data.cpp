#include "apps/mri/mri_data.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/common/image_source.hpp"
#include "apps/common/noise.hpp"
#include "apps/common/option_support.hpp"
#include "apps/common/text.hpp"
#include "apps/mri/coils.hpp"
#include "apps/mri/resample.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/kspace_file.hpp"
#include "bilevel/io/volume_file.hpp"

namespace bilevel_app::mri {

namespace fs = std::filesystem;
using namespace bilevel;

namespace {

constexpr double usual_sigma = 0.02;
constexpr double head_level = 0.05;       // of the largest magnitude: what belongs to the head
constexpr double head_margin = 1.0 / 16;  // of its size, left free around it

struct Image {
  std::string name;
  int height = 0, width = 0;
  bool real = true;
  Complexes values;
  double unit = 1;        ///< the value that stands for the full scale of the file's integers
  bool declared = false;  ///< whether the file states such a scale
};

/// Images before they are brought to one size. `extent` holds, by size, the largest magnitude of every pixel
/// over all images of the files, those left out included, so that the same part of the head is cut out of
/// every selection.
struct ImageStack {
  std::vector<Image> images;
  std::map<std::pair<int, int>, std::vector<double>> extent;
  ImageCensus census{std::nullopt};
  std::vector<std::string> complex_files;  ///< .npy that could be meant as k-space
  std::vector<std::string> notes;

  void see(int height, int width, std::span<const double> magnitude) {
    std::vector<double>& seen = extent[{height, width}];
    seen.resize(magnitude.size(), 0.0);
    for (std::size_t i = 0; i < seen.size(); ++i) seen[i] = std::max(seen[i], magnitude[i]);
  }
};

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

/// NIfTI, one file or a pair; a .hdr without its .img belongs to BART.
bool is_volume(const fs::path& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".nii" || extension == ".img") return true;
  if (extension == ".gz") return lower_extension(path.stem()) != ".npy";
  std::error_code error;
  return extension == ".hdr" && fs::exists(fs::path(path).replace_extension(".img"), error);
}

/// Throws ConfigError naming the option and what holds the slices when these are not among them.
std::vector<int> selected(const DataOptions& o, const std::string& where, int count) {
  const SliceRange range = o.slices.empty() ? SliceRange{} : parse_slice_range(o.slices);
  try {
    return range.indices(count);
  } catch (const ConfigError&) {
    throw ConfigError(format("%s %s: %s holds %d slice(s), counted from 0; use A:B with 0 <= A < B <= %d.",
                             o.slices_option.c_str(), o.slices.c_str(), where.c_str(), count, count));
  }
}

/// Places of the slices whose numbers are in the range. Throws ConfigError naming the numbers when there are
/// none.
std::vector<int> slices_numbered(const fs::path& path, const DataOptions& o,
                                 const std::vector<int>& numbers) {
  const SliceRange range = o.slices.empty() ? SliceRange{} : parse_slice_range(o.slices);
  const int end = numbers.empty() ? 0 : *std::max_element(numbers.begin(), numbers.end()) + 1;
  const int last = range.last < 0 ? end : range.last;
  std::vector<int> places;
  for (long number = range.first; number < std::min(last, end); number += range.step)
    if (const auto at = std::find(numbers.begin(), numbers.end(), number); at != numbers.end())
      places.push_back(static_cast<int>(at - numbers.begin()));
  if (places.empty() || last > end)
    throw ConfigError(o.slices_option + " " + o.slices + ": " + path.string() + " has the " +
                      slices_text(numbers) + ".");
  return places;
}

std::vector<double> magnitudes(const Complexes& values) {
  std::vector<double> out;
  for (const std::complex<double>& v : values) out.push_back(std::abs(v));
  return out;
}

/// The least and the largest number so far.
void widen(std::vector<double>& range, double v) {
  if (range.empty()) range = {v, v};
  range[0] = std::min(range[0], v), range[1] = std::max(range[1], v);
}

/// The volume of the file that --frame chooses; which one is said where the file holds several.
int chosen_frame(const fs::path& path, const Volume& volume, const DataOptions& o, ImageStack& stack) {
  const int frame = o.frame.value_or(0);
  if (frame >= volume.frames)
    throw ConfigError(
        format("--frame %d: %s holds %d volume(s), counted from 0.", frame, path.c_str(), volume.frames));
  if (volume.frames > 1 && !o.frame)
    stack.notes.push_back(format("%s is %d-D: volume 0 of %d is used; --frame K chooses another",
                                 path.c_str(), volume.dimensions, volume.frames));
  return frame;
}

/// Says that pixels are taken for squares that are none, beyond what headers round.
void note_spacing(const fs::path& path, const DataOptions& o, const SliceExtents& size, ImageStack& stack) {
  if (std::abs(size.row_spacing - size.column_spacing) <= 1e-3 * size.row_spacing) return;
  stack.notes.push_back(
      format("%s: pixels of %s slices are %g high and %g wide; they are taken as they are, as if "
             "they were square",
             path.c_str(), o.axis.c_str(), size.row_spacing, size.column_spacing));
}

void read_volume_slices(const fs::path& path, const DataOptions& o, ImageStack& stack) {
  const Volume volume = read_volume(path);
  const Plane plane = parse_plane(o.axis);
  const SliceExtents size = slice_extents(volume, plane);
  const int frame = chosen_frame(path, volume, o, stack);
  note_spacing(path, o, size, stack);
  const auto pixels = static_cast<std::size_t>(size.height) * size.width;
  const std::vector<int> chosen = selected(o, path.string(), size.count);
  std::vector<double> range;
  for (int k = 0; k < size.count; ++k) {
    const std::vector<double> values = slice(volume, plane, k, frame);
    Image image{path.filename().string() + "#" + std::to_string(k), size.height, size.width,
                volume.parts == 1, Complexes(pixels)};
    for (std::size_t i = 0; i < pixels; ++i)
      image.values[i] = {values[i], volume.parts == 2 ? values[pixels + i] : 0.0};
    const std::vector<double> magnitude = magnitudes(image.values);
    for (const double v : magnitude) widen(range, v);
    stack.see(size.height, size.width, magnitude);
    if (std::find(chosen.begin(), chosen.end(), k) != chosen.end()) stack.images.push_back(std::move(image));
  }
  stack.census.see(path.string(), range, false);
}

/// Luma of the channels of image n of an array of real numbers.
Complexes luma_of(const ComplexArray& array, const ImageLayout& layout, std::size_t n) {
  HostImage image{3, static_cast<int>(layout.height), static_cast<int>(layout.width), {}};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < layout.height; ++y)
      for (std::size_t x = 0; x < layout.width; ++x)
        image.pixels.push_back(array.values[layout.at(n, c, y, x)].real());
  const HostImage luma = to_luma(image);
  return {luma.pixels.begin(), luma.pixels.end()};
}

void require_finite(const fs::path& path, const Image& image) {
  for (std::size_t i = 0; i < image.values.size(); ++i)
    if (!std::isfinite(std::abs(image.values[i])))
      throw IoError(path.string(), format("the pixel at row %zu, column %zu of %s is NaN or infinite.",
                                          i / image.width, i % image.width, image.name.c_str()));
}

/// An image, or a stack; real or complex. Images have no colours here, so that [3,H,W] is a stack.
std::vector<Image> read_npy_images(const fs::path& path, ImageStack& stack) {
  const ComplexArray array = read_complex_npy(path);
  const bool complex = array.type[0] == 'c';
  const ImageLayout layout = image_layout(path.string(), array.shape, complex, LeadingThree::images);
  if (layout.height > 1 << 15 || layout.width > 1 << 15)
    throw IoError(path.string(), "images larger than 32768 pixels are not supported.");
  if (!complex && array.shape.size() == 3 && layout.images == 3)
    stack.notes.push_back(path.string() +
                          ": its shape [3,H,W] is taken for three images; a colour image is [H,W,3]");
  const std::size_t pixels = layout.height * layout.width;
  std::vector<Image> images;
  for (std::size_t k = 0; k < layout.images; ++k) {
    Image image{path.filename().string() + (layout.images > 1 ? "#" + std::to_string(k) : ""),
                static_cast<int>(layout.height),
                static_cast<int>(layout.width),
                true,
                {}};
    if (layout.channels == 3) {
      image.values = luma_of(array, layout, k);
    } else {
      const auto begin = array.values.begin() + static_cast<std::ptrdiff_t>(k * pixels);
      image.values.assign(begin, begin + static_cast<std::ptrdiff_t>(pixels));
    }
    if (array.type == "u1") image.unit = 255;
    if (array.type == "u2") image.unit = 65535;
    image.declared = image.unit > 1 || array.type == "b1";
    require_finite(path, image);
    images.push_back(std::move(image));
  }
  // Real are all images of a file, or none.
  const bool real = std::all_of(array.values.begin(), array.values.end(),
                                [](const std::complex<double>& v) { return v.imag() == 0; });
  for (Image& image : images) image.real = real;
  if (!real)
    stack.complex_files.push_back(
        format("%s (%zu complex %s)", path.c_str(), layout.images, layout.images == 1 ? "image" : "images"));
  return images;
}

std::vector<Image> read_images_of(const fs::path& path, ImageStack& stack) {
  if (lower_extension(path) == ".npy") return read_npy_images(path, stack);
  std::vector<Image> images;
  const std::vector<HostImage> all = read_images(path);
  for (const std::string& note : all.front().notes) stack.notes.push_back(path.string() + ": " + note);
  for (std::size_t k = 0; k < all.size(); ++k) {
    const HostImage luma = to_luma(all[k]);
    images.push_back({path.filename().string() + (all.size() > 1 ? "#" + std::to_string(k) : ""), luma.height,
                      luma.width, true, Complexes(luma.pixels.begin(), luma.pixels.end()), 1.0,
                      luma.from_integers});
  }
  return images;
}

/// Slices count through all the files. Integers are scaled by their type where the set has several; one scale
/// alone is that of the largest magnitude, 1.
void read_image_files(const std::vector<fs::path>& files, const DataOptions& o, ImageStack& stack) {
  std::vector<Image> all;
  for (const fs::path& path : files) {
    std::vector<double> range;
    for (Image& image : read_images_of(path, stack)) {
      for (const std::complex<double>& v : image.values) widen(range, std::abs(v) / image.unit);
      all.push_back(std::move(image));
    }
    stack.census.see(path.string(), range, all.back().declared);
  }
  const bool one_scale = stack.images.empty() && std::all_of(all.begin(), all.end(), [&](const Image& image) {
                           return image.unit == all.front().unit;
                         });
  for (Image& image : all) {
    if (!one_scale)
      for (std::complex<double>& v : image.values) v /= image.unit;
    stack.see(image.height, image.width, magnitudes(image.values));
  }
  const std::string where = files.front().string() + (files.size() > 1 ? " with the other files" : "");
  for (const int k : selected(o, where, static_cast<int>(all.size())))
    stack.images.push_back(std::move(all[static_cast<std::size_t>(k)]));
}

/// Brings an image to size x size.
void bring_to(int size, const ImageStack& stack, Image& image) {
  if (!image.real) {
    image.values = resample(image.values, image.height, image.width, size, size);
  } else {
    const std::vector<double>& extent = stack.extent.at({image.height, image.width});
    const double level = head_level * *std::max_element(extent.begin(), extent.end());
    const Square square = bounding_square(extent, image.height, image.width, level, head_margin, size);
    std::vector<double> values;
    for (const std::complex<double>& v : image.values) values.push_back(v.real());
    values = average_to(values, image.height, image.width, square, size);
    image.values.assign(values.begin(), values.end());
  }
  image.height = image.width = size;
}

/// Puts images of one size into `data`.
void take_images(ImageStack stack, const DataOptions& o, MriData& data) {
  data.complex = o.image == "complex";
  const bool stay =
      o.size_is_guess && std::all_of(stack.images.begin(), stack.images.end(),
                                     [&](const Image& i) { return i.height == o.size && i.width == o.size; });
  if (stay && std::any_of(stack.images.begin(), stack.images.end(), [](const Image& i) { return i.real; }))
    data.notes.push_back(format(
        "the run does not say whether it was trained with --size %d: the images, which have that size, "
        "are taken as they are",
        o.size));
  for (Image& image : stack.images) {
    if (o.size > 0 && !stay) bring_to(o.size, stack, image);
    if (data.images == 0) data.height = image.height, data.width = image.width;
    if (image.height != data.height || image.width != data.width)
      throw IoError(image.name, format("the image has %d x %d pixels and the first one %d x %d; bring them "
                                       "to one size with --size N.",
                                       image.width, image.height, data.width, data.height));
    if (!image.real && !data.complex)
      throw ConfigError("--image real: " + image.name + " is complex; leave the option out.");
    for (const std::complex<double>& v : image.values) data.truth.push_back(v.real());
    if (data.complex)
      for (const std::complex<double>& v : image.values) data.truth.push_back(v.imag());
    data.names.push_back(image.name);
    ++data.images;
  }
}

/// The pixels that --crop-to keeps; `recon`: those the scanner reconstructs, when they are known.
struct Crop {
  Extent size;
  bool recon = false;
};

/// Throws ConfigError for a text that is none.
Crop crop_from(const std::string& text) {
  if (text == "recon") return {{}, true};
  const std::size_t by = text.find('x');
  const auto number = [&](const std::string& digits) {
    const bool good =
        !digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == digits.npos;
    const int n = good ? std::stoi(digits) : 0;
    if (n < 2 || n > 1 << 15)
      throw ConfigError("--crop-to " + text + ": use N, ROWSxCOLUMNS (2 to 32768 pixels each) or recon.");
    return n;
  };
  const int rows = number(text.substr(0, by));
  return {{rows, by == text.npos ? rows : number(text.substr(by + 1))}, false};
}

/// The middle of images of one size, and of what was seen of the others.
void crop_images(const DataOptions& o, ImageStack& stack) {
  if (o.crop_to.empty() || stack.images.empty()) return;
  const auto [to, recon] = crop_from(o.crop_to);
  if (recon)
    throw ConfigError("--crop-to recon: only k-space says what is reconstructed; use N or ROWSxCOLUMNS.");
  for (Image& image : stack.images) {
    if (to.rows > image.height || to.columns > image.width)
      throw IoError(image.name, format("the image has %d x %d pixels, fewer than --crop-to %s.", image.width,
                                       image.height, o.crop_to.c_str()));
    image.values = crop_image(std::span<const std::complex<double>>(image.values), image.height, image.width,
                              to.rows, to.columns);
    image.height = to.rows, image.width = to.columns;
  }
  const auto all = std::move(stack.extent);
  stack.extent.clear();
  for (const auto& [size, seen] : all)
    if (size.first >= to.rows && size.second >= to.columns)
      stack.see(to.rows, to.columns,
                crop_image(std::span<const double>(seen), size.first, size.second, to.rows, to.columns));
}

/// Slices of k-space brought to one size, [slice][coil][row][column].
struct KspaceStack {
  int slices = 0, coils = 0;
  Sizes sizes;
  Complexes values;
  std::vector<std::string> names, notes;
  double missing = 0;  ///< frequencies of slices that were not measured
};

/// What becomes of k-space under --crop-to and --size.
Sizes sizes_of(const fs::path& path, const DataOptions& o, const Kspace& k) {
  Sizes sizes{{k.rows, k.columns}, {k.rows, k.columns}, {}};
  if (!o.crop_to.empty()) {
    const Crop crop = crop_from(o.crop_to);
    sizes.cropped = crop.recon ? Extent{k.recon_rows, k.recon_columns} : crop.size;
    if (sizes.cropped.rows < 1 || sizes.cropped.columns < 1)
      throw IoError(path.string(),
                    "it does not say which size is reconstructed; use --crop-to ROWSxCOLUMNS.");
    if (sizes.cropped.rows > k.rows || sizes.cropped.columns > k.columns)
      throw IoError(path.string(),
                    format("k-space has %d x %d frequencies, fewer than the %d x %d of --crop-to %s.",
                           k.columns, k.rows, sizes.cropped.columns, sizes.cropped.rows, o.crop_to.c_str()));
  }
  sizes.resampled = o.size > 0 ? Extent{o.size, o.size} : sizes.cropped;
  if (o.size > std::min(sizes.cropped.rows, sizes.cropped.columns))
    throw IoError(path.string(), format("k-space has %d x %d frequencies, fewer than --size %d.",
                                        sizes.cropped.columns, sizes.cropped.rows, o.size));
  return sizes;
}

/// k-space of the middle of the image, of which the middle is kept.
Complexes brought_to(const Sizes& sizes, const Complexes& kspace) {
  const auto& [full, crop, out] = sizes;
  if (crop == full) return crop_kspace(kspace, full.rows, full.columns, out.rows, out.columns);
  const Complexes image = inverse_fourier(kspace, 1, full.rows, full.columns);
  const Complexes middle = crop_image(std::span<const std::complex<double>>(image), full.rows, full.columns,
                                      crop.rows, crop.columns);
  return crop_kspace(fourier(middle, 1, crop.rows, crop.columns), crop.rows, crop.columns, out.rows,
                     out.columns);
}

void append_kspace(const fs::path& path, const DataOptions& o, KspaceStack& stack) {
  const Kspace k = read_kspace(path);
  const Sizes sizes = sizes_of(path, o, k);
  const Extent full = sizes.measured, before = stack.sizes.measured;
  if (stack.slices == 0) stack.coils = k.coils, stack.sizes = sizes;
  if (k.coils != stack.coils || full != stack.sizes.measured || sizes.cropped != stack.sizes.cropped)
    throw IoError(path.string(),
                  format("k-space of %d coils and %d x %d frequencies does not fit to that of "
                         "the files before, %d coils and %d x %d.",
                         k.coils, k.rows, k.columns, stack.coils, before.rows, before.columns));
  const std::size_t frequencies = static_cast<std::size_t>(k.rows) * k.columns;
  for (const int slice : slices_numbered(path, o, k.slice_numbers)) {
    for (int coil = 0; coil < k.coils; ++coil) {
      const std::size_t at = (static_cast<std::size_t>(slice) * k.coils + coil) * frequencies;
      const Complexes part =
          brought_to(sizes, Complexes(k.values.begin() + static_cast<std::ptrdiff_t>(at),
                                      k.values.begin() + static_cast<std::ptrdiff_t>(at + frequencies)));
      stack.values.insert(stack.values.end(), part.begin(), part.end());
    }
    const auto sampled = k.sampled.begin() + static_cast<std::ptrdiff_t>(slice * frequencies);
    stack.missing +=
        static_cast<double>(std::count(sampled, sampled + static_cast<std::ptrdiff_t>(frequencies), 0)) /
        static_cast<double>(frequencies);
    stack.names.push_back(path.filename().string() + "#" +
                          std::to_string(k.slice_numbers[static_cast<std::size_t>(slice)]));
    ++stack.slices;
  }
  for (const std::string& note : k.notes) stack.notes.push_back(path.string() + ": " + note);
}

/// Root of the sum of squares of the coils, as images that are measured anew by one coil.
ImageStack root_sum_of_squares(const KspaceStack& k, const Complexes& coil_images) {
  const auto [rows, columns] = k.sizes.resampled;
  const std::size_t pixels = static_cast<std::size_t>(rows) * columns;
  ImageStack stack;
  for (int slice = 0; slice < k.slices; ++slice) {
    Image image{k.names[static_cast<std::size_t>(slice)], rows, columns, true, Complexes(pixels)};
    for (std::size_t i = 0; i < pixels; ++i) {
      double sum = 0;
      for (int c = 0; c < k.coils; ++c)
        sum += std::norm(coil_images[(static_cast<std::size_t>(slice) * k.coils + c) * pixels + i]);
      image.values[i] = std::sqrt(sum);
    }
    stack.images.push_back(std::move(image));
  }
  return stack;
}

/// Fills in the data from measured k-space. False: only images could be made of it, which are in `data`.
bool take_kspace(KspaceStack k, const DataOptions& o, MriData& data) {
  take_power_of_two(k.values);
  const auto [rows, columns] = k.sizes.resampled;
  const Complexes coil_images = inverse_fourier(k.values, k.slices * k.coils, rows, columns);
  const std::size_t pixels = static_cast<std::size_t>(rows) * columns;
  data.notes = std::move(k.notes);
  if (k.missing > 0)
    data.notes.push_back(format("%.1f %% of the frequencies were not measured and count as zero.",
                                100 * k.missing / k.slices));
  if (k.coils > 1 && o.sensitivities.empty()) {
    data.notes.push_back(
        "without --sensitivities the truth is the root of the sum of squares of the coils, measured anew by "
        "one coil.");
    DataOptions as_images = o;
    as_images.size = 0;
    take_images(root_sum_of_squares(k, coil_images), as_images, data);
    return false;
  }
  if (o.image == "real")
    throw ConfigError("--image real: measured k-space is complex; leave the option out.");
  data.images = k.slices, data.height = rows, data.width = columns, data.coils = k.coils;
  data.names = k.names;
  data.kspace = std::move(k.values);
  if (!o.sensitivities.empty()) data.maps = load_maps(o.sensitivities, k.coils, k.sizes, data.notes);
  const Complexes images = combine(coil_images, data.maps, k.slices, k.coils, pixels);
  for (int slice = 0; slice < k.slices; ++slice) {
    const auto image = std::span(images).subspan(static_cast<std::size_t>(slice) * pixels, pixels);
    for (const std::complex<double>& v : image) data.truth.push_back(v.real());
    for (const std::complex<double>& v : image) data.truth.push_back(v.imag());
  }
  return true;
}

/// Coil images sigma_c x of every image, transformed.
void measure(const DataOptions& o, MriData& data) {
  const std::size_t pixels = data.pixels();
  if (!o.sensitivities.empty()) {
    const Extent size{data.height, data.width};
    data.maps = load_maps(o.sensitivities, 0, {size, size, size}, data.notes);
    data.coils = static_cast<int>(data.maps.size() / pixels);
  }
  Complexes coils(static_cast<std::size_t>(data.images) * data.coils * pixels);
  for (std::size_t i = 0; i < coils.size(); ++i) {
    const std::size_t coil = i / pixels % data.coils, pixel = i % pixels;
    const double* image = data.truth.data() + i / pixels / data.coils * data.components() * pixels;
    const std::complex<double> x(image[pixel], data.complex ? image[pixels + pixel] : 0.0);
    coils[i] = x * (data.maps.empty() ? 1.0 : data.maps[coil * pixels + pixel]);
  }
  data.kspace = fourier(coils, data.images * data.coils, data.height, data.width);
}

/// Complex noise of standard deviation sigma: sigma/sqrt(2) in the real and the imaginary part.
void add_complex_noise(MriData& data, std::uint64_t seed) {
  if (data.sigma == 0) return;
  const std::size_t each = data.kspace.size() / static_cast<std::size_t>(data.images);
  for (int k = 0; k < data.images; ++k) {
    const CounterRandom random(seed, Purpose::noise, static_cast<std::uint32_t>(k));
    for (std::size_t i = 0; i < each; ++i) {
      const auto pair = random.normal_pair(i);
      data.kspace[k * each + i] += data.sigma / std::sqrt(2.0) * std::complex<double>(pair[0], pair[1]);
    }
  }
}

/// Largest magnitude 1 over the set; k-space, when it is measured, by the same factor.
void scale_to_one(const std::string& path, MriData& data) {
  double largest = 0;
  const std::size_t each = data.pixels() * data.components();
  for (int k = 0; k < data.images; ++k)
    for (const double v : magnitude(std::span(data.truth).subspan(k * each, each), data.components()))
      largest = std::max(largest, v);
  if (largest == 0) throw IoError(path, "all images are zero, so there is nothing to learn from.");
  if (!std::isfinite(largest)) throw IoError(path, "its values are too large; divide them by their largest.");
  for (double& v : data.truth) v /= largest;
  for (std::complex<double>& v : data.kspace) v /= largest;
}

void fill_fingerprint(MriData& data) {
  DataFingerprint& f = data.fingerprint;
  f.files = data.names;
  f.images = data.images;
  f.height = data.height;
  f.width = data.width;
  const std::span<const std::complex<double>> k = data.kspace;
  f.pixels = fingerprint(std::as_bytes(k), fingerprint(data.truth));
  if (!data.maps.empty()) f.pixels = fingerprint(std::as_bytes(std::span(data.maps)), f.pixels);
}

}  // namespace

void validate_slices(const std::string& slices, const char* option) {
  try {
    if (!slices.empty()) static_cast<void>(parse_slice_range(slices));
  } catch (const ConfigError& error) {
    throw ConfigError(std::string(option) + ": " + error.what());
  }
}

void validate(const DataOptions& o) {
  if (o.data.empty()) throw ConfigError("--data PATH is missing: name a volume, images, or k-space.");
  validate_slices(o.slices, "--slices");
  static_cast<void>(parse_plane(o.axis));
  if (o.size < 0 || o.size == 1 || o.size > 1 << 13)
    throw ConfigError("--size " + std::to_string(o.size) + ": use 2 to 8192 pixels.");
  if (!o.crop_to.empty()) static_cast<void>(crop_from(o.crop_to));
  if (o.sigma && (!(*o.sigma >= 0) || !std::isfinite(*o.sigma)))
    throw ConfigError("--sigma " + option_text(*o.sigma) +
                      ": the standard deviation of the noise is a number >= 0.");
  require_one_of(o.image, "--image", {"complex", "real"});
  if (o.frame.value_or(0) < 0)
    throw ConfigError("--frame " + std::to_string(*o.frame) + ": volumes count from 0.");
}

std::string slices_text(const std::vector<int>& numbers) {
  if (numbers.size() == 1) return format("slice %d", numbers[0]);
  return format("slices %d to %d", *std::min_element(numbers.begin(), numbers.end()),
                *std::max_element(numbers.begin(), numbers.end()));
}

Complexes load_maps(const std::string& path, int coils, const Sizes& sizes, std::vector<std::string>& notes) {
  const ComplexImages maps = read_coil_maps(path);
  if (coils > 0 && maps.count != coils)
    throw IoError(path, format("it holds %d sensitivity maps, but k-space has %d coils.", maps.count, coils));
  const auto [full, crop, out] = sizes;
  const Extent size{maps.rows, maps.columns};
  if (size != out && size != crop && size != full)
    throw IoError(path, format("the sensitivity maps have %d x %d pixels, but the images have %d x %d.",
                               maps.columns, maps.rows, out.columns, out.rows));
  double largest = 0;
  for (const std::complex<double>& v : maps.values) largest = std::max(largest, std::abs(v));
  if (largest == 0) throw IoError(path, "all sensitivities are zero.");
  if (!(largest > 1e-100 && largest < 1e100))  // whose squares are numbers
    throw IoError(path, format("the largest sensitivity is %g; scale the maps to about 1.", largest));
  if (maps.count > 1 && std::all_of(maps.values.begin(), maps.values.end(),
                                    [](const std::complex<double>& v) { return v.imag() == 0; }))
    notes.push_back(path +
                    ": the sensitivity maps are real, those of coils without phase; magnitudes alone "
                    "do not fit k-space that was measured");
  if (size == out) return maps.values;
  Complexes all;
  const auto pixels = static_cast<std::size_t>(maps.rows) * maps.columns;
  for (int c = 0; c < maps.count; ++c) {
    Complexes map(maps.values.begin() + static_cast<std::ptrdiff_t>(c * pixels),
                  maps.values.begin() + static_cast<std::ptrdiff_t>((c + 1) * pixels));
    if (size != crop)
      map = crop_image(std::span<const std::complex<double>>(map), size.rows, size.columns, crop.rows,
                       crop.columns);
    map = resample(map, crop.rows, crop.columns, out.rows, out.columns);
    // Unitary transforms scale by the root of the ratio of the sizes.
    const double gain = std::sqrt(static_cast<double>(crop.rows) * crop.columns /
                                  (static_cast<double>(out.rows) * out.columns));
    for (std::complex<double>& v : map) v /= gain;
    all.insert(all.end(), map.begin(), map.end());
  }
  return all;
}

std::vector<double> magnitude(std::span<const double> image, int components) {
  const std::size_t pixels = image.size() / static_cast<std::size_t>(components);
  std::vector<double> out(pixels);
  for (std::size_t i = 0; i < pixels; ++i)
    out[i] = components == 2 ? std::hypot(image[i], image[pixels + i]) : std::abs(image[i]);
  return out;
}

namespace {

/// The files of a folder, which holds data of one kind, or the file itself.
std::vector<fs::path> data_files(const std::string& path) {
  struct Kind {
    const char* name;
    std::vector<std::string> endings;
  };
  static const Kind kinds[] = {{"k-space", {".h5", ".hdf5", ".mrd", ".cfl"}},
                               {"volumes", {".nii", ".nii.gz", ".img", ".img.gz"}},
                               {"images", image_endings()}};
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  const char* found = nullptr;
  std::string endings;
  for (const Kind& kind : kinds) {
    for (const std::string& ending : kind.endings) endings += (endings.empty() ? "" : ", ") + ending;
    std::vector<fs::path> more = list_files(path, kind.endings);
    if (more.empty()) continue;
    if (found != nullptr)
      throw ConfigError(format("--data %s: the folder holds %s (%s) and %s (%s); name the files of one kind.",
                               path.c_str(), found, files.front().filename().c_str(), kind.name,
                               more.front().filename().c_str()));
    found = kind.name;
    files = std::move(more);
  }
  if (files.empty()) throw IoError(path, "the folder holds no k-space, volume or image (" + endings + ").");
  return files;
}

/// What --data names, by kind.
struct NamedFiles {
  std::vector<fs::path> kspace, volumes, images;
};

NamedFiles named_files(const DataOptions& o) {
  NamedFiles named;
  for (const std::string& path : o.data)
    for (const fs::path& file : data_files(path)) {
      auto& list = is_kspace(file) ? named.kspace : is_volume(file) ? named.volumes : named.images;
      list.push_back(file);
    }
  if (!named.kspace.empty() && !(named.volumes.empty() && named.images.empty()))
    throw ConfigError("--data names k-space and images; give one of them.");
  if (o.frame && named.volumes.empty())
    throw ConfigError(
        format("--frame %d chooses among the volumes of a file, but --data names none.", *o.frame));
  return named;
}

ImageStack read_image_stack(const NamedFiles& named, const DataOptions& o) {
  ImageStack stack;
  for (const fs::path& path : named.volumes) read_volume_slices(path, o, stack);
  if (!named.images.empty()) read_image_files(named.images, o, stack);
  if (!stack.complex_files.empty())
    stack.notes.push_back(
        stack.complex_files.front() +
        (stack.complex_files.size() == 1 ? "" : format(" and %zu more", stack.complex_files.size() - 1)) +
        ": complex .npy is taken for images; k-space is read from .h5, .mrd and .cfl");
  const auto more = stack.census.notes();
  stack.notes.insert(stack.notes.end(), more.begin(), more.end());
  return stack;
}

}  // namespace

bool holds_kspace(const DataOptions& o) { return !named_files(o).kspace.empty(); }

MriData load_data(const DataOptions& o) {
  MriData data;
  const NamedFiles named = named_files(o);
  bool measured = false;
  if (named.kspace.empty()) {
    ImageStack stack = read_image_stack(named, o);
    data.notes = stack.notes;
    crop_images(o, stack);
    take_images(std::move(stack), o, data);
  } else {
    KspaceStack kspace;
    for (const fs::path& path : named.kspace) append_kspace(path, o, kspace);
    measured = take_kspace(std::move(kspace), o, data);
  }
  scale_to_one(o.data.front(), data);
  data.sigma = o.sigma.value_or(named.kspace.empty() ? usual_sigma : 0.0);
  if (data.sigma > 1)
    data.notes.push_back(
        format("--sigma %g is more noise than there is signal, the largest magnitude being 1", data.sigma));
  if (!measured) measure(o, data);
  add_complex_noise(data, o.seed);
  fill_fingerprint(data);
  return data;
}

}  // namespace bilevel_app::mri
