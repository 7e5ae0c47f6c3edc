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

/// What EXIF says, 1 when there is none.
int orientation(const Jpeg& jpeg) {
  for (jpeg_saved_marker_ptr marker = jpeg.file.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->data_length < 6 || std::memcmp(marker->data, "Exif\0\0", 6) != 0) continue;
    if (const int turn = exif_orientation(marker->data + 6, marker->data_length - 6)) return turn;
  }
  return 1;
}

HostImage unpack(const std::string& name, const Jpeg& jpeg) {
  const std::size_t channels = static_cast<std::size_t>(jpeg.file.out_color_components);
  HostImage image =
      make_image(name, static_cast<int>(channels), jpeg.file.output_height, jpeg.file.output_width);
  const std::size_t plane = image.pixels.size() / channels;
  for (std::size_t k = 0; k < plane; ++k) {
    for (std::size_t c = 0; c < channels; ++c)
      image.pixels[c * plane + k] = jpeg.raw[k * channels + c] / 255.0;
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
  HostImage image = turned(name, unpack(name, jpeg), turn);
  image.from_integers = true;
  return image;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
