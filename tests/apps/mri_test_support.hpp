#pragma once

#include <hdf5.h>

#include <bit>
#include <complex>
#include <cstring>
#include <numbers>

#include "bilevel/io/array_file.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {

using Complexes = std::vector<std::complex<double>>;

inline Outcome mri(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) {
  return Process(arguments, prepare, BILEVEL_MRI_PATH).wait();
}

/// Slices of a synthetic head: ellipses that move and change with the slice; values 0 to 1.
inline std::vector<double> head(int slices, int size, double phase = 0) {
  std::vector<double> values(static_cast<std::size_t>(slices) * size * size, 0.0);
  for (int k = 0; k < slices; ++k)
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        const double y = (2.0 * i + 1) / size - 1, x = (2.0 * j + 1) / size - 1;
        const double t = 0.3 * k + phase;
        const auto inside = [&](double cy, double cx, double ry, double rx) {
          return (y - cy) * (y - cy) / (ry * ry) + (x - cx) * (x - cx) / (rx * rx) < 1;
        };
        double v = 0;
        if (inside(0, 0, 0.85, 0.7)) v = 1;
        if (inside(0, 0, 0.75, 0.6)) v = 0.4 + 0.1 * std::sin(5 * x + t);
        if (inside(0.1 * std::cos(t), 0.2, 0.3, 0.15)) v = 0.8;
        if (inside(-0.2, -0.25 + 0.1 * std::sin(t), 0.2, 0.2)) v = 0.15;
        values[(static_cast<std::size_t>(k) * size + i) * size + j] = v;
      }
  return values;
}

/// [slices, size, size] as a real or, with a smooth phase, complex .npy.
inline std::string head_file(const TemporaryFolder& folder, const std::string& name, int slices, int size,
                             bool complex = false, double phase = 0) {
  const std::vector<double> values = head(slices, size, phase);
  const auto n = static_cast<std::size_t>(size);
  const std::vector<std::size_t> shape{static_cast<std::size_t>(slices), n, n};
  if (!complex) {
    bilevel::write_npy(folder / name, shape, std::span<const double>(values));
  } else {
    Complexes turned;
    for (std::size_t p = 0; p < values.size(); ++p)
      turned.push_back(std::polar(values[p], 0.05 * static_cast<double>(p % n)));
    bilevel::write_npy(folder / name, shape, std::span<const std::complex<double>>(turned));
  }
  return folder / name;
}

/// Unitary k-space of [coils][size][size] images with zero frequency, and the image's centre, at n/2.
inline std::vector<std::complex<float>> centred_kspace(const Complexes& images, int coils, int size) {
  std::vector<std::complex<float>> out;
  const int c = size / 2;
  for (int coil = 0; coil < coils; ++coil)
    for (int k = 0; k < size; ++k)
      for (int l = 0; l < size; ++l) {
        std::complex<double> sum = 0;
        for (int p = 0; p < size; ++p)
          for (int q = 0; q < size; ++q)
            sum += images[(static_cast<std::size_t>(coil) * size + p) * size + q] *
                   std::polar(1.0, -2 * std::numbers::pi * ((k - c) * (p - c) + (l - c) * (q - c)) / size);
        out.emplace_back(sum / static_cast<double>(size));
      }
  return out;
}

/// An HDF5 file with one complex dataset.
template <class T>
void write_hdf5(const std::string& path, const char* name, const std::vector<hsize_t>& extents,
                const std::vector<std::complex<T>>& values) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t part = std::is_same_v<T, float> ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  const hid_t type = H5Tcreate(H5T_COMPOUND, 2 * sizeof(T));
  H5Tinsert(type, "r", 0, part);
  H5Tinsert(type, "i", sizeof(T), part);
  const hid_t space = H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr);
  const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  H5Dclose(set), H5Sclose(space), H5Tclose(type), H5Fclose(file);
}

/// The command is refused with one sentence that has these parts.
inline void refused(const std::vector<std::string>& arguments, int code,
                    const std::vector<std::string>& parts) {
  const Outcome o = mri(arguments);
  EXPECT_EQ(o.code, code) << o.err;
  expect_one_sentence(o, "bilevel-mri");
  for (const std::string& part : parts) EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
}

/// k-space of a slice of the head, 24 x 24.
inline void write_head_scan(const std::string& path) {
  const auto image = head(1, 24);
  write_hdf5(path, "kspace", {1, 24, 24}, centred_kspace(Complexes(image.begin(), image.end()), 1, 24));
}
/// `reconstruct` of it to 1e-6, and the image.
inline std::vector<std::string> reconstruction_of(const std::string& scan, const std::string& output,
                                                  const std::vector<std::string>& options) {
  auto a = on_device(
      {"reconstruct", "--json", "--kspace", scan, "--output", output, "--tolerance", "1e-6", "--scale", "1"});
  a.insert(a.end(), options.begin(), options.end());
  return a;
}
inline Complexes reconstructed_scan(const std::string& scan, const std::string& output,
                                    const std::vector<std::string>& options) {
  const Outcome r = mri(reconstruction_of(scan, output, options));
  EXPECT_EQ(r.code, 0) << r.err;
  if (r.code != 0) return {};
  EXPECT_LE(Json::parse(r.out)["certified_rms"], 1e-6) << r.out;
  return bilevel::read_complex_npy(output).values;
}

/// A NIfTI-1 file of float voxels [k][j][i].
inline void write_nifti(const std::string& path, int columns, int rows, int slices,
                        const std::vector<double>& voxels) {
  std::string bytes(352, '\0');
  const auto put = [&bytes](std::size_t at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  };
  put(0, std::int32_t{348});
  const std::int16_t extents[] = {3,
                                  static_cast<std::int16_t>(columns),
                                  static_cast<std::int16_t>(rows),
                                  static_cast<std::int16_t>(slices),
                                  1,
                                  1,
                                  1,
                                  1};
  std::memcpy(bytes.data() + 40, extents, sizeof extents);
  put(70, std::int16_t{16}), put(72, std::int16_t{32});
  for (std::size_t d = 0; d < 4; ++d) put(76 + 4 * d, 1.0F);
  put(108, 352.0F);
  std::memcpy(bytes.data() + 344, "n+1", 4);
  for (const double v : voxels) {
    const auto f = static_cast<float>(v);
    bytes.append(reinterpret_cast<const char*>(&f), 4);
  }
  put_file(path, bytes);
}

inline Json summary_of(const std::string& run) {
  return Json::parse(get_file(fs::path(run) / "summary.json"));
}
inline std::vector<Json> log_of_run(const std::string& run) {
  std::vector<Json> lines;
  for (const std::string& line : lines_of(get_file(fs::path(run) / "log.jsonl")))
    lines.push_back(Json::parse(line));
  return lines;
}
inline double kept(const std::string& run) {
  double sum = 0;
  for (const double v : bilevel::read_npy(fs::path(run) / "images/mask.npy").values) sum += v;
  return sum;
}

}  // namespace bilevel_test
