#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// A file in memory behind libtiff's callbacks: `in` is read, or `out` is written.
struct TiffState {
  const std::string* in = nullptr;
  std::string* out = nullptr;
  std::uint64_t offset = 0;
  char message[160] = "";

  const std::string& bytes() const { return out != nullptr ? *out : *in; }
};

TiffState& state_of(thandle_t handle) { return *static_cast<TiffState*>(handle); }

tmsize_t on_read(thandle_t handle, void* to, tmsize_t count) {
  TiffState& state = state_of(handle);
  const std::string& bytes = state.bytes();
  if (state.offset >= bytes.size() || count <= 0) return 0;
  const std::size_t size =
      std::min<std::size_t>(static_cast<std::size_t>(count), bytes.size() - state.offset);
  std::memcpy(to, bytes.data() + state.offset, size);
  state.offset += size;
  return static_cast<tmsize_t>(size);
}

tmsize_t on_write(thandle_t handle, void* from, tmsize_t count) {
  TiffState& state = state_of(handle);
  if (state.out == nullptr || count <= 0) return 0;
  try {
    const std::size_t end = state.offset + static_cast<std::size_t>(count);
    if (state.out->size() < end) state.out->resize(end);
    std::memcpy(state.out->data() + state.offset, from, static_cast<std::size_t>(count));
    state.offset = end;
    return count;
  } catch (...) {
    return 0;
  }
}

toff_t on_seek(thandle_t handle, toff_t offset, int origin) {
  TiffState& state = state_of(handle);
  if (origin == SEEK_SET) state.offset = offset;
  if (origin == SEEK_CUR) state.offset += offset;
  if (origin == SEEK_END) state.offset = state.bytes().size() + offset;
  return state.offset;
}

int on_close(thandle_t) { return 0; }
toff_t on_size(thandle_t handle) { return state_of(handle).bytes().size(); }
int on_map(thandle_t, void**, toff_t*) { return 0; }
void on_unmap(thandle_t, void*, toff_t) {}

#if TIFFLIB_VERSION >= 20221213
/// Keeps the first message; 1 tells libtiff to stay silent.
int on_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto* state = static_cast<TiffState*>(user);
  if (state->message[0] == '\0') std::vsnprintf(state->message, sizeof state->message, format, arguments);
  return 1;
}
int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }
#endif

struct TiffCloser {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using TiffHandle = std::unique_ptr<TIFF, TiffCloser>;

/// Opens the file in memory without any output to the terminal.
TiffHandle open_tiff(TiffState& state, const char* mode) {
#if TIFFLIB_VERSION >= 20221213
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  if (options == nullptr) return nullptr;
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &state);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, nullptr);
  // Tables and decoder buffers in proportion to the file; pixels are allocated by the callers.
  const std::size_t limit = (std::size_t{1} << 26) + 64 * state.bytes().size();
  if (state.out == nullptr) TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(limit));
  return TiffHandle(TIFFClientOpenExt("input", mode, &state, on_read, on_write, on_seek, on_close, on_size,
                                      on_map, on_unmap, options.get()));
#else
  // Before version 4.5 libtiff knows process-wide handlers only.
  TIFFSetErrorHandler(nullptr);
  TIFFSetWarningHandler(nullptr);
  return TiffHandle(
      TIFFClientOpen("input", mode, &state, on_read, on_write, on_seek, on_close, on_size, on_map, on_unmap));
#endif
}

/// Decoder of the images of a file: its pages, or a stack behind its only directory. Reduced images and masks
/// beside the first page are no images.
class TiffReader {
 public:
  TiffReader(const std::string& name, const std::string& bytes) : name_(name), bytes_(bytes) {
    state_.in = &bytes;
    tiff_ = open_tiff(state_, "rm");
    if (tiff_ == nullptr) fail("the first directory cannot be read");
  }

  std::size_t count() {
    std::size_t images = 0;
    each_page([&] { images += stack_size(); });
    return images;
  }

  std::vector<HostImage> read(bool only_one) {
    const std::size_t images = count();
    if (only_one && images > 1) fail("more than one page: the file " + several_images(images));
    if (TIFFCurrentDirectory(tiff_.get()) != 0 && TIFFSetDirectory(tiff_.get(), 0) != 1)
      fail("the first directory cannot be read");
    std::vector<HostImage> all;
    each_page([&] {
      const std::size_t stack = stack_size();
      const std::size_t before = all.size();
      check_blocks();
      if (stack > 1) {
        read_stack(stack, all);
      } else {
        all.push_back(directly_readable() ? read_direct() : read_through_rgba());
      }
      for (std::size_t k = before; k < all.size(); ++k) describe(all[k]);
    });
    return all;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const std::string detail = printable(state_.message);
    throw IoError(name_, "bad TIFF: " + what + (detail.empty() ? "" : " (" + detail + ")"));
  }

  template <typename T>
  T tag(ttag_t which, T otherwise) const {
    T value = otherwise;
    return TIFFGetFieldDefaulted(tiff_.get(), which, &value) != 0 ? value : otherwise;
  }

  template <class Visit>
  void each_page(const Visit& visit) {
    for (int page = 0;; ++page) {
      check_directory_end();
      const auto kind = tag<std::uint32_t>(TIFFTAG_SUBFILETYPE, 0);
      if (page == 0 || (kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) == 0) {
        read_tags();
        visit();
      }
      if (TIFFLastDirectory(tiff_.get()) != 0) return;
      if (TIFFReadDirectory(tiff_.get()) != 1)
        fail("the directory of page " + std::to_string(page + 1) + " cannot be read");
    }
  }

  void describe(HostImage& image) const {
    image.from_integers = format_ != SAMPLEFORMAT_IEEEFP;
    image.alpha_dropped = alpha_ > 0;
    if (others_ > 0) image.notes.push_back("a channel of unspecified meaning beside the colours is left out");
  }

  void read_tags() {
    width_ = tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0);
    height_ = tag<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0);
    check_extents(name_, height_, width_);
    bits_ = tag<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
    samples_ = tag<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
    format_ = tag<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    separate_ = tag<std::uint16_t>(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
    compression_ = tag<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    read_channels();
    const auto orientation = tag<std::uint16_t>(TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    if (orientation != ORIENTATION_TOPLEFT) {
      fail("orientation " + std::to_string(orientation) +
           "; store the rows from top to bottom (orientation 1)");
    }
  }

  /// Which of the samples are colours, alpha, or neither. What a sample beyond the colours is, ExtraSamples
  /// says: 1 and 2 are alpha, 0 is unspecified.
  void read_channels() {
    if (samples_ < 1 || samples_ > 16) fail(std::to_string(samples_) + " samples per pixel");
    std::uint16_t extra = 0;
    std::uint16_t* kinds = nullptr;
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_EXTRASAMPLES, &extra, &kinds);
    alpha_ = 0;
    for (int k = 0; k < extra; ++k) alpha_ += kinds[k] == EXTRASAMPLE_UNSPECIFIED ? 0 : 1;
    photometric_ = tag<std::uint16_t>(TIFFTAG_PHOTOMETRIC,
                                      samples_ - extra >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    const bool grey = photometric_ == PHOTOMETRIC_MINISBLACK || photometric_ == PHOTOMETRIC_MINISWHITE;
    colours_ = grey || photometric_ == PHOTOMETRIC_PALETTE ? 1 : 3;
    const bool plain = grey || photometric_ == PHOTOMETRIC_RGB;
    others_ = samples_ - alpha_ - (plain ? colours_ : samples_ - extra);
    if (grey && others_ > 0) {
      fail(std::to_string(samples_) + " channels, of which " + std::to_string(others_) +
           " are neither grey nor alpha; store grey or RGB, with or without alpha, or one image per page");
    }
  }

  /// libtiff takes a directory without its last bytes; such a file is cut off.
  void check_directory_end() {
    const bool big_endian = TIFFIsBigEndian(tiff_.get()) != 0,
               big = as_bytes(bytes_)[big_endian ? 3 : 2] == 43;
    const std::uint64_t begin = TIFFCurrentDirOffset(tiff_.get()), head = big ? 8 : 2;
    if (begin + head > bytes_.size()) fail("the directory lies outside the file");
    const std::uint64_t entries = load_integer(as_bytes(bytes_) + begin, static_cast<int>(head), big_endian);
    const std::uint64_t end = begin + head + entries * (big ? 20 : 12) + (big ? 8 : 4);
    if (entries > 65535 || end > bytes_.size()) {
      fail("the directory at byte " + std::to_string(begin) + " is cut off at byte " +
           std::to_string(bytes_.size()));
    }
  }

  /// Most bytes that one compressed byte can stand for.
  std::uint64_t largest_ratio() const {
    if (compression_ == COMPRESSION_NONE) return 1;
    if (compression_ == COMPRESSION_ZSTD || compression_ == COMPRESSION_LZMA) return 1 << 16;
    return 4096;
  }

  /// How many images the page stands for. ImageJ and tifffile write large stacks with one directory, which is
  /// that of the first slice; its description counts them.
  std::size_t stack_size() const {
    if (TIFFCurrentDirectory(tiff_.get()) != 0 || TIFFLastDirectory(tiff_.get()) == 0) return 1;
    const char* text = nullptr;
    if (TIFFGetField(tiff_.get(), TIFFTAG_IMAGEDESCRIPTION, &text) != 1 || text == nullptr) return 1;
    const std::string_view description(text);
    double images = 1;
    if (description.starts_with("ImageJ=")) {
      const std::size_t at = description.find("\nimages=");
      if (at != std::string_view::npos) images = std::atof(text + at + 8);
    } else if (description.starts_with("{")) {
      const auto json = nlohmann::json::parse(description, nullptr, false);
      if (!json.is_object() || !json.contains("shape") || !json.contains("truncated")) return 1;
      if (json["truncated"] != true) return 1;
      for (const auto& extent : json["shape"]) images *= extent.is_number() ? extent.get<double>() : 1.0;
      images /= static_cast<double>(height_) * width_ * samples_;
    }
    if (!(images >= 2)) return 1;
    if (images * static_cast<double>(plane_bytes()) > static_cast<double>(bytes_.size()))
      fail("the description counts more images than the file can hold");
    return static_cast<std::size_t>(images);
  }

  /// Bytes of one image that is not compressed.
  std::uint64_t plane_bytes() const { return (std::uint64_t{height_} * width_ * samples_ * bits_ + 7) / 8; }

  /// Images one behind the other, all described by the current directory.
  void read_stack(std::size_t images, std::vector<HostImage>& all) {
    const std::uint64_t begin = TIFFGetStrileOffset(tiff_.get(), 0), size = plane_bytes();
    std::uint64_t end = begin;
    const std::uint32_t strips = TIFFIsTiled(tiff_.get()) != 0 ? 0 : TIFFNumberOfStrips(tiff_.get());
    for (std::uint32_t k = 0; k < strips && TIFFGetStrileOffset(tiff_.get(), k) == end; ++k)
      end += TIFFGetStrileByteCount(tiff_.get(), k);
    if (compression_ != COMPRESSION_NONE || !directly_readable() || end - begin != size ||
        (bytes_.size() - begin) / size < images) {
      fail("the description counts " + std::to_string(images) +
           " images, but only the first can be found; store a page for each");
    }
    const LazyBytes buffer = lazy_bytes(size);
    if (buffer == nullptr) fail("an image does not fit in memory");
    const std::uint32_t planes = separate_ ? colours_ : 1U;
    const std::size_t stride = size / height_ / (separate_ ? samples_ : 1U);
    for (std::size_t n = 0; n < images; ++n) {
      std::memcpy(buffer.get(), bytes_.data() + begin + n * size, size);
      to_native(buffer.get(), size);
      all.push_back(make_image(name_, colours_, height_, width_));
      for (std::uint32_t plane = 0; plane < planes; ++plane) {
        unpack({0, 0, width_, height_, plane}, buffer.get() + plane * stride * height_, stride, all.back());
      }
    }
  }

  void to_native(unsigned char* samples, std::size_t size) const {
    if (TIFFIsByteSwapped(tiff_.get()) == 0 || bits_ == 8) return;
    const std::size_t bytes = bits_ / 8U;
    for (std::size_t at = 0; at + bytes <= size; at += bytes)
      std::reverse(samples + at, samples + at + bytes);
  }

  /// Every strip or tile must lie inside the file, and the images must be such as the file can hold.
  void check_blocks() {
    // Chroma subsampling stores 1.5 of 3 samples at least (2 x 2) or 1.125 (4 x 4).
    const bool subsampled = photometric_ == PHOTOMETRIC_YCBCR;
    const double bits = static_cast<double>(height_) * width_ * bits_ * (subsampled ? 1 : samples_);
    claimed_ += bits / 8 / static_cast<double>(largest_ratio());  // pages may share their strips
    if (claimed_ > static_cast<double>(bytes_.size())) {
      fail(std::to_string(height_) + " x " + std::to_string(width_) + " pixels are more than a file of " +
           std::to_string(bytes_.size()) + " bytes can hold");
    }
    const std::uint32_t blocks =
        TIFFIsTiled(tiff_.get()) != 0 ? TIFFNumberOfTiles(tiff_.get()) : TIFFNumberOfStrips(tiff_.get());
    if (blocks > bytes_.size()) fail(std::to_string(blocks) + " strips or tiles cannot be in this file");
    for (std::uint32_t k = 0; k < blocks; ++k) {
      const std::uint64_t begin = TIFFGetStrileOffset(tiff_.get(), k),
                          size = TIFFGetStrileByteCount(tiff_.get(), k);
      if (size == 0 || begin > bytes_.size() || size > bytes_.size() - begin) {
        fail("strip or tile " + std::to_string(k) + " at byte " + std::to_string(begin) + " of " +
             std::to_string(size) + " bytes is not inside the file of " + std::to_string(bytes_.size()) +
             " bytes");
      }
    }
  }

  bool directly_readable() const {
    const bool integer =
        (format_ == SAMPLEFORMAT_UINT || format_ == SAMPLEFORMAT_VOID) && (bits_ == 8 || bits_ == 16);
    const bool real = format_ == SAMPLEFORMAT_IEEEFP && (bits_ == 32 || bits_ == 64);
    const bool plain = photometric_ == PHOTOMETRIC_MINISBLACK || photometric_ == PHOTOMETRIC_MINISWHITE ||
                       photometric_ == PHOTOMETRIC_RGB;
    return (integer || real) && plain && samples_ >= colours_;
  }

  struct Block {
    std::uint32_t x, y, width, height, plane;
  };

  /// Decodes one strip or tile into `buffer`; only the part inside the image is needed.
  void decode_block(const Block& block, std::uint32_t rows, std::size_t stride, unsigned char* buffer) {
    const bool tiled = TIFFIsTiled(tiff_.get()) != 0;
    const auto plane = static_cast<std::uint16_t>(block.plane);
    const std::uint32_t number = tiled ? TIFFComputeTile(tiff_.get(), block.x, block.y, 0, plane)
                                       : TIFFComputeStrip(tiff_.get(), block.y, plane);
    const tmsize_t needed = static_cast<tmsize_t>((tiled ? block.height : rows) * stride);
    const tmsize_t got = tiled ? TIFFReadEncodedTile(tiff_.get(), number, buffer, needed)
                               : TIFFReadEncodedStrip(tiff_.get(), number, buffer, needed);
    if (got != needed) {
      fail("strip or tile " + std::to_string(number) + " at " + position(block.y, block.x) +
           " cannot be decoded");
    }
  }

  double sample_at(const unsigned char* at) const {
    double value = 0.0;
    if (bits_ == 8) {
      value = *at / 255.0;
    } else if (bits_ == 16) {
      std::uint16_t word = 0;
      std::memcpy(&word, at, sizeof word);
      value = word / 65535.0;
    } else if (bits_ == 32) {
      float real = 0.0F;
      std::memcpy(&real, at, sizeof real);
      value = static_cast<double>(real);
    } else {
      std::memcpy(&value, at, sizeof value);
    }
    return photometric_ == PHOTOMETRIC_MINISWHITE ? 1.0 - value : value;
  }

  /// Copies the colours of one decoded block into the image.
  void unpack(const Block& block, const unsigned char* buffer, std::size_t stride, HostImage& image) const {
    const std::size_t bytes = bits_ / 8U, step = bytes * (separate_ ? 1U : samples_);
    const std::uint32_t rows = std::min(block.height, height_ - block.y);
    const std::uint32_t columns = std::min(block.width, width_ - block.x);
    const std::size_t plane = static_cast<std::size_t>(height_) * width_;
    for (std::uint32_t c = 0; c < (separate_ ? 1U : colours_); ++c) {
      for (std::uint32_t y = 0; y < rows; ++y) {
        const unsigned char* from = buffer + y * stride + c * bytes;
        double* to = image.pixels.data() + (block.plane + c) * plane +
                     (static_cast<std::size_t>(block.y) + y) * width_ + block.x;
        for (std::uint32_t x = 0; x < columns; ++x) to[x] = sample_at(from + x * step);
      }
    }
  }

  HostImage read_direct() {
    const bool tiled = TIFFIsTiled(tiff_.get()) != 0;
    const std::uint32_t block_width = tiled ? tag<std::uint32_t>(TIFFTAG_TILEWIDTH, 0) : width_;
    const std::uint32_t block_height =
        tiled ? tag<std::uint32_t>(TIFFTAG_TILELENGTH, 0)
              : std::min(height_, tag<std::uint32_t>(TIFFTAG_ROWSPERSTRIP, height_));
    if (block_width == 0 || block_height == 0) fail("strips or tiles without pixels");
    const std::uint32_t sample_bytes = bits_ / 8U;
    const double stride_needed =
        static_cast<double>(block_width) * sample_bytes * (separate_ ? 1U : samples_);
    if (stride_needed * block_height >
        static_cast<double>(largest_ratio()) * static_cast<double>(bytes_.size())) {
      fail("tiles of " + std::to_string(block_height) + " x " + std::to_string(block_width) +
           " pixels are more than the file can hold");
    }
    const auto stride = static_cast<std::size_t>(stride_needed);
    const LazyBytes buffer = lazy_bytes(stride * block_height);
    if (buffer == nullptr) fail("a strip or tile does not fit in memory");
    HostImage image = make_image(name_, colours_, height_, width_);
    for (std::uint32_t plane = 0; plane < (separate_ ? colours_ : 1U); ++plane) {
      for (std::uint64_t y = 0; y < height_; y += block_height) {
        for (std::uint64_t x = 0; x < width_; x += block_width) {
          const Block block{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), block_width,
                            block_height, plane};
          decode_block(block, std::min(block_height, height_ - block.y), stride, buffer.get());
          unpack(block, buffer.get(), stride, image);
        }
      }
    }
    return image;
  }

  HostImage read_through_rgba() {
    if (bits_ > 8 || (format_ != SAMPLEFORMAT_UINT && format_ != SAMPLEFORMAT_VOID)) {
      fail(std::to_string(bits_) + " bits of sample format " + std::to_string(format_) + " and photometric " +
           std::to_string(photometric_) + "; store 8 or 16-bit unsigned or 32 or 64-bit float, grey or RGB");
    }
    char reason[1024] = "";
    if (TIFFRGBAImageOK(tiff_.get(), reason) == 0)
      fail("libtiff cannot convert it to RGB: " + printable(reason));
    const std::size_t plane = static_cast<std::size_t>(height_) * width_;
    const LazyBytes memory = lazy_bytes(plane * 4);
    if (memory == nullptr) fail("the image does not fit in memory");
    auto* raster = reinterpret_cast<std::uint32_t*>(memory.get());
    if (TIFFReadRGBAImageOriented(tiff_.get(), width_, height_, raster, ORIENTATION_TOPLEFT, 1) == 0) {
      fail("the pixels cannot be decoded");
    }
    const bool grey = photometric_ == PHOTOMETRIC_MINISBLACK || photometric_ == PHOTOMETRIC_MINISWHITE;
    HostImage image = make_image(name_, grey ? 1 : 3, height_, width_);
    for (std::size_t k = 0; k < plane; ++k) {
      image.pixels[k] = TIFFGetR(raster[k]) / 255.0;
      if (grey) continue;
      image.pixels[plane + k] = TIFFGetG(raster[k]) / 255.0;
      image.pixels[2 * plane + k] = TIFFGetB(raster[k]) / 255.0;
    }
    return image;
  }

  const std::string& name_;
  const std::string& bytes_;
  TiffState state_;
  TiffHandle tiff_;
  std::uint32_t width_ = 0, height_ = 0;
  std::uint16_t bits_ = 0, samples_ = 0, format_ = 0, photometric_ = 0, colours_ = 0, compression_ = 0;
  int alpha_ = 0, others_ = 0;  ///< samples that are alpha; that are neither colours nor alpha
  bool separate_ = false;
  double claimed_ = 0;  ///< bytes that the pages so far take in a file, at least
};

void set_tags(TIFF* tiff, const HostImage& image, int bits) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(image.width));
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(image.height));
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, image.channels);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, bits == 32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, image.channels == 1 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tiff, 0));
}

/// Stores one sample in the machine's byte order, in which libtiff takes it.
void store_sample(double value, int bits, unsigned char* to) {
  if (bits == 8) {
    *to = static_cast<unsigned char>(quantise(value, 255));
  } else if (bits == 16) {
    const auto word = static_cast<std::uint16_t>(quantise(value, 65535));
    std::memcpy(to, &word, sizeof word);
  } else {
    const auto real = static_cast<float>(value);
    std::memcpy(to, &real, sizeof real);
  }
}

}  // namespace

std::vector<HostImage> decode_tiff(const std::string& name, const std::string& bytes, bool only_one) {
  return TiffReader(name, bytes).read(only_one);
}

std::size_t count_tiff(const std::string& name, const std::string& bytes) {
  return TiffReader(name, bytes).count();
}

std::string encode_tiff(const std::string& name, const HostImage& image, int bits) {
  if (bits != 8 && bits != 16 && bits != 32) {
    throw ConfigError(name + ": TIFF stores 8, 16 or 32 (float) bits per sample, not " +
                      std::to_string(bits));
  }
  std::string bytes;
  TiffState state;
  state.out = &bytes;
  const std::size_t sample_bytes = static_cast<std::size_t>(bits / 8);
  const bool large = image.pixels.size() > (std::size_t{3} << 30) / sample_bytes;
  TiffHandle tiff = open_tiff(state, large ? "w8m" : "wm");
  const auto fail = [&] { throw IoError(name, "libtiff failed: " + printable(state.message)); };
  if (tiff == nullptr) fail();
  set_tags(tiff.get(), image, bits);
  const std::size_t channels = static_cast<std::size_t>(image.channels),
                    width = static_cast<std::size_t>(image.width);
  const std::size_t plane = static_cast<std::size_t>(image.height) * width;
  std::vector<unsigned char> row(width * channels * sample_bytes);
  for (std::uint32_t y = 0; y < static_cast<std::uint32_t>(image.height); ++y) {
    unsigned char* to = row.data();
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c, to += sample_bytes) {
        store_sample(image.pixels[c * plane + y * width + x], bits, to);
      }
    }
    if (TIFFWriteScanline(tiff.get(), row.data(), y, 0) != 1) fail();
  }
  if (TIFFWriteDirectory(tiff.get()) != 1) fail();
  tiff.reset();
  if (state.message[0] != '\0') fail();
  return bytes;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
