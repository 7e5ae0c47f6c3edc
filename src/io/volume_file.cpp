#include "bilevel/io/volume_file.hpp"

#include <nifti2_io.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/child_process.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// What the child tells about the volume before its values.
struct VolumeHeader {
  std::int32_t extents[3];
  std::int32_t parts, frames, dimensions;
  double spacing[3];
  char orientation[3];

  std::uint64_t plane() const { return std::uint64_t(extents[0]) * extents[1]; }
  std::uint64_t values() const { return plane() * extents[2] * parts * frames; }
};

/// How the voxels lie in their file.
struct VoxelFile {
  std::string path;
  bool single_file = false, compressed = false, swapped = false;
  std::uint64_t offset = 0;
  char kind = 'f';  ///< 'i', 'u' or 'f'
  int size = 0;     ///< bytes of a value
  int parts = 1;
  double slope = 1.0, intercept = 0.0;
};

struct NiftiDeleter {
  void operator()(nifti_image* image) const { nifti_image_free(image); }
  void operator()(void* block) const { std::free(block); }
  void operator()(znzptr* file) const { znzclose(file); }
};

void set_type(const std::string& name, int datatype, VoxelFile& voxels) {
  const auto is = [&](char kind, int size, int parts) {
    voxels.kind = kind;
    voxels.size = size;
    voxels.parts = parts;
  };
  switch (datatype) {
    case NIFTI_TYPE_INT8:
      return is('i', 1, 1);
    case NIFTI_TYPE_INT16:
      return is('i', 2, 1);
    case NIFTI_TYPE_INT32:
      return is('i', 4, 1);
    case NIFTI_TYPE_INT64:
      return is('i', 8, 1);
    case NIFTI_TYPE_UINT8:
      return is('u', 1, 1);
    case NIFTI_TYPE_UINT16:
      return is('u', 2, 1);
    case NIFTI_TYPE_UINT32:
      return is('u', 4, 1);
    case NIFTI_TYPE_UINT64:
      return is('u', 8, 1);
    case NIFTI_TYPE_FLOAT32:
      return is('f', 4, 1);
    case NIFTI_TYPE_FLOAT64:
      return is('f', 8, 1);
    case NIFTI_TYPE_COMPLEX64:
      return is('f', 4, 2);
    case NIFTI_TYPE_COMPLEX128:
      return is('f', 8, 2);
    case NIFTI_TYPE_RGB24:
    case NIFTI_TYPE_RGBA32:
      throw IoError(name, "its voxels are colours; store one intensity a voxel");
    default:
      throw IoError(name, "voxels of NIfTI type " + std::to_string(datatype) +
                              " are not read; convert them to integers, float32 or float64");
  }
}

/// Dimension counts as the header states them; nifti2 would turn zeros into ones.
template <class Header>
void set_extents(const std::string& name, const Header& header, VolumeHeader& volume) {
  const std::int64_t dimensions = header.dim[0];
  if (dimensions < 1 || dimensions > 7) {
    throw IoError(name,
                  "the header claims " + std::to_string(dimensions) + " dimensions; 1 to 7 are possible");
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  std::int64_t frames = 1;
  volume.dimensions = 3;
  for (int d = 1; d <= 7; ++d) {
    const std::int64_t extent = d <= dimensions ? header.dim[d] : 1;
    if (extent < 1) {
      throw IoError(name, "the volume is empty: dimension " + std::to_string(d) + " has " +
                              std::to_string(extent) + " voxels");
    }
    if (extent > kMost || (d > 3 && frames > kMost / extent)) {
      throw IoError(
          name, "the header claims more than 2^31 frames or voxels along an axis; it is probably damaged");
    }
    if (d <= 3) volume.extents[d - 1] = static_cast<std::int32_t>(extent);
    if (d > 3) frames *= extent;
    if (d > 3 && extent > 1) volume.dimensions = d;
  }
  volume.frames = static_cast<std::int32_t>(frames);
}

/// Letters of the patient's sides to which the voxel axes grow. Without sform and qform i grows to the left,
/// as in ANALYZE 7.5 and in NiBabel (Nifti1Header.get_base_affine).
void set_orientation(const nifti_image& image, VolumeHeader& volume) {
  constexpr char kLetters[] = "?RLAPSI";  // by nifti2's codes
  std::memcpy(volume.orientation, "LAS", 3);
  for (const bool sform : {true, false}) {
    if ((sform ? image.sform_code : image.qform_code) <= 0) continue;
    int codes[3] = {0, 0, 0};
    nifti_dmat44_to_orientation(sform ? image.sto_xyz : image.qto_xyz, &codes[0], &codes[1], &codes[2]);
    unsigned seen = 0;
    for (const int code : codes) seen |= code >= 1 && code <= 6 ? 1U << (code - 1) / 2 : 0U;
    if (seen != 7) continue;  // a matrix without an inverse
    for (int d = 0; d < 3; ++d) volume.orientation[d] = kLetters[codes[d]];
    return;
  }
}

void check_size(const std::string& name, const VoxelFile& voxels, const VolumeHeader& volume) {
  const std::uint64_t size = regular_file_size(voxels.path);
  // Deflate shrinks by 1032 at most.
  const double most = (voxels.compressed ? 1032.0 : 1.0) * static_cast<double>(size);
  const double needed =
      static_cast<double>(volume.plane()) * volume.extents[2] * volume.frames * volume.parts * voxels.size +
      static_cast<double>(voxels.offset);
  if (needed <= most) return;
  std::string claim;
  for (const int extent : {volume.extents[0], volume.extents[1], volume.extents[2], volume.frames}) {
    claim += (claim.empty() ? "" : " x ") + std::to_string(extent);
  }
  throw IoError(name, "the header claims " + claim + " voxels of " +
                          std::to_string(voxels.size * voxels.parts) + " bytes, more than a file of " +
                          std::to_string(size) + " bytes can hold; it is cut off or damaged");
}

/// The file that holds the voxels; nifti2 alone would take x.nii for those of x.nii.gz.
std::string voxel_path(const std::string& name, bool single_file, const nifti_image& image) {
  if (single_file || name.ends_with(".img") || name.ends_with(".img.gz")) return name;
  const std::unique_ptr<char, NiftiDeleter> found(nifti_findimgname(name.c_str(), image.nifti_type));
  if (found == nullptr) throw IoError(name, "the .img file that belongs to this header is not beside it");
  return found.get();
}

using ImagePointer = std::unique_ptr<nifti_image, NiftiDeleter>;

/// Where the voxels begin; a single file has its header before them, and 0 leaves the offset out.
template <class Header>
std::uint64_t voxel_offset(const std::string& name, const Header& header, bool single_file) {
  constexpr std::uint64_t kLeast = sizeof(Header) + 4;  // four bytes say whether extensions follow
  const double offset = static_cast<double>(header.vox_offset);
  if (!(offset >= 0.0 && offset < 1e9))
    throw IoError(name, "the header claims an impossible offset of the voxels");
  const auto bytes = static_cast<std::uint64_t>(offset);
  if (!single_file) return bytes;
  if (bytes > 0 && bytes < kLeast) {
    throw IoError(name, "the header lets the voxels begin at byte " + std::to_string(bytes) +
                            ", inside of itself; in one file vox_offset is " + std::to_string(kLeast) +
                            " or more");
  }
  return std::max(bytes, kLeast);
}

/// In either case of letters.
bool ends_with(const std::string& name, std::initializer_list<std::string_view> endings) {
  std::string lower = name;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view ending) { return lower.ends_with(ending); });
}

/// What both versions of the header state by the same names.
template <class Header>
ImagePointer take_header(const std::string& name, const Header& header,
                         nifti_image* (*convert)(Header, const char*), VolumeHeader& volume,
                         VoxelFile& voxels) {
  if (NIFTI_VERSION(header) == 0 && !ends_with(name, {".hdr", ".img", ".hdr.gz", ".img.gz"})) {
    throw IoError(name,
                  "lacks the mark of NIfTI ('n+1'): its header is damaged, or that of ANALYZE 7.5, which is "
                  "read from a pair .hdr and .img");
  }
  set_extents(name, header, volume);
  set_type(name, header.datatype, voxels);
  volume.parts = voxels.parts;
  ImagePointer image(convert(header, name.c_str()));
  if (image == nullptr) throw IoError(name, "the NIfTI header contradicts itself");
  voxels.single_file = NIFTI_VERSION(header) > 0 && NIFTI_ONEFILE(header);
  voxels.offset = voxel_offset(name, header, voxels.single_file);
  for (int d = 0; d < 3; ++d) {
    const double spacing = std::fabs(static_cast<double>(header.pixdim[d + 1]));
    volume.spacing[d] = std::isfinite(spacing) && spacing > 0.0 ? spacing : 1.0;
  }
  return image;
}

/// Reads the header, of NIfTI-2 when it says so. Runs in the child.
VolumeHeader read_header(const std::string& name, VoxelFile& voxels) {
  nifti_set_debug_level(0);
  std::string start(2, '\0');
  std::ifstream(name, std::ios::binary).read(start.data(), std::ssize(start));
  if (start == "\x1f\x8b" && !ends_with(name, {".gz"}))
    throw IoError(name, "is compressed by gzip, which its name does not say; rename it to end in .gz");
  VolumeHeader volume{};
  int swapped = 0;
  ImagePointer image;
  const std::unique_ptr<nifti_1_header, NiftiDeleter> first(nifti_read_n1_hdr(name.c_str(), &swapped, 0));
  if (first != nullptr && first->sizeof_hdr == static_cast<int>(sizeof(nifti_1_header))) {
    image = take_header(name, *first, nifti_convert_n1hdr2nim, volume, voxels);
  } else {
    const std::unique_ptr<nifti_2_header, NiftiDeleter> second(nifti_read_n2_hdr(name.c_str(), &swapped, 0));
    if (second == nullptr || NIFTI_VERSION(*second) != 2 ||
        second->sizeof_hdr != static_cast<int>(sizeof(nifti_2_header))) {
      throw IoError(name, "has no header of NIfTI-1 or NIfTI-2 (.nii, .hdr with .img, either with .gz)");
    }
    image = take_header(name, *second, nifti_convert_n2hdr2nim, volume, voxels);
  }
  voxels.path = voxel_path(name, voxels.single_file, *image);
  voxels.compressed = nifti_is_gzfile(voxels.path.c_str()) != 0;
  voxels.swapped = swapped != 0;
  if (image->scl_slope != 0.0)
    voxels.slope = image->scl_slope, voxels.intercept = image->scl_inter;  // 0 for NaN
  set_orientation(*image, volume);
  check_size(name, voxels, volume);
  return volume;
}

double decode(const unsigned char* at, const VoxelFile& voxels, bool big_endian) {
  const std::uint64_t bits = load_integer(at, voxels.size, big_endian);
  if (voxels.kind == 'u') return static_cast<double>(bits);
  if (voxels.kind == 'i') {
    const int unused = 64 - 8 * voxels.size;
    return static_cast<double>(static_cast<std::int64_t>(bits << unused) >> unused);
  }
  if (voxels.size == 8) return std::bit_cast<double>(bits);
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
}

[[noreturn]] void refuse_voxel(const std::string& name, const VolumeHeader& volume, std::uint64_t voxel,
                               double value) {
  const std::uint64_t per_frame = volume.plane() * volume.extents[2], i = voxel % volume.extents[0];
  const std::uint64_t j = voxel % volume.plane() / volume.extents[0], k = voxel % per_frame / volume.plane();
  throw IoError(name, "the voxel (" + std::to_string(i) + ", " + std::to_string(j) + ", " +
                          std::to_string(k) + ") of frame " + std::to_string(voxel / per_frame) + " is " +
                          (std::isnan(value) ? "NaN" : "infinite"));
}

/// Sends the values one row j of one frame after the other. Runs in the child.
void send_values(const std::string& name, const VolumeHeader& volume, const VoxelFile& voxels, Outlet& out) {
  std::unique_ptr<znzptr, NiftiDeleter> file(znzopen(voxels.path.c_str(), "rb", voxels.compressed));
  if (file == nullptr || znzseek(file.get(), static_cast<znz_off_t>(voxels.offset), SEEK_SET) < 0) {
    throw IoError(name, "the voxels of " + printable(voxels.path) + " cannot be read");
  }
  const bool big_endian = voxels.swapped == (std::endian::native == std::endian::little);
  const std::size_t voxel_bytes = static_cast<std::size_t>(voxels.size * voxels.parts);
  const std::uint64_t total = volume.values() / static_cast<std::uint64_t>(volume.parts);
  constexpr std::size_t kPiece = 1 << 16;
  std::vector<unsigned char> raw(kPiece * voxel_bytes);
  std::vector<double> values(kPiece * static_cast<std::size_t>(voxels.parts));
  for (std::uint64_t begin = 0; begin < total; begin += kPiece) {
    const std::size_t count = std::min<std::uint64_t>(kPiece, total - begin);
    if (znzread(raw.data(), 1, count * voxel_bytes, file.get()) != count * voxel_bytes) {
      throw IoError(name, "the voxels end or cannot be decompressed after " +
                              std::to_string(begin * voxel_bytes) + " of " +
                              std::to_string(total * voxel_bytes) + " bytes; the file is cut off or damaged");
    }
    const std::size_t parts = static_cast<std::size_t>(voxels.parts);
    for (std::size_t k = 0; k < count * parts; ++k) {
      const double stored =
          decode(raw.data() + k * static_cast<std::size_t>(voxels.size), voxels, big_endian);
      values[k] = voxels.slope * stored + voxels.intercept;
      if (!std::isfinite(values[k])) refuse_voxel(name, volume, begin + k / parts, values[k]);
    }
    out.send(values.data(), count * parts * sizeof(double));
  }
  // zlib compares the checksum when it is asked for what follows the last byte, and tells when closed.
  const bool damaged =
      voxels.compressed && static_cast<std::int64_t>(znzread(raw.data(), 1, 1, file.get())) < 0;
  znzFile closed = file.release();
  if ((znzclose(closed) != 0 && voxels.compressed) || damaged) {
    throw IoError(name,
                  "the compressed voxels lack their checksum or do not agree with it; the file is damaged");
  }
}

/// [frame][voxel][part] to [frame][part][voxel].
void separate_parts(Volume& volume) {
  const std::size_t frame_size = volume.values.size() / static_cast<std::size_t>(volume.frames);
  std::vector<double> frame(frame_size);
  for (auto at = volume.values.begin(); at != volume.values.end(); at += std::ssize(frame)) {
    for (std::size_t k = 0; k < frame_size; ++k) {
      frame[k % 2 * (frame_size / 2) + k / 2] = at[static_cast<std::ptrdiff_t>(k)];
    }
    std::copy(frame.begin(), frame.end(), at);
  }
}

void receive_volume(const std::string& name, Inlet& in, Volume& volume) {
  const VolumeHeader header = in.receive_value<VolumeHeader>();
  volume.columns = header.extents[0];
  volume.rows = header.extents[1];
  volume.slices = header.extents[2];
  volume.parts = header.parts;
  volume.frames = header.frames;
  volume.dimensions = header.dimensions;
  for (std::size_t d = 0; d < 3; ++d) volume.spacing[d] = header.spacing[d];
  volume.orientation.assign(header.orientation, 3);
  const std::uint64_t total = header.values();
  try {
    volume.values.reserve(total);
    while (volume.values.size() < total) {  // pages are occupied as the values arrive
      const std::size_t before = volume.values.size();
      volume.values.resize(std::min<std::uint64_t>(total, before + (1 << 16)));
      in.receive(volume.values.data() + before, (volume.values.size() - before) * sizeof(double));
    }
    if (volume.parts == 2) separate_parts(volume);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  if (volume.values.size() != total) throw IoError(name, "the volume does not fit in memory");
}

/// The voxel axes that become the normal, the vertical and the horizontal of a slice.
struct SliceAxes {
  int normal, vertical, horizontal;
  bool flip_rows, flip_columns;
};

SliceAxes slice_axes(const Volume& volume, Plane axis) {
  const auto find = [&](std::string_view letters) {
    for (int d = 0; d < 3; ++d) {
      if (letters.find(volume.orientation[static_cast<std::size_t>(d)]) != std::string_view::npos) return d;
    }
    return -1;
  };
  const bool known = volume.orientation.size() == 3;
  const int x = known ? find("RL") : -1, y = known ? find("AP") : -1, z = known ? find("SI") : -1;
  const std::uint64_t needed = std::uint64_t(std::max(volume.columns, 0)) * std::max(volume.rows, 0) *
                               std::max(volume.slices, 0) * std::max(volume.parts, 0) *
                               std::max(volume.frames, 0);
  if (x < 0 || y < 0 || z < 0 || needed == 0 || volume.values.size() != needed) {
    throw ShapeError("a volume of " + std::to_string(volume.columns) + " x " + std::to_string(volume.rows) +
                     " x " + std::to_string(volume.slices) + " voxels, " + std::to_string(volume.parts) +
                     " part(s) and " + std::to_string(volume.frames) + " frame(s) with " +
                     std::to_string(volume.values.size()) + " values and orientation '" + volume.orientation +
                     "'; positive extents, their product and three letters are needed");
  }
  SliceAxes axes{};
  axes.normal = axis == Plane::axial ? z : axis == Plane::coronal ? y : x;
  axes.vertical = axis == Plane::axial ? y : z;
  axes.horizontal = axis == Plane::sagittal ? y : x;
  const auto letter = [&](int d) { return volume.orientation[static_cast<std::size_t>(d)]; };
  axes.flip_rows = letter(axes.vertical) == 'A' || letter(axes.vertical) == 'S';
  axes.flip_columns = letter(axes.horizontal) == 'L' || letter(axes.horizontal) == 'P';
  return axes;
}

int extent(const Volume& volume, int d) {
  return d == 0 ? volume.columns : d == 1 ? volume.rows : volume.slices;
}

int parse_count(std::string_view text, std::string_view whole, int least) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least) {
    throw ConfigError("'" + printable(whole) +
                      "' is no range of slices; use A:B, A:B:STEP or one number, with " +
                      "numbers from 0 and steps from 1");
  }
  return value;
}

}  // namespace
}  // namespace io_detail

Volume read_volume(const std::filesystem::path& path) {
  using namespace io_detail;
  const std::string name = path.string();
  Volume volume;
  read_in_child(
      name, regular_file_size(name),
      [&](Outlet& out) {
        VoxelFile voxels;
        const VolumeHeader header = read_header(name, voxels);
        out.send_value(header);
        send_values(name, header, voxels, out);
      },
      [&](Inlet& in) { receive_volume(name, in, volume); });
  return volume;
}

Plane parse_plane(std::string_view name) {
  if (name == "axial") return Plane::axial;
  if (name == "coronal") return Plane::coronal;
  if (name == "sagittal") return Plane::sagittal;
  throw ConfigError("'" + io_detail::printable(name) + "' is no axis; use axial, coronal or sagittal");
}

SliceExtents slice_extents(const Volume& volume, Plane axis) {
  const io_detail::SliceAxes axes = io_detail::slice_axes(volume, axis);
  return {io_detail::extent(volume, axes.normal), io_detail::extent(volume, axes.vertical),
          io_detail::extent(volume, axes.horizontal), volume.spacing[static_cast<std::size_t>(axes.vertical)],
          volume.spacing[static_cast<std::size_t>(axes.horizontal)]};
}

std::vector<double> slice(const Volume& volume, Plane axis, int index, int frame) {
  using namespace io_detail;
  const SliceAxes axes = slice_axes(volume, axis);
  const SliceExtents size = slice_extents(volume, axis);
  if (index < 0 || index >= size.count || frame < 0 || frame >= volume.frames) {
    throw ConfigError("slice " + std::to_string(index) + " of frame " + std::to_string(frame) +
                      " is outside a volume of " + std::to_string(size.count) + " such slices and " +
                      std::to_string(volume.frames) + " frame(s), counted from 0");
  }
  const std::size_t strides[3] = {1, static_cast<std::size_t>(volume.columns),
                                  static_cast<std::size_t>(volume.columns) * volume.rows};
  const std::size_t part_size = strides[2] * volume.slices;
  std::vector<double> image;
  image.reserve(static_cast<std::size_t>(volume.parts) * size.height * size.width);
  for (int part = 0; part < volume.parts; ++part) {
    const double* from = volume.values.data() +
                         (static_cast<std::size_t>(frame) * volume.parts + part) * part_size +
                         static_cast<std::size_t>(index) * strides[axes.normal];
    for (int y = 0; y < size.height; ++y) {
      const std::size_t v = static_cast<std::size_t>(axes.flip_rows ? size.height - 1 - y : y);
      for (int x = 0; x < size.width; ++x) {
        const std::size_t h = static_cast<std::size_t>(axes.flip_columns ? size.width - 1 - x : x);
        image.push_back(from[v * strides[axes.vertical] + h * strides[axes.horizontal]]);
      }
    }
  }
  return image;
}

std::vector<int> SliceRange::indices(int count) const {
  const int end = last < 0 ? count : last;
  if (first < 0 || step < 1 || first >= end || end > count) {
    throw ConfigError("the slices " + std::to_string(first) + ":" + (last < 0 ? "" : std::to_string(last)) +
                      ":" + std::to_string(step) + " are none of the " + std::to_string(count) +
                      " there are; use a range A:B with 0 <= A < B <= " + std::to_string(count));
  }
  std::vector<int> all;
  for (long index = first; index < end; index += step) all.push_back(static_cast<int>(index));
  return all;
}

SliceRange parse_slice_range(std::string_view text) {
  using io_detail::parse_count;
  std::vector<std::string_view> fields(1);
  std::size_t begin = 0;
  for (std::size_t colon = 0; (colon = text.find(':', begin)) != std::string_view::npos; begin = colon + 1) {
    fields.back() = text.substr(begin, colon - begin);
    fields.emplace_back();
  }
  fields.back() = text.substr(begin);
  if (fields.size() > 3) parse_count("", text, 0);
  SliceRange range;
  if (fields.size() == 1) {
    range.first = parse_count(text, text, 0);
    if (range.first == std::numeric_limits<int>::max()) parse_count("", text, 0);
    range.last = range.first + 1;
    return range;
  }
  if (!fields[0].empty()) range.first = parse_count(fields[0], text, 0);
  if (!fields[1].empty()) range.last = parse_count(fields[1], text, 0);
  if (fields.size() == 3 && !fields[2].empty()) range.step = parse_count(fields[2], text, 1);
  return range;
}

}  // namespace v0
}  // namespace bilevel
