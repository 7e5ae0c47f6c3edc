#include <ismrmrd/ismrmrd.h>
#include <ismrmrd/xml.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"
#include "io/hdf5_support.hpp"
#include "io/kspace_crop.hpp"
#include "io/kspace_formats.hpp"

// The XML header goes through the ISMRMRD library; the echoes are read with HDF5 itself, because the library
// copies as many samples as an echo's header claims, whatever the file holds.

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

constexpr std::int32_t kMostEncodings = 64;

/// Pixels and field of view of one direction, as encoded and as reconstructed.
struct Axis {
  std::int32_t encoded, reconstructed;
  double encoded_mm, reconstructed_mm;
};

/// An encoding of the XML header. `centre` is the encoding step of zero frequency.
struct Encoding {
  Axis readout, phase;
  std::int32_t depth, reconstructed_depth, centre;
  bool cartesian;
};

/// What precedes the encodings and echoes.
struct Opening {
  std::uint64_t echoes;
  std::int32_t encodings;
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

ISMRMRD::IsmrmrdHeader parse_xml(const std::string& name, const std::string& xml) {
  ISMRMRD::IsmrmrdHeader header;
  try {
    ISMRMRD::deserialize(xml.c_str(), header);
  } catch (const std::exception& error) {
    throw IoError(name, "the XML header of ISMRMRD is damaged (" + printable(error.what()) + ")");
  }
  return header;
}

std::vector<Encoding> read_encodings(const std::string& name, hid_t file) {
  const ISMRMRD::IsmrmrdHeader header = parse_xml(name, read_text(name, file, "dataset/xml"));
  if (header.encoding.empty() || header.encoding.size() > kMostEncodings)
    throw IoError(name, "it describes " + std::to_string(header.encoding.size()) + " encodings");
  std::vector<Encoding> encodings;
  for (const ISMRMRD::Encoding& e : header.encoding) {
    const ISMRMRD::MatrixSize &from = e.encodedSpace.matrixSize, &to = e.reconSpace.matrixSize;
    const ISMRMRD::FieldOfView_mm &wide = e.encodedSpace.fieldOfView_mm, &seen = e.reconSpace.fieldOfView_mm;
    const auto& limits = e.encodingLimits.kspace_encoding_step_1;
    encodings.push_back({{from.x, to.x, wide.x, seen.x},
                         {from.y, to.y, wide.y, seen.y},
                         from.z,
                         to.z,
                         limits.is_present() ? limits->center : from.y / 2,
                         e.trajectory == ISMRMRD::TrajectoryType::CARTESIAN});
  }
  return encodings;
}

void check_encoding(const std::string& name, const Encoding& e) {
  if (!e.cartesian) throw IoError(name, "its trajectory is not Cartesian; grid the samples first");
  const auto matrix = [](int x, int y, int z) {
    return std::to_string(x) + " x " + std::to_string(y) + " x " + std::to_string(z);
  };
  if (e.depth > 1 || e.readout.encoded < 1 || e.phase.encoded < 1 || e.readout.reconstructed < 1) {
    throw IoError(name, "it encodes a matrix of " + matrix(e.readout.encoded, e.phase.encoded, e.depth) +
                            " for one of " +
                            matrix(e.readout.reconstructed, e.phase.reconstructed, e.reconstructed_depth) +
                            "; slices (x, y >= 1, z = 1) are read, so transform volumes along z first");
  }
}

std::string millimetres(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g mm", value);
  return text;
}

/// How many of the encoded pixels the reconstructed field of view has: n f_reconstructed/f_encoded, or the
/// reconstructed matrix where this is the same to a pixel.
int pixels_seen(const std::string& name, const Axis& axis) {
  constexpr double kSame = 1e-3;  // headers round fields of view
  const auto given = [](double mm) { return std::isfinite(mm) && mm > 0.0; };
  if (!given(axis.encoded_mm) || !given(axis.reconstructed_mm)) {
    if (axis.encoded == axis.reconstructed) return axis.encoded;
    throw IoError(name, "its header has " + std::to_string(axis.encoded) + " encoded and " +
                            std::to_string(axis.reconstructed) +
                            " reconstructed pixels but no fields of view, so what is oversampled is unknown; "
                            "fill in fieldOfView_mm");
  }
  const double ratio = axis.reconstructed_mm / axis.encoded_mm, pixels = axis.encoded * ratio;
  if (ratio >= 1.0 - kSame) return axis.encoded;
  if (pixels < 0.5) {
    throw IoError(name, "its reconstructed field of view, " + millimetres(axis.reconstructed_mm) + " of " +
                            millimetres(axis.encoded_mm) + ", is less than a pixel");
  }
  if (std::abs(axis.reconstructed - pixels) < 1.0) return std::min(axis.reconstructed, axis.encoded);
  return static_cast<int>(std::lround(pixels));
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

/// Counters of an echo that must be the same for all of an image.
struct Counter {
  const char* what;
  std::uint16_t EchoHeader::*member;
};
constexpr Counter kCounters[] = {{"second encoding steps", &EchoHeader::kspace_encode_step_2},
                                 {"averages", &EchoHeader::average},
                                 {"contrasts", &EchoHeader::contrast},
                                 {"phases", &EchoHeader::phase},
                                 {"repetitions", &EchoHeader::repetition},
                                 {"sets", &EchoHeader::set},
                                 {"encoding spaces", &EchoHeader::encoding_space_ref}};

/// Throws when an echo does not belong into one image with the first.
void check_echo(const std::string& name, const EchoHeader& header, const EchoHeader& first) {
  for (const auto& [what, member] : kCounters) {
    if (header.*member != first.*member) {
      throw IoError(name, std::string("it holds several ") + what + " (" + std::to_string(first.*member) +
                              " and " + std::to_string(header.*member) +
                              "); split the file so that there is one");
    }
  }
  if (has_flag(header, ISMRMRD::ISMRMRD_ACQ_IS_REVERSE))
    throw IoError(name, "it holds echoes that were read backwards; reverse them first");
  if (header.active_channels != first.active_channels) {
    throw IoError(name, "its echoes have " + std::to_string(first.active_channels) + " and " +
                            std::to_string(header.active_channels) + " coils; all need the same");
  }
}

std::vector<Echo> receive_echoes(const std::string& name, std::uint64_t count, Inlet& in) {
  std::vector<Echo> echoes;
  for (std::uint64_t k = 0; k < count; ++k) {
    Echo echo{in.receive_value<EchoHeader>(), {}};
    echo.values.resize(std::size_t{echo.header.number_of_samples} * echo.header.active_channels);
    in.receive(echo.values.data(), echo.values.size() * sizeof echo.values[0]);
    if (is_beside(echo.header)) continue;
    check_echo(name, echo.header, echoes.empty() ? echo.header : echoes[0].header);
    echoes.push_back(std::move(echo));
  }
  if (echoes.empty()) throw IoError(name, "it holds no echoes of an image");
  return echoes;
}

/// The encoding that the echoes refer to; a single one is meant whatever its number.
Encoding encoding_of(const std::string& name, const std::vector<Encoding>& encodings, const Echo& echo) {
  const std::size_t number = encodings.size() == 1 ? 0 : echo.header.encoding_space_ref;
  if (number >= encodings.size()) {
    throw IoError(name, "its echoes belong to encoding " + std::to_string(number) + ", but it describes " +
                            std::to_string(encodings.size()) + " (counted from 0)");
  }
  check_encoding(name, encodings[number]);
  return encodings[number];
}

/// An echo's place on the n encoded samples of its readout.
struct Placement {
  int shift, begin, end;  ///< sample k stands at k + shift; those in [begin, end) are good

  /// 1 at the encoded samples that were measured.
  std::vector<unsigned char> measured(int n) const {
    std::vector<unsigned char> mask(static_cast<std::size_t>(n));
    std::fill(mask.begin() + begin + shift, mask.begin() + end + shift, 1);
    return mask;
  }
};

Placement place(const std::string& name, int n, const EchoHeader& header) {
  const int count = header.number_of_samples;
  const Placement p{count == n ? 0 : n / 2 - header.center_sample, header.discard_pre,
                    count - header.discard_post};
  if (p.begin >= p.end || p.begin + p.shift < 0 || p.end + p.shift > n) {
    throw IoError(name, "an echo of " + std::to_string(count) + " samples with its centre at " +
                            std::to_string(header.center_sample) + " does not fit into the " +
                            std::to_string(n) + " of the header");
  }
  return p;
}

/// Readouts brought to the reconstructed field of view, [coil][sample].
class Readouts {
 public:
  Readouts(const std::string& name, const Axis& axis, const std::vector<Echo>& echoes)
      : name_(name), n_(axis.encoded), m_(pixels_seen(name, axis)) {
    if (m_ == n_) return;
    crop_ = std::make_unique<LineCrop>(echoes[0].header.active_channels, n_, m_);
    learn_outside(echoes);
  }
  int length() const { return m_; }
  const Complexes& values() const { return values_; }
  const std::vector<unsigned char>& measured() const { return measured_; }

  /// Sets values and measured to those of the echo; what was not measured is zero.
  void read(const Echo& echo) {
    const Placement p = place(name_, n_, echo.header);
    fill(echo, p);
    measured_ = p.measured(n_);
    if (!crop_) return;
    if (p.end - p.begin < n_) complete(echo.header.active_channels);
    (*crop_)(values_.data(), values_.data());
    measured_ = crop_measured(measured_, m_);
    for (std::size_t k = 0; k < std::size_t{echo.header.active_channels} * m_; ++k)
      if (measured_[k % m_] == 0) values_[k] = 0.0;
  }

 private:
  void fill(const Echo& echo, const Placement& p) {
    const EchoHeader& header = echo.header;
    values_.assign(std::size_t{header.active_channels} * n_, 0.0);
    for (int coil = 0; coil < header.active_channels; ++coil) {
      const std::complex<float>* from = echo.values.data() + std::size_t{header.number_of_samples} * coil;
      std::complex<double>* to = values_.data() + static_cast<std::size_t>(coil) * n_ + p.shift;
      for (int k = p.begin; k < p.end; ++k) {
        to[k] = from[k];
        if (std::isfinite(from[k].real()) && std::isfinite(from[k].imag())) continue;
        throw IoError(name_, "sample " + std::to_string(k) + " of encoding step " +
                                 std::to_string(header.kspace_encode_step_1) + " and coil " +
                                 std::to_string(coil) + " of slice " + std::to_string(header.slice) +
                                 " is NaN or infinite");
      }
    }
  }

  /// From the partial echoes with zeros for what is missing: the energy of a pixel outside of the
  /// reconstructed field of view by that of one inside.
  void learn_outside(const std::vector<Echo>& echoes) {
    constexpr int kLongest = 2048;   // of which the largest system to solve takes seconds
    constexpr double kLeast = 1e-6;  // rounding of float32 stays below
    double inside = 0.0, all = 0.0;
    for (const Echo& echo : echoes) {
      const Placement p = place(name_, n_, echo.header);
      if (p.end - p.begin == n_) continue;
      if (n_ > kLongest) {
        throw IoError(name_, "it holds partial echoes of " + std::to_string(n_) +
                                 " oversampled samples; up to " + std::to_string(kLongest) + " are read");
      }
      fill(echo, p);
      for (const auto& value : values_) all += std::norm(value);
      (*crop_)(values_.data(), values_.data());
      for (std::size_t k = 0; k < std::size_t{echo.header.active_channels} * m_; ++k)
        inside += std::norm(values_[k]);
    }
    if (inside > 0.0) outside_ = std::clamp((all - inside) / (n_ - m_) / (inside / m_), kLeast, 1.0);
  }

  void complete(int coils) {
    if (!completion_ || completed_ != measured_) {
      completion_.emplace(measured_, m_, outside_);
      completed_ = measured_;
    }
    for (int coil = 0; coil < coils; ++coil)
      (*completion_)(values_.data() + static_cast<std::size_t>(coil) * n_);
  }

  std::string name_;
  int n_, m_;
  double outside_ = 1.0;
  Complexes values_;
  std::vector<unsigned char> measured_;
  std::unique_ptr<LineCrop> crop_;
  std::optional<LineCompletion> completion_;  ///< of the mask completed_
  std::vector<unsigned char> completed_;
};

/// Sets values and sampled, centred.
void place_echoes(const std::string& name, const Encoding& encoding, const std::vector<Echo>& echoes,
                  Readouts& readouts, Kspace& kspace) {
  const auto slice_of = [&](int number) {
    return std::lower_bound(kspace.slice_numbers.begin(), kspace.slice_numbers.end(), number) -
           kspace.slice_numbers.begin();
  };
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
    readouts.read(echo);
    const auto at = static_cast<std::size_t>(slice_of(slice));
    for (int row = 0; row < kspace.rows; ++row) {
      const auto r = static_cast<std::size_t>(row);
      kspace.sampled[(at * kspace.rows + r) * kspace.columns + column] = readouts.measured()[r];
      for (int coil = 0; coil < kspace.coils; ++coil) {
        kspace.values[((at * kspace.coils + coil) * kspace.rows + r) * kspace.columns + column] =
            readouts.values()[static_cast<std::size_t>(coil) * kspace.rows + r];
      }
    }
  }
}

/// Crops along the columns where every frequency of a row was measured or none; else the lines that were left
/// out would be missing from those beside them, and the encoded field of view stays.
void crop_columns(const std::string& name, const Axis& phase, Kspace& kspace) {
  const int n = kspace.columns, m = kspace.recon_columns = pixels_seen(name, phase);
  if (m == n) return;
  for (std::size_t k = 0; k < kspace.sampled.size(); ++k) {
    if (kspace.sampled[k] == kspace.sampled[k / n * n]) continue;
    kspace.notes.push_back("the columns keep the encoded field of view of " + millimetres(phase.encoded_mm) +
                           " (reconstructed: " + millimetres(phase.reconstructed_mm) +
                           "), since phase oversampling is removed only where all lines were measured");
    return;
  }
  LineCrop crop(kspace.rows, n, m);
  const std::size_t lines = kspace.sampled.size() / n, wide = static_cast<std::size_t>(kspace.rows) * n,
                    narrow = static_cast<std::size_t>(kspace.rows) * m;
  for (std::size_t plane = 0; plane < kspace.values.size() / wide; ++plane)
    crop(kspace.values.data() + plane * wide, kspace.values.data() + plane * narrow);
  for (std::size_t line = 0; line < lines; ++line)
    std::fill_n(kspace.sampled.begin() + static_cast<std::ptrdiff_t>(line * m), m, kspace.sampled[line * n]);
  kspace.values.resize(kspace.values.size() / n * m);
  kspace.sampled.resize(lines * m);
  kspace.columns = m;
}

}  // namespace

std::array<std::int32_t, 2> fastmri_reconstruction(const std::string& name, std::int64_t hdf5_file) {
  try {
    if (!has_dataset(name, hdf5_file, "ismrmrd_header")) return {0, 0};
    const auto header = parse_xml(name, read_text(name, hdf5_file, "ismrmrd_header"));
    if (header.encoding.empty()) return {0, 0};
    const ISMRMRD::MatrixSize& matrix = header.encoding[0].reconSpace.matrixSize;
    return {matrix.x, matrix.y};
  } catch (const IoError&) {
    return {0, 0};
  }
}

void send_ismrmrd(const std::string& name, std::int64_t hdf5_file, std::uint64_t file_size, Outlet& out) {
  const std::vector<Encoding> encodings = read_encodings(name, hdf5_file);
  const Hdf5Dataset data = open_dataset(name, hdf5_file, "dataset/data");
  const hssize_t count = H5Sget_simple_extent_npoints(data.space.get());
  if (count < 1 || H5Tget_class(data.type.get()) != H5T_COMPOUND ||
      static_cast<std::uint64_t>(count) > file_size / 300 + 1) {  // an echo's header alone has 340 bytes
    throw IoError(name, "the dataset 'dataset/data' of " + std::to_string(count) +
                            " elements holds no ISMRMRD echoes, or more than a file of its size can");
  }
  const hsize_t all = static_cast<std::uint64_t>(count);
  out.send_value(Opening{all, static_cast<std::int32_t>(encodings.size())});
  for (const Encoding& encoding : encodings) out.send_value(encoding);
  const Hdf5Handle type = echo_type();
  constexpr hsize_t kBlock = 64;
  std::vector<StoredEcho> block(kBlock);
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
      refuse_values(name, data, "echoes from " + std::to_string(begin) + " on");
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
  const auto opening = in.receive_value<Opening>();
  std::vector<Encoding> encodings;
  for (std::int32_t k = 0; k < std::min(opening.encodings, kMostEncodings); ++k)
    encodings.push_back(in.receive_value<Encoding>());
  const std::vector<Echo> echoes = receive_echoes(name, opening.echoes, in);
  const Encoding encoding = encoding_of(name, encodings, echoes[0]);
  std::set<int> slices;
  for (const Echo& echo : echoes) slices.insert(echo.header.slice);
  Kspace kspace;
  kspace.slice_numbers.assign(slices.begin(), slices.end());
  kspace.slices = static_cast<int>(slices.size());
  kspace.coils = echoes[0].header.active_channels;
  kspace.columns = encoding.phase.encoded;
  const double per_sample = static_cast<double>(kspace.slices) * kspace.coils * kspace.columns;
  if (per_sample * encoding.readout.encoded * sizeof(std::complex<float>) >
      64.0 * static_cast<double>(file_size)) {
    throw IoError(name, "the header claims " + std::to_string(kspace.slices) + " slices of " +
                            std::to_string(encoding.readout.encoded) + " x " +
                            std::to_string(kspace.columns) + " and " + std::to_string(kspace.coils) +
                            " coils, more than 64 times what the file holds");
  }
  Readouts readouts(name, encoding.readout, echoes);
  kspace.rows = kspace.recon_rows = readouts.length();
  kspace.values = make_complex_values(name, static_cast<std::uint64_t>(per_sample) * kspace.rows);
  kspace.sampled.resize(kspace.values.size() / kspace.coils);
  place_echoes(name, encoding, echoes, readouts, kspace);
  crop_columns(name, encoding.phase, kspace);
  return kspace;
}

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
