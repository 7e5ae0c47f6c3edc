#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

// jpeglib.h needs the types of cstdio before it.
#include <jpeglib.h>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/image_formats.hpp"

// libjpeg reports errors by a function that must not return. As with libpng, each step runs behind setjmp and
// keeps only objects without destructors; all owners are in the caller.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr int kMostScans = 128;  // of a progressive file; each is a pass over the whole image

/// Owner of the structures of one file.
struct Jpeg {
  jpeg_decompress_struct file{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX] = "unknown error";
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  unsigned char* raw = nullptr;  ///< decoded rows, owned by the caller

  Jpeg() = default;
  ~Jpeg() { jpeg_destroy_decompress(&file); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;
};

Jpeg& owner(j_common_ptr file) { return *static_cast<Jpeg*>(file->client_data); }

[[noreturn]] void on_error(j_common_ptr file) {
  Jpeg& jpeg = owner(file);
  jpeg.errors.format_message(file, jpeg.message);
  std::longjmp(jpeg.failed, 1);
}

/// Warnings, of level -1, tell of damaged data for which libjpeg makes something up.
void on_message(j_common_ptr file, int level) {
  if (level < 0) on_error(file);
}

void on_output(j_common_ptr) {}

void on_progress(j_common_ptr file) {
  Jpeg& jpeg = owner(file);
  if (jpeg.file.input_scan_number <= kMostScans) return;
  std::snprintf(jpeg.message, sizeof jpeg.message, "more than %d scans", kMostScans);
  std::longjmp(jpeg.failed, 1);
}

bool guarded(Jpeg& jpeg, void (*step)(Jpeg&)) {
  if (setjmp(jpeg.failed) != 0) return false;
  step(jpeg);
  return true;
}

void read_header(Jpeg& jpeg) {
  jpeg_create_decompress(&jpeg.file);
  jpeg.file.client_data = &jpeg;
  jpeg.file.progress = &jpeg.progress;
  jpeg_mem_src(&jpeg.file, jpeg.bytes, static_cast<unsigned long>(jpeg.size));
  jpeg_save_markers(&jpeg.file, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&jpeg.file, TRUE);
  const bool grey = jpeg.file.jpeg_color_space == JCS_GRAYSCALE;
  jpeg.file.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
}

void read_rows(Jpeg& jpeg) {
  jpeg_decompress_struct& file = jpeg.file;
  jpeg_start_decompress(&file);
  const std::size_t row_bytes =
      std::size_t{file.output_width} * static_cast<std::size_t>(file.out_color_components);
  while (file.output_scanline < file.output_height) {
    JSAMPROW row = jpeg.raw + file.output_scanline * row_bytes;
    jpeg_read_scanlines(&file, &row, 1);
  }
  jpeg_finish_decompress(&file);
}

[[noreturn]] void fail(const std::string& name, const Jpeg& jpeg) {
  throw IoError(name, "bad JPEG: " + printable(jpeg.message));
}

/// Value of the tag 274 in the first directory of EXIF, 1 to 8; 1 when there is none that can be read.
/// Exif 2.3 (CIPA DC-008), 4.6.4: 1 upright; 2, 4, 5, 7 mirrored; 3, 6, 8 turned.
int orientation(const Jpeg& jpeg) {
  for (jpeg_saved_marker_ptr marker = jpeg.file.marker_list; marker != nullptr; marker = marker->next) {
    const unsigned char* exif = marker->data;
    const std::size_t size = marker->data_length;
    if (size < 14 || std::memcmp(exif, "Exif\0\0", 6) != 0) continue;
    const unsigned char* tiff = exif + 6;
    const std::size_t length = size - 6;
    const bool big = tiff[0] == 'M';
    const std::uint64_t directory = load_integer(tiff + 4, 4, big);
    if (directory > length - 2) continue;
    const std::uint64_t entries = load_integer(tiff + directory, 2, big);
    for (std::uint64_t k = 0, at = directory + 2; k < entries && at + 12 <= length; ++k, at += 12) {
      const std::uint64_t value = load_integer(tiff + at + 8, 2, big);
      if (load_integer(tiff + at, 2, big) == 274 && value >= 1 && value <= 8) return static_cast<int>(value);
    }
  }
  return 1;
}

/// The image as it is to be seen: orientations from 5 on exchange rows and columns.
HostImage unpack(const std::string& name, const Jpeg& jpeg, int turn) {
  const int channels = jpeg.file.out_color_components;
  const std::size_t rows = jpeg.file.output_height, columns = jpeg.file.output_width;
  const bool transposed = turn >= 5;
  HostImage image =
      transposed ? make_image(name, channels, columns, rows) : make_image(name, channels, rows, columns);
  const bool from_bottom = turn == 3 || turn == 4 || turn == 7 || turn == 8;
  const bool from_right = turn == 2 || turn == 3 || turn == 6 || turn == 7;
  const auto height = static_cast<std::size_t>(image.height), width = static_cast<std::size_t>(image.width);
  double* to = image.pixels.data();
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x) {
        const std::size_t v = from_bottom ? height - 1 - y : y, h = from_right ? width - 1 - x : x;
        const std::size_t pixel = transposed ? h * columns + v : v * columns + h;
        *to++ = jpeg.raw[pixel * static_cast<std::size_t>(channels) + c] / 255.0;
      }
    }
  }
  return image;
}

}  // namespace

HostImage decode_jpeg(const std::string& name, const std::string& bytes) {
  Jpeg jpeg;
  jpeg.file.err = jpeg_std_error(&jpeg.errors);
  jpeg.errors.error_exit = on_error;
  jpeg.errors.emit_message = on_message;
  jpeg.errors.output_message = on_output;
  jpeg.progress.progress_monitor = on_progress;
  jpeg.file.client_data = &jpeg;
  jpeg.bytes = as_bytes(bytes);
  jpeg.size = bytes.size();
  if (!guarded(jpeg, read_header)) fail(name, jpeg);
  const J_COLOR_SPACE stored = jpeg.file.jpeg_color_space;
  if (stored != JCS_GRAYSCALE && stored != JCS_YCbCr && stored != JCS_RGB) {
    throw IoError(name, std::to_string(jpeg.file.num_components) +
                            " components that are not grey, YCbCr or RGB (CMYK?); convert the image to RGB");
  }
  const std::size_t height = jpeg.file.image_height, width = jpeg.file.image_width;
  check_extents(name, height, width);
  // The first pass spends at least one bit on a block of 64 pixels.
  if (height * width / 512 > bytes.size()) {
    throw IoError(name, "the JPEG header claims " + std::to_string(height) + " x " + std::to_string(width) +
                            " pixels, more than a file of " + std::to_string(bytes.size()) +
                            " bytes can hold");
  }
  const LazyBytes raw = lazy_bytes(height * width * (stored == JCS_GRAYSCALE ? 1 : 3));
  if (raw == nullptr) throw IoError(name, "the image does not fit in memory");
  jpeg.raw = raw.get();
  const int turn = orientation(jpeg);  // libjpeg frees the markers with the last row
  if (!guarded(jpeg, read_rows)) fail(name, jpeg);
  HostImage image = unpack(name, jpeg, turn);
  image.from_integers = true;
  return image;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
