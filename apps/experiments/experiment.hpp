#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/experiments/criteria.hpp"
#include "apps/experiments/data_kind.hpp"
#include "bilevel/core/device.hpp"
#include "bilevel/io/image_file.hpp"
#include "bilevel/io/svg_plot.hpp"

namespace bilevel_app::experiments {

/// What experiments are run with.
struct Settings {
  bilevel::Device device;
  std::uint64_t seed = 0;
  bool quick = false;                            ///< smaller and fewer problems, seconds
  std::vector<std::string> data;                 ///< folders and files of the kind that is needed
  std::function<void(const std::string&)> tell;  ///< what is being done, for people
};

/// An image of a result, NAME.png beside it; `image` is there until it is written.
struct Picture {
  std::string name, caption;
  bilevel::HostImage image;
};

/// What an experiment found.
struct Result {
  std::vector<Row> rows;
  std::vector<bilevel::Panel> curves;
  std::vector<std::string> notes;  ///< sentences: data, scaling, what differs from the published set-up
  std::vector<Picture> pictures = {};
};

/// One published experiment. `claim` and `source` are what is stated, and by whom (authors, year).
struct Experiment {
  std::string id, title, claim, source;
  bool own_draws = false;  ///< the data are draws of --seed; else they are the published ones
  DataKind data = DataKind::none;
  Result (*run)(const Settings&) = nullptr;
  bool without_data = false;  ///< runs also where there are none, and does less
};

/// Whether none of the paths of --data is of the kind that the experiment cannot do without.
inline bool lacks_data(const Experiment& e, const std::vector<std::string>& data) {
  return e.data != DataKind::none && !e.without_data && of_kind(e.data, data).empty();
}

/// A row whose criterion is for the full size; of the quick form, its numbers alone.
inline Row at_full_size(const Settings& settings, const Row& row) {
  return settings.quick ? without_criterion(row) : row;
}
/// The note that belongs to it.
constexpr const char* kQuickNote =
    "The quick form is too small for some criteria of the full one; their rows are numbers only.";

/// Thrown when a signal asks to stop.
struct Interrupted {};

}  // namespace bilevel_app::experiments
