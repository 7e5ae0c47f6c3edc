#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"

// libpng reports errors by longjmp. Each call into it is made by a step function run by `guarded`; between
// setjmp and the end of a step only objects without destructors live, and all owners are in the caller.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// What libpng's callbacks see.
struct PngState {
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  std::size_t offset = 0;
  std::string* out = nullptr;
  char message[128] = "unknown error";
};

void on_error(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof state->message, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, png_size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (state->size - state->offset < count) {
    state->offset = state->size;
    png_error(png, "the file is cut off");
  }
  std::memcpy(to, state->bytes + state->offset, count);
  state->offset += count;
}

bool append(std::string& out, const unsigned char* from, std::size_t count) noexcept {
  try {
    out.append(reinterpret_cast<const char*>(from), count);
    return true;
  } catch (...) {
    return false;
  }
}

void on_write(png_structp png, png_bytep from, png_size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (!append(*state->out, from, count)) png_error(png, "not enough memory");
}

void on_flush(png_structp) {}

/// Owner of the libpng structures of one file.
struct Png {
  explicit Png(bool reading) : reading_(reading) {
    png = reading ? png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning)
                  : png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
  }
  ~Png() {
    if (reading_) {
      png_destroy_read_struct(&png, &info, nullptr);
    } else {
      png_destroy_write_struct(&png, &info);
    }
  }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  PngState state;
  png_structp png = nullptr;
  png_infop info = nullptr;
  unsigned char* raw = nullptr;  ///< rows as the file stores them, owned by the caller
  std::size_t row_bytes = 0;
  png_uint_32 width = 0, height = 0;
  int bits = 0, colour_type = 0;

 private:
  bool reading_;
};

bool guarded(Png& file, void (*step)(Png&)) {
  if (setjmp(png_jmpbuf(file.png)) != 0) return false;
  step(file);
  return true;
}

void read_header(Png& file) {
  png_set_read_fn(file.png, &file.state, on_read);
  png_set_user_limits(file.png, 0x7fffffff, 0x7fffffff);
  png_read_info(file.png, file.info);
  int interlace = 0;
  png_get_IHDR(file.png, file.info, &file.width, &file.height, &file.bits, &file.colour_type, &interlace,
               nullptr, nullptr);
  file.row_bytes = png_get_rowbytes(file.png, file.info);
}

void read_rows(Png& file) {
  const int passes = png_set_interlace_handling(file.png);
  for (int pass = 0; pass < passes; ++pass) {
    for (png_uint_32 y = 0; y < file.height; ++y)
      png_read_row(file.png, file.raw + y * file.row_bytes, nullptr);
  }
  png_read_end(file.png, file.info);
}

void write_rows(Png& file) {
  png_set_write_fn(file.png, &file.state, on_write, on_flush);
  png_set_user_limits(file.png, 0x7fffffff, 0x7fffffff);
  png_set_IHDR(file.png, file.info, file.width, file.height, file.bits, file.colour_type, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(file.png, file.info);
  for (png_uint_32 y = 0; y < file.height; ++y) png_write_row(file.png, file.raw + y * file.row_bytes);
  png_write_end(file.png, nullptr);
}

[[noreturn]] void fail_reading(const std::string& name, const Png& file) {
  throw IoError(
      name, "bad PNG at byte " + std::to_string(file.state.offset) + ": " + printable(file.state.message));
}

std::uint32_t sample_at(const unsigned char* row, std::size_t index, int bits) {
  if (bits == 16) return static_cast<std::uint32_t>(row[2 * index] << 8 | row[2 * index + 1]);
  if (bits == 8) return row[index];
  const std::size_t bit = index * static_cast<std::size_t>(bits);
  return (static_cast<std::uint32_t>(row[bit / 8]) >> (8 - bits - static_cast<int>(bit % 8))) &
         ((1U << bits) - 1);
}

HostImage unpack_palette(const std::string& name, Png& file) {
  png_colorp palette = nullptr;
  int colours = 0;
  if (png_get_PLTE(file.png, file.info, &palette, &colours) == 0)
    throw IoError(name, "the PNG has no palette");
  HostImage image = make_image(name, 3, file.height, file.width);
  const std::size_t plane = static_cast<std::size_t>(file.height) * file.width;
  for (std::size_t y = 0; y < file.height; ++y) {
    for (std::size_t x = 0; x < file.width; ++x) {
      const std::uint32_t index = sample_at(file.raw + y * file.row_bytes, x, file.bits);
      if (index >= static_cast<std::uint32_t>(colours)) {
        throw IoError(name, "pixel at " + position(y, x) + " is palette entry " + std::to_string(index) +
                                " of a palette of " + std::to_string(colours));
      }
      double* at = image.pixels.data() + y * file.width + x;
      at[0] = palette[index].red / 255.0;
      at[plane] = palette[index].green / 255.0;
      at[2 * plane] = palette[index].blue / 255.0;
    }
  }
  return image;
}

HostImage unpack(const std::string& name, Png& file) {
  const bool alpha = (file.colour_type & PNG_COLOR_MASK_ALPHA) != 0;
  const bool transparency = png_get_valid(file.png, file.info, PNG_INFO_tRNS) != 0;
  HostImage image;
  if ((file.colour_type & PNG_COLOR_MASK_PALETTE) != 0) {
    image = unpack_palette(name, file);
  } else {
    const std::size_t channels = (file.colour_type & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
    const std::size_t stored = channels + (alpha ? 1 : 0);
    const double largest = static_cast<double>((1U << file.bits) - 1);
    image = make_image(name, static_cast<int>(channels), file.height, file.width);
    double* to = image.pixels.data();
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t y = 0; y < file.height; ++y) {
        const unsigned char* row = file.raw + y * file.row_bytes;
        for (std::size_t x = 0; x < file.width; ++x)
          *to++ = sample_at(row, stored * x + c, file.bits) / largest;
      }
    }
  }
  image.alpha_dropped = alpha || transparency;
  image.from_integers = true;
  return image;
}

/// What EXIF says, before or behind the pixels; 0 when there is none.
int orientation(Png& file) {
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(file.png, file.info, &size, &exif) != 0) return exif_orientation(exif, size);
#endif
  return 0;
}

}  // namespace

HostImage decode_png(const std::string& name, const std::string& bytes) {
  Png file(true);
  if (file.info == nullptr) throw IoError(name, "libpng could not be started");
  file.state.bytes = as_bytes(bytes);
  file.state.size = bytes.size();
  if (!guarded(file, read_header)) fail_reading(name, file);
  check_extents(name, file.height, file.width);
  // Deflate shrinks by 1032 at most, and each row carries a filter byte.
  const std::size_t raw_size = file.row_bytes * file.height;
  if ((raw_size + file.height) / 1032 > bytes.size()) {
    throw IoError(name, "the PNG header claims " + std::to_string(file.height) + " x " +
                            std::to_string(file.width) + " pixels, more than a file of " +
                            std::to_string(bytes.size()) + " bytes can hold");
  }
  const LazyBytes raw = lazy_bytes(raw_size);
  if (raw == nullptr) throw IoError(name, "the image does not fit in memory");
  file.raw = raw.get();
  if (!guarded(file, read_rows)) fail_reading(name, file);
  return turned(name, unpack(name, file), orientation(file));
}

std::string encode_png(const std::string& name, const HostImage& image, int bits) {
  if (bits != 8 && bits != 16) {
    throw ConfigError(name + ": PNG stores 8 or 16 bits per sample, not " + std::to_string(bits));
  }
  Png file(false);
  if (file.info == nullptr) throw IoError(name, "libpng could not be started");
  const std::size_t channels = static_cast<std::size_t>(image.channels),
                    width = static_cast<std::size_t>(image.width);
  const std::size_t plane = static_cast<std::size_t>(image.height) * width;
  const std::size_t sample_bytes = static_cast<std::size_t>(bits / 8);
  file.width = static_cast<png_uint_32>(image.width);
  file.height = static_cast<png_uint_32>(image.height);
  file.bits = bits;
  file.colour_type = channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  file.row_bytes = width * channels * sample_bytes;
  const LazyBytes raw = lazy_bytes(file.row_bytes * file.height);
  if (raw == nullptr) throw IoError(name, "there is not enough memory to write the image");
  file.raw = raw.get();
  unsigned char* to = raw.get();
  for (std::size_t pixel = 0; pixel < plane; ++pixel) {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::uint32_t value = quantise(image.pixels[c * plane + pixel], bits == 8 ? 255 : 65535);
      if (bits == 16) *to++ = static_cast<unsigned char>(value >> 8);
      *to++ = static_cast<unsigned char>(value & 255);
    }
  }
  std::string bytes;
  file.state.out = &bytes;
  if (!guarded(file, write_rows)) throw IoError(name, "libpng failed: " + printable(file.state.message));
  return bytes;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
