#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bilevel/model/catalogue.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/named_option.hpp"
#include "bilevel/model/regularisers.hpp"
#include "bilevel/ops/blur.hpp"

namespace bilevel {
inline namespace v0 {

/// 64-bit FNV-1a over 8-byte little-endian words (the last one padded with zeros) and the length; `start`
/// chains calls. Finds accidents, not attacks. Source: Fowler, Noll, Vo; www.isthe.com/chongo/tech/comp/fnv.
BILEVEL_API std::uint64_t fingerprint(std::span<const std::byte> bytes,
                                      std::uint64_t start = 0xcbf29ce484222325u);
BILEVEL_API std::uint64_t fingerprint(std::span<const double> values,
                                      std::uint64_t start = 0xcbf29ce484222325u);
/// 16 hexadecimal digits.
BILEVEL_API std::string fingerprint_text(std::uint64_t value);

/// Which data a model was learned from.
struct DataFingerprint {
  std::vector<std::string> files;  ///< names without folders, in the order used
  int images = 0, height = 0, width = 0;
  std::uint64_t pixels = 0;  ///< fingerprint of the clean, then the noisy images
  bool operator==(const DataFingerprint&) const = default;
};

/// A learned denoiser: what `apply` and `evaluate` need. `initial` (of an array `values`) of a segment holds
/// what was learned.
struct BILEVEL_API DenoiseModel {
  RegulariserSum options;
  std::vector<Segment> parameters;
  std::vector<NamedOption> training = {};  ///< the options of the training run
  DataFingerprint data = {};
  std::string library_version = {};     ///< of the library that wrote the file; set by read_model
  std::optional<BlurKernel> blur = {};  ///< of models that deblur
  int channels = 1;                     ///< of its images; 3: colour, all channels together

  /// Value of a number. Throws ConfigError for an unknown name or an array.
  double value(const std::string& name) const;
};

/// The energy of regularisers for noisy images [N,1,H,W] or [N,3,H,W]; theta is laid out by `parameters`.
/// `sampling`: 0/1 [H,W], or empty. `mixed`: with T = double, the energy keeps itself in single precision,
/// for solvers named "mixed:". Throws what ComposedEnergy throws.
template <class T>
BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy,
                                                   const Parameters& parameters,
                                                   const RegulariserSum& regularisers,
                                                   std::span<const double> sampling = {}, bool mixed = false);
/// That of blurred and noisy images, 1/2 |k * x - y|^2 (ops/blur.hpp). Throws what Blur and ComposedEnergy
/// throw.
template <class T>
BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy,
                                                   const Parameters& parameters,
                                                   const RegulariserSum& regularisers,
                                                   const BlurKernel& kernel);
/// The energy of a learned model, bound to what was learned (theta has no entries). Throws ConfigError for
/// images of other channels than the model's; models that deblur have neither `sampling` nor `mixed`.
template <class T>
BILEVEL_API std::unique_ptr<Energy<T>> make_energy(Context& context, View<const T> noisy,
                                                   const DenoiseModel& model,
                                                   std::span<const double> sampling = {}, bool mixed = false);

/// Reads a model.json. Throws IoError naming the file and the key: no JSON, another format or version,
/// unknown model, a missing key, a value that is not finite or outside its bounds, arrays whose shapes do not
/// fit together.
BILEVEL_API DenoiseModel read_model(const std::filesystem::path& path);

/// Writes a model.json atomically. The bytes depend on the model and the library version only.
/// Throws ConfigError for a model that read_model would refuse, IoError when writing fails.
BILEVEL_API void write_model(const std::filesystem::path& path, const DenoiseModel& model);

}  // namespace v0
}  // namespace bilevel
