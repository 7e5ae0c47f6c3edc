#include <ismrmrd/ismrmrd.h>
#include <ismrmrd/xml.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <set>
#include <stdexcept>

#include "bilevel/core/error.hpp"
#include "bilevel/core/scalars.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/ops/fourier_sampling.hpp"
#include "core/file_bytes.hpp"
#include "io/hdf5_support.hpp"
#include "io/kspace_formats.hpp"

// The XML header goes through the ISMRMRD library; the echoes are read with HDF5 itself, because the library
// copies as many samples as an echo's header claims, whatever the file holds.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

/// Of the XML header: samples along the readout and lines as encoded and as reconstructed, the line of zero
/// frequency, and the number of echoes that follow.
struct Encoding {
  std::int32_t samples, reconstructed, lines, centre;
  std::uint64_t echoes;
};

/// The members of an echo's header that matter here, with the names that HDF5 knows them by.
struct EchoHeader {
  std::uint64_t flags;
  std::uint16_t number_of_samples, active_channels, discard_pre, discard_post, center_sample,
      encoding_space_ref;
  std::uint16_t kspace_encode_step_1, kspace_encode_step_2, average, slice, contrast, phase, repetition, set;
};
struct StoredEcho {
  EchoHeader header;
  hvl_t data;
};

struct Echo {
  EchoHeader header;
  std::vector<std::complex<float>> values;  ///< [coil][sample]
};

/// "a matrix of 128 x 64"
std::string matrix_text(const ISMRMRD::MatrixSize& size) {
  return std::to_string(size.x) + " x " + std::to_string(size.y) + " x " + std::to_string(size.z);
}

std::string read_xml(const std::string& name, hid_t file) {
  const Hdf5Dataset xml = open_dataset(name, file, "dataset/xml");
  const bool single = H5Sget_simple_extent_npoints(xml.space.get()) == 1;
  char* text = nullptr;
  if (!single || H5Tis_variable_str(xml.type.get()) <= 0 ||
      H5Dread(xml.dataset.get(), xml.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &text) < 0 ||
      text == nullptr) {
    throw IoError(name, "the dataset 'dataset/xml' is no ISMRMRD header (one string of variable length)");
  }
  const std::string copy = text;
  H5Dvlen_reclaim(xml.type.get(), xml.space.get(), H5P_DEFAULT, &text);
  return copy;
}

Encoding read_encoding(const std::string& name, const std::string& xml) {
  ISMRMRD::IsmrmrdHeader header;
  try {
    ISMRMRD::deserialize(xml.c_str(), header);
  } catch (const std::exception& error) {
    throw IoError(name, "the XML header of ISMRMRD is damaged (" + printable(error.what()) + ")");
  }
  if (header.encoding.size() != 1) {
    throw IoError(name, "it describes " + std::to_string(header.encoding.size()) +
                            " encodings; split the file so that there is one");
  }
  const ISMRMRD::Encoding& encoding = header.encoding[0];
  if (encoding.trajectory != ISMRMRD::TrajectoryType::CARTESIAN) {
    throw IoError(name, "its trajectory is not Cartesian; grid the samples first");
  }
  const ISMRMRD::MatrixSize &encoded = encoding.encodedSpace.matrixSize,
                            &recon = encoding.reconSpace.matrixSize;
  if (encoded.z > 1 || encoded.x < 1 || encoded.y < 1 || recon.x < 1) {
    throw IoError(name, "it encodes a matrix of " + matrix_text(encoded) + " for one of " +
                            matrix_text(recon) +
                            "; slices (x, y >= 1, z = 1) are read, so transform volumes along z first");
  }
  Encoding result{encoded.x, std::min(encoded.x, recon.x), encoded.y, encoded.y / 2, 0};
  const auto& limits = encoding.encodingLimits.kspace_encoding_step_1;
  if (limits.is_present()) result.centre = limits->center;
  return result;
}

Hdf5Handle echo_type() {
  Hdf5Handle counters(H5Tcreate(H5T_COMPOUND, sizeof(EchoHeader)), H5Tclose);
  Hdf5Handle header(H5Tcreate(H5T_COMPOUND, sizeof(EchoHeader)), H5Tclose);
  const std::size_t first = offsetof(EchoHeader, kspace_encode_step_1);
  std::size_t at = 0;
  for (const char* member : {"kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast",
                             "phase", "repetition", "set"}) {
    H5Tinsert(counters.get(), member, at, H5T_NATIVE_UINT16);
    at += sizeof(std::uint16_t);
  }
  H5Tset_size(counters.get(), at);
  H5Tinsert(header.get(), "flags", offsetof(EchoHeader, flags), H5T_NATIVE_UINT64);
  at = offsetof(EchoHeader, number_of_samples);
  for (const char* member : {"number_of_samples", "active_channels", "discard_pre", "discard_post",
                             "center_sample", "encoding_space_ref"}) {
    H5Tinsert(header.get(), member, at, H5T_NATIVE_UINT16);
    at += sizeof(std::uint16_t);
  }
  H5Tinsert(header.get(), "idx", first, counters.get());
  const Hdf5Handle values(H5Tvlen_create(H5T_NATIVE_FLOAT), H5Tclose);
  Hdf5Handle echo(H5Tcreate(H5T_COMPOUND, sizeof(StoredEcho)), H5Tclose);
  H5Tinsert(echo.get(), "head", offsetof(StoredEcho, header), header.get());
  H5Tinsert(echo.get(), "data", offsetof(StoredEcho, data), values.get());
  return echo;
}

/// Checks the number of floats of an echo and sends it.
void send_echo(const std::string& name, std::uint64_t index, const StoredEcho& echo, Outlet& out) {
  const std::uint64_t claimed = 2ULL * echo.header.number_of_samples * echo.header.active_channels;
  if (claimed == 0 || echo.data.len != claimed || echo.data.p == nullptr) {
    throw IoError(name, "echo " + std::to_string(index) + " claims " +
                            std::to_string(echo.header.active_channels) + " coils of " +
                            std::to_string(echo.header.number_of_samples) + " samples but holds " +
                            std::to_string(echo.data.len / 2) + " values in all; the file is damaged");
  }
  out.send_value(echo.header);
  out.send(echo.data.p, claimed * sizeof(float));
}

bool has_flag(const EchoHeader& header, ISMRMRD::ISMRMRD_AcquisitionFlags flag) {
  return (header.flags >> (flag - 1) & 1) != 0;
}

/// Scans that are no part of the image.
bool is_beside(const EchoHeader& header) {
  using namespace ISMRMRD;
  for (const auto flag :
       {ISMRMRD_ACQ_IS_NOISE_MEASUREMENT, ISMRMRD_ACQ_IS_NAVIGATION_DATA, ISMRMRD_ACQ_IS_PHASECORR_DATA,
        ISMRMRD_ACQ_IS_HPFEEDBACK_DATA, ISMRMRD_ACQ_IS_DUMMYSCAN_DATA, ISMRMRD_ACQ_IS_RTFEEDBACK_DATA,
        ISMRMRD_ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA, ISMRMRD_ACQ_IS_PHASE_STABILIZATION_REFERENCE,
        ISMRMRD_ACQ_IS_PHASE_STABILIZATION}) {
    if (has_flag(header, flag)) return true;
  }
  return has_flag(header, ISMRMRD_ACQ_IS_PARALLEL_CALIBRATION) &&
         !has_flag(header, ISMRMRD_ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING);
}

void check_echo(const std::string& name, const EchoHeader& header) {
  const std::pair<const char*, int> counters[] = {{"second encoding steps", header.kspace_encode_step_2},
                                                  {"averages", header.average},
                                                  {"contrasts", header.contrast},
                                                  {"phases", header.phase},
                                                  {"repetitions", header.repetition},
                                                  {"sets", header.set},
                                                  {"encoding spaces", header.encoding_space_ref}};
  for (const auto& [what, counter] : counters) {
    if (counter > 0)
      throw IoError(name, std::string("it holds several ") + what + "; split the file so that there is one");
  }
  if (has_flag(header, ISMRMRD::ISMRMRD_ACQ_IS_REVERSE)) {
    throw IoError(name, "it holds echoes that were read backwards; reverse them first");
  }
}

std::vector<Echo> receive_echoes(const std::string& name, const Encoding& encoding, Inlet& in) {
  std::vector<Echo> echoes;
  for (std::uint64_t k = 0; k < encoding.echoes; ++k) {
    Echo echo{in.receive_value<EchoHeader>(), {}};
    echo.values.resize(std::size_t{echo.header.number_of_samples} * echo.header.active_channels);
    in.receive(echo.values.data(), echo.values.size() * sizeof echo.values[0]);
    if (is_beside(echo.header)) continue;
    check_echo(name, echo.header);
    if (!echoes.empty() && echo.header.active_channels != echoes[0].header.active_channels) {
      throw IoError(name, "its echoes have " + std::to_string(echoes[0].header.active_channels) + " and " +
                              std::to_string(echo.header.active_channels) + " coils; all need the same");
    }
    echoes.push_back(std::move(echo));
  }
  if (echoes.empty()) throw IoError(name, "it holds no echoes of an image");
  return echoes;
}

/// Crops the images of readouts: centred values of encoding.samples frequencies become as many as are
/// reconstructed. Both transforms are unitary.
class Readouts {
 public:
  Readouts(const Encoding& encoding, int coils)
      : n_(encoding.samples),
        m_(encoding.reconstructed),
        coils_(coils),
        context_(Device::open("cpu:1")),
        frame_(context_),
        all_(context_, frame_, coils),
        inverse_(context_, images(n_)),
        forward_(context_, images(m_)),
        wide_(context_, images(n_)),
        wide_image_(context_, images(n_)),
        image_(context_, images(m_)),
        narrow_(context_, images(m_)),
        values_(wide_.shape().count()),
        cropped_(image_.shape().count()),
        result_(static_cast<std::size_t>(coils) * m_) {
    all_.reset(context_);
  }

  /// [coil][encoding.samples] to [coil][encoding.reconstructed]
  const std::vector<std::complex<float>>& crop(const std::vector<std::complex<float>>& readout) {
    for (int coil = 0; coil < coils_; ++coil) {
      for (int k = 0; k < n_; ++k) {
        const std::complex<float> value = readout[static_cast<std::size_t>(coil) * n_ + k];
        values_[at(coil, 0, k - n_ / 2, n_)] = value.real();
        values_[at(coil, 1, k - n_ / 2, n_)] = value.imag();
      }
    }
    wide_.upload(context_, values_);
    inverse_.adjoint(context_, all_.active(), wide_.view(), wide_image_.view());
    const std::vector<float> image = download(context_, wide_image_);
    for (int coil = 0; coil < coils_; ++coil)
      for (int plane = 0; plane < 2; ++plane)
        for (int x = -(m_ / 2); x < m_ - m_ / 2; ++x)
          cropped_[at(coil, plane, x, m_)] = image[at(coil, plane, x, n_)];
    image_.upload(context_, cropped_);
    forward_.apply(context_, all_.active(), image_.view(), narrow_.view());
    const std::vector<float> narrow = download(context_, narrow_);
    for (int coil = 0; coil < coils_; ++coil)
      for (int k = 0; k < m_; ++k)
        result_[static_cast<std::size_t>(coil) * m_ + k] = {narrow[at(coil, 0, k - m_ / 2, m_)],
                                                            narrow[at(coil, 1, k - m_ / 2, m_)]};
    return result_;
  }

 private:
  /// One row of real and imaginary parts for each coil.
  Shape images(int length) const { return {coils_, 2, 1, length}; }
  /// Frequencies and positions -length/2, ... are counted from zero, modulo the length.
  static std::size_t at(int coil, int plane, int position, int length) {
    return (static_cast<std::size_t>(coil) * 2 + plane) * length + (position + length) % length;
  }

  int n_, m_, coils_;
  Context context_;
  Frame frame_;
  ActiveSet all_;
  FourierSampling<float> inverse_, forward_;
  Tensor<float> wide_, wide_image_, image_, narrow_;
  std::vector<float> values_, cropped_;
  std::vector<std::complex<float>> result_;
};

/// Where the samples of an echo belong on the grid of encoding.samples.
std::vector<std::complex<float>> place_samples(const std::string& name, const Encoding& encoding,
                                               const Echo& echo) {
  const int count = echo.header.number_of_samples, n = encoding.samples;
  const int shift = count == n ? 0 : n / 2 - echo.header.center_sample;
  const int begin = echo.header.discard_pre, end = count - echo.header.discard_post;
  if (begin >= end || begin + shift < 0 || end + shift > n) {
    throw IoError(name, "an echo of " + std::to_string(count) + " samples with its centre at " +
                            std::to_string(echo.header.center_sample) + " does not fit into the " +
                            std::to_string(n) + " of the header");
  }
  std::vector<std::complex<float>> readout(static_cast<std::size_t>(n) * echo.header.active_channels);
  for (int coil = 0; coil < echo.header.active_channels; ++coil) {
    const auto from = echo.values.begin() + static_cast<std::ptrdiff_t>(coil) * count;
    std::copy(from + begin, from + end,
              readout.begin() + static_cast<std::ptrdiff_t>(coil) * n + begin + shift);
  }
  return readout;
}

void place_echoes(const std::string& name, const Encoding& encoding, const std::vector<Echo>& echoes,
                  Kspace& kspace) {
  std::unique_ptr<Readouts> oversampled;
  if (encoding.reconstructed < encoding.samples)
    oversampled = std::make_unique<Readouts>(encoding, kspace.coils);
  std::set<std::pair<int, int>> seen;
  for (const Echo& echo : echoes) {
    const int slice = echo.header.slice, line = echo.header.kspace_encode_step_1;
    const int column = line - encoding.centre + kspace.columns / 2;
    if (column < 0 || column >= kspace.columns) {
      throw IoError(name, "encoding step " + std::to_string(line) + " is outside the " +
                              std::to_string(kspace.columns) + " lines of the header");
    }
    if (!seen.emplace(slice, column).second) {
      throw IoError(name, "encoding step " + std::to_string(line) + " of slice " + std::to_string(slice) +
                              " occurs twice; average such echoes first");
    }
    const std::vector<std::complex<float>> readout = place_samples(name, encoding, echo);
    const std::vector<std::complex<float>>& values = oversampled ? oversampled->crop(readout) : readout;
    for (int coil = 0; coil < kspace.coils; ++coil) {
      for (int row = 0; row < kspace.rows; ++row) {
        const std::size_t plane = static_cast<std::size_t>(slice) * kspace.coils + coil;
        kspace.values[(plane * kspace.rows + row) * kspace.columns + column] =
            values[static_cast<std::size_t>(coil) * kspace.rows + row];
      }
    }
  }
}

}  // namespace

void send_ismrmrd(const std::string& name, std::int64_t hdf5_file, std::uint64_t file_size, Outlet& out) {
  Encoding encoding = read_encoding(name, read_xml(name, hdf5_file));
  const Hdf5Dataset data = open_dataset(name, hdf5_file, "dataset/data");
  const hssize_t count = H5Sget_simple_extent_npoints(data.space.get());
  if (count < 1 || H5Tget_class(data.type.get()) != H5T_COMPOUND ||
      static_cast<std::uint64_t>(count) > file_size / 300 + 1) {  // an echo's header alone has 340 bytes
    throw IoError(name, "the dataset 'dataset/data' of " + std::to_string(count) +
                            " elements holds no ISMRMRD echoes, or more than a file of its size can");
  }
  encoding.echoes = static_cast<std::uint64_t>(count);
  out.send_value(encoding);
  const Hdf5Handle type = echo_type();
  constexpr hsize_t kBlock = 64;
  std::vector<StoredEcho> block(kBlock);
  const hsize_t all = encoding.echoes;
  const Hdf5Handle line(H5Screate_simple(1, &all, nullptr), H5Sclose);
  if (data.extents.size() > 2 || data.extents[0] != all)
    throw IoError(name, "the dataset 'dataset/data' is no list");
  std::uint64_t bytes = 0;
  for (hsize_t begin = 0; begin < all; begin += kBlock) {
    const hsize_t here = std::min(kBlock, all - begin), start[2] = {begin, 0}, extents[2] = {here, 1};
    const Hdf5Handle memory(H5Screate_simple(1, &here, nullptr), H5Sclose);
    if (H5Sselect_hyperslab(data.space.get(), H5S_SELECT_SET, start, nullptr, extents, nullptr) < 0 ||
        H5Dread(data.dataset.get(), type.get(), memory.get(), data.space.get(), H5P_DEFAULT, block.data()) <
            0) {
      throw IoError(name, "echoes from " + std::to_string(begin) +
                              " on cannot be read; the file is cut off or damaged");
    }
    for (hsize_t k = 0; k < here; ++k) {
      send_echo(name, begin + k, block[k], out);
      bytes += block[k].data.len * sizeof(float);
    }
    // Values are stored once and never compressed.
    if (bytes > file_size)
      throw IoError(name, "its echoes claim more samples than the file can hold; it is damaged");
    H5Dvlen_reclaim(type.get(), memory.get(), H5P_DEFAULT, block.data());
  }
}

Kspace receive_ismrmrd(const std::string& name, std::uint64_t file_size, Inlet& in) {
  const Encoding encoding = in.receive_value<Encoding>();
  const std::vector<Echo> echoes = receive_echoes(name, encoding, in);
  Kspace kspace;
  for (const Echo& echo : echoes) kspace.slices = std::max(kspace.slices, echo.header.slice + 1);
  kspace.coils = echoes[0].header.active_channels;
  kspace.rows = encoding.reconstructed;
  kspace.columns = encoding.lines;
  const double per_sample = static_cast<double>(kspace.slices) * kspace.coils * kspace.columns;
  if (per_sample * encoding.samples * sizeof(std::complex<float>) > 64.0 * static_cast<double>(file_size)) {
    throw IoError(name, "the header claims " + std::to_string(kspace.slices) + " slices of " +
                            std::to_string(encoding.samples) + " x " + std::to_string(encoding.lines) +
                            " and " + std::to_string(kspace.coils) +
                            " coils, more than 64 times what the file holds");
  }
  kspace.values = make_kspace_values(name, static_cast<std::uint64_t>(per_sample) * encoding.reconstructed);
  place_echoes(name, encoding, echoes, kspace);
  return kspace;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
