#pragma once

// Small MRI files of every format, made byte by byte or with the format's own library.

#include <hdf5.h>
#include <ismrmrd/dataset.h>
#include <ismrmrd/ismrmrd.h>
#include <zlib.h>

#include <bit>
#include <cmath>
#include <complex>
#include <numbers>

#include "io_test_support.hpp"

namespace bilevel_test {

struct NiftiSpec {
  std::vector<int> extents{3, 2, 2};
  int datatype = 16;  ///< float32
  int bytes = 4;      ///< of a voxel
  bool big_endian = false;
  float slope = 0.0F, intercept = 0.0F, offset = 352.0F;
  /// Rows of sform; none leaves the code at 0.
  std::vector<std::array<float, 4>> sform{};
  std::array<float, 3> spacing{1.0F, 1.0F, 1.0F};
  bool pair = false;  ///< header of a .hdr file
};

inline std::string float_bytes(float value, bool big_endian) {
  return integer(std::bit_cast<std::uint32_t>(value), 4, big_endian);
}

/// The 352 bytes before the voxels (348 of a pair): fields at the offsets of nifti1.h.
inline std::string nifti_header(const NiftiSpec& spec) {
  std::string out(spec.pair ? 348 : 352, '\0');
  const auto put = [&](std::size_t at, const std::string& bytes) { out.replace(at, bytes.size(), bytes); };
  const auto put_short = [&](std::size_t at, int value) {
    put(at, integer(static_cast<std::uint64_t>(value), 2, spec.big_endian));
  };
  put(0, integer(348, 4, spec.big_endian));
  put_short(40, static_cast<int>(spec.extents.size()));
  for (std::size_t d = 0; d < spec.extents.size(); ++d) put_short(42 + 2 * d, spec.extents[d]);
  put_short(70, spec.datatype);
  put_short(72, 8 * spec.bytes);
  put(76, float_bytes(1.0F, spec.big_endian));
  for (std::size_t d = 0; d < 3; ++d) put(80 + 4 * d, float_bytes(spec.spacing[d], spec.big_endian));
  put(108, float_bytes(spec.pair ? 0.0F : spec.offset, spec.big_endian));
  put(112, float_bytes(spec.slope, spec.big_endian));
  put(116, float_bytes(spec.intercept, spec.big_endian));
  if (!spec.sform.empty()) {
    put_short(254, 1);
    for (std::size_t k = 0; k < 12; ++k) {
      put(280 + 4 * k, float_bytes(spec.sform[k / 4][k % 4], spec.big_endian));
    }
  }
  put(344, spec.pair ? std::string("ni1\0", 4) : std::string("n+1\0", 4));
  return out;
}

/// The 544 bytes before the voxels of NIfTI-2 (540 of a pair): fields at the offsets of nifti2.h.
inline std::string nifti2_header(const NiftiSpec& spec) {
  std::string out(spec.pair ? 540 : 544, '\0');
  const auto put = [&](std::size_t at, std::uint64_t value, int size) {
    out.replace(at, static_cast<std::size_t>(size), integer(value, size, spec.big_endian));
  };
  const auto put_double = [&](std::size_t at, double value) {
    put(at, std::bit_cast<std::uint64_t>(value), 8);
  };
  put(0, 540, 4);
  out.replace(4, 8, std::string(spec.pair ? "ni2\0\r\n\032\n" : "n+2\0\r\n\032\n", 8));
  put(12, static_cast<std::uint64_t>(spec.datatype), 2);
  put(14, static_cast<std::uint64_t>(8 * spec.bytes), 2);
  put(16, spec.extents.size(), 8);
  for (std::size_t d = 0; d < spec.extents.size(); ++d) {
    put(24 + 8 * d, static_cast<std::uint64_t>(spec.extents[d]), 8);
  }
  put_double(104, 1.0);
  for (std::size_t d = 0; d < 3; ++d) put_double(112 + 8 * d, static_cast<double>(spec.spacing[d]));
  put(168, spec.pair ? 0 : static_cast<std::uint64_t>(spec.offset), 8);
  put_double(176, static_cast<double>(spec.slope));
  put_double(184, static_cast<double>(spec.intercept));
  if (!spec.sform.empty()) {
    put(348, 1, 4);
    for (std::size_t k = 0; k < 12; ++k)
      put_double(400 + 8 * k, static_cast<double>(spec.sform[k / 4][k % 4]));
  }
  return out;
}

inline std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  std::string in = bytes;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A random complex image with a phase, [row][column].
inline std::vector<std::complex<double>> random_complex(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> value(-1.0, 1.0);
  std::vector<std::complex<double>> values(count);
  for (auto& v : values) v = {value(generator), value(generator)};
  return values;
}

/// Unitary separable transform by the definition. Frequencies and positions are counted from [0,0], or from
/// the centre floor(n/2) of their arrays.
inline std::vector<std::complex<double>> dft(const std::vector<std::complex<double>>& in, int rows,
                                             int columns, int sign, bool centred) {
  const auto along = [&](const std::vector<std::complex<double>>& from, int lines, int length,
                         int line_stride, int stride) {
    std::vector<std::complex<double>> to(from.size()), turns(static_cast<std::size_t>(length));
    for (int k = 0; k < length; ++k) {
      turns[static_cast<std::size_t>(k)] =
          std::polar(1 / std::sqrt(length), sign * 2.0 * std::numbers::pi * k / length);
    }
    const int centre = centred ? length / 2 : 0;
    for (int line = 0; line < lines; ++line) {
      for (int k = 0; k < length; ++k) {
        std::complex<double> sum = 0.0;
        for (int p = 0; p < length; ++p) {
          const int turn = (k - centre) * (p - centre) % length;
          sum += from[static_cast<std::size_t>(line * line_stride + p * stride)] *
                 turns[static_cast<std::size_t>((turn + length) % length)];
        }
        to[static_cast<std::size_t>(line * line_stride + k * stride)] = sum;
      }
    }
    return to;
  };
  return along(along(in, rows, columns, columns, 1), columns, rows, 1, columns);
}

/// HDF5 handles of a file under construction are closed with the object.
class Hdf5Writer {
 public:
  /// `latest`: in the newest format that the library writes, with checksums.
  explicit Hdf5Writer(const fs::path& path, bool latest = false) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (latest) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    file_ = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
  }
  ~Hdf5Writer() { H5Fclose(file_); }
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  hid_t file() const { return file_; }
  /// Complex numbers of T as compounds with the members `real` and `imaginary`; `filter` is none or HDF5's
  /// number of one.
  template <class T>
  void complex_dataset(const char* name, const std::vector<hsize_t>& extents,
                       const std::vector<std::complex<T>>& values, H5Z_filter_t filter = H5Z_FILTER_NONE,
                       const char* real = "r", const char* imaginary = "i") {
    const hid_t part = sizeof(T) == 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
    const hid_t type = H5Tcreate(H5T_COMPOUND, 2 * sizeof(T));
    H5Tinsert(type, real, 0, part);
    H5Tinsert(type, imaginary, sizeof(T), part);
    dataset(name, type, extents, values.data(), filter);
    H5Tclose(type);
  }
  void float_dataset(const char* name, const std::vector<hsize_t>& extents,
                     const std::vector<float>& values) {
    dataset(name, H5T_NATIVE_FLOAT, extents, values.data(), H5Z_FILTER_NONE);
  }
  /// One string, of its own length or of variable length.
  void text_dataset(const char* name, const std::string& text, bool variable) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, variable ? H5T_VARIABLE : text.size());
    const char* pointer = text.c_str();
    const void* variable_value = &pointer;
    dataset(name, type, {}, variable ? variable_value : text.data(), H5Z_FILTER_NONE);
    H5Tclose(type);
  }

 private:
  void dataset(const char* name, hid_t type, const std::vector<hsize_t>& extents, const void* values,
               H5Z_filter_t filter) {
    const hid_t space = extents.empty()
                            ? H5Screate(H5S_SCALAR)
                            : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(creation, false);  // the same bytes each time
    const unsigned level = 4;
    if (filter != H5Z_FILTER_NONE) {
      H5Pset_chunk(creation, static_cast<int>(extents.size()), extents.data());
      H5Pset_filter(creation, filter, H5Z_FLAG_OPTIONAL, 1, &level);
    }
    const hid_t set = H5Dcreate2(file_, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    if (values != nullptr) H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(set);
    H5Pclose(creation);
    H5Sclose(space);
  }
  hid_t file_ = -1;
};

struct IsmrmrdEcho {
  std::uint16_t line = 0, slice = 0, centre = 0, discard_pre = 0, discard_post = 0, encoding = 0;
  ISMRMRD::ISMRMRD_EncodingCounters counters{};           ///< but for line and slice
  std::uint64_t flag = 0;                                 ///< an ISMRMRD_ACQ_ number
  std::vector<std::vector<std::complex<float>>> coils{};  ///< samples of each
};

struct IsmrmrdSpec {
  int samples = 8, reconstructed = 8, lines = 6, centre = 3, depth = 1;
  std::string trajectory = "cartesian";
  int reconstructed_lines = 6;
  /// Along readout and lines; empty: a millimetre a pixel.
  std::vector<double> encoded_mm{}, reconstructed_mm{};
};

inline std::string ismrmrd_encoding(const IsmrmrdSpec& spec) {
  const auto space = [&](const std::string& tag, int x, int y, std::vector<double> mm) {
    if (mm.empty()) mm = {static_cast<double>(x), static_cast<double>(y)};
    return "<" + tag + "><matrixSize><x>" + std::to_string(x) + "</x><y>" + std::to_string(y) + "</y><z>" +
           std::to_string(spec.depth) + "</z></matrixSize><fieldOfView_mm><x>" + std::to_string(mm[0]) +
           "</x><y>" + std::to_string(mm[1]) + "</y><z>1</z></fieldOfView_mm></" + tag + ">";
  };
  return "<encoding>" + space("encodedSpace", spec.samples, spec.lines, spec.encoded_mm) +
         space("reconSpace", spec.reconstructed, spec.reconstructed_lines, spec.reconstructed_mm) +
         "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>" +
         std::to_string(spec.lines - 1) + "</maximum><center>" + std::to_string(spec.centre) +
         "</center></kspace_encoding_step_1></encodingLimits><trajectory>" + spec.trajectory +
         "</trajectory></encoding>";
}

inline std::string ismrmrd_header(const std::string& encodings) {
  return "<?xml version=\"1.0\"?><ismrmrdHeader "
         "xmlns=\"http://www.ismrm.org/ISMRMRD\"><experimentalConditions>"
         "<H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>" +
         encodings + "</ismrmrdHeader>";
}

inline std::string ismrmrd_xml(const IsmrmrdSpec& spec) { return ismrmrd_header(ismrmrd_encoding(spec)); }

inline void write_ismrmrd(const fs::path& path, const std::string& xml,
                          const std::vector<IsmrmrdEcho>& echoes) {
  using namespace ISMRMRD;
  fs::remove(path);
  ISMRMRD_Dataset dataset;
  ismrmrd_init_dataset(&dataset, path.c_str(), "dataset");
  ismrmrd_open_dataset(&dataset, true);
  ismrmrd_write_header(&dataset, xml.c_str());
  for (const IsmrmrdEcho& echo : echoes) {
    ISMRMRD_Acquisition acquisition;
    ismrmrd_init_acquisition(&acquisition);
    acquisition.head.number_of_samples = static_cast<std::uint16_t>(echo.coils[0].size());
    acquisition.head.active_channels = static_cast<std::uint16_t>(echo.coils.size());
    acquisition.head.center_sample = echo.centre;
    acquisition.head.discard_pre = echo.discard_pre;
    acquisition.head.discard_post = echo.discard_post;
    acquisition.head.encoding_space_ref = echo.encoding;
    acquisition.head.idx = echo.counters;
    acquisition.head.idx.kspace_encode_step_1 = echo.line;
    acquisition.head.idx.slice = echo.slice;
    if (echo.flag > 0) acquisition.head.flags = std::uint64_t{1} << (echo.flag - 1);
    ismrmrd_make_consistent_acquisition(&acquisition);
    std::size_t at = 0;
    for (const auto& coil : echo.coils) {
      for (const auto& value : coil) acquisition.data[at++] = {value.real(), value.imag()};
    }
    ismrmrd_append_acquisition(&dataset, &acquisition);
    ismrmrd_cleanup_acquisition(&acquisition);
  }
  ismrmrd_close_dataset(&dataset);
}

inline std::string complex_bytes(const std::vector<std::complex<float>>& values) {
  std::string out;
  for (const auto& value : values) out += float_bytes(value.real(), false) + float_bytes(value.imag(), false);
  return out;
}

}  // namespace bilevel_test
