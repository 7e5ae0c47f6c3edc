#include "apps/common/image_source.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/common/image_data.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app {

namespace fs = std::filesystem;
using bilevel::HostImage;
using bilevel::IoError;

namespace {

constexpr double far_beyond = 10;  // of the scale of integers, which ends at 1
constexpr double far_apart = 100;  // largest values of files whose scale nothing states

std::string numbered(const std::string& name, const ImageSource& source) {
  return source.count > 1 ? name + "#" + std::to_string(source.index) : name;
}

/// "a.png" or "a.png and 4 more".
std::string and_more(const std::string& first, std::size_t all) {
  return all > 1 ? first + " and " + std::to_string(all - 1) + " more" : first;
}

}  // namespace

std::string ImageSource::name() const { return numbered(path.filename().string(), *this); }
std::string ImageSource::text() const { return numbered(path.string(), *this); }

std::vector<ImageSource> list_sources(const std::vector<std::string>& paths, std::size_t most) {
  std::vector<ImageSource> sources;
  for (const fs::path& path : list_all(paths)) {
    if (sources.size() == most) break;
    const std::size_t count = bilevel::count_images(path);
    for (std::size_t k = 0; k < count && sources.size() < most; ++k) sources.push_back({path, k, count});
  }
  return sources;
}

void ImageCensus::require_scale_of(const ImageCensus& other) const {
  const auto find = [](const ImageCensus& census, auto wanted) {
    const auto at = std::find_if(census.ranges_.begin(), census.ranges_.end(),
                                 [&](const auto& entry) { return wanted(entry.second); });
    return at == census.ranges_.end() ? nullptr : &*at;
  };
  for (const auto& [one, two] : {std::pair(this, &other), std::pair(&other, this)}) {
    const auto* scaled = find(*one, [](const Range& r) { return r.declared; });
    const auto* beyond = find(*two, [](const Range& r) { return !r.declared && r.largest() > far_beyond; });
    if (scaled != nullptr && beyond != nullptr)
      throw IoError(beyond->first, "its values, " + range_text(beyond->second.low, beyond->second.high) +
                                       ", are on another scale than those of " + scaled->first +
                                       ", integers that become 0 to 1; divide them by their largest possible "
                                       "value.");
  }
}

double ImageCensus::Range::largest() const { return std::max(std::abs(low), std::abs(high)); }

void ImageCensus::see(const std::string& name, std::span<const double> values, bool declared,
                      const std::vector<std::string>& notes) {
  const auto same = [&](const auto& entry) { return entry.first == name; };
  if (values.empty() || std::any_of(ranges_.begin(), ranges_.end(), same)) return;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  ranges_.push_back({name, {*low, *high, declared}});
  require_scale_of(*this);
  for (const std::string& note : notes) {
    auto at = std::find_if(reader_notes_.begin(), reader_notes_.end(),
                           [&](const auto& n) { return n.first == note; });
    if (at == reader_notes_.end()) at = reader_notes_.insert(at, {note, {}});
    at->second.push_back(name);
  }
}

std::vector<std::string> ImageCensus::notes() const {
  std::vector<std::string> sentences;
  for (const auto& [note, names] : reader_notes_)
    sentences.push_back(and_more(names.front(), names.size()) + ": " + note);
  if (margin_) {
    std::vector<std::string> outside;
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const auto& [name, range] : ranges_) {
      if (range.low >= -*margin_ && range.high <= 1 + *margin_) continue;
      outside.push_back(name);
      low = std::min(low, range.low), high = std::max(high, range.high);
    }
    if (!outside.empty())
      sentences.push_back(and_more(outside.front(), outside.size()) + ": intensities from " +
                          range_text(low, high) + "; they are meant to be 0 to 1");
  } else {
    const auto less = [](const auto& a, const auto& b) { return a.second.largest() < b.second.largest(); };
    const auto [small, large] = std::minmax_element(ranges_.begin(), ranges_.end(), less);
    if (small != large && small->second.largest() > 0 &&
        large->second.largest() > far_apart * small->second.largest())
      sentences.push_back(format("%s reaches %g and %s reaches %g, taken on one scale", small->first.c_str(),
                                 small->second.largest(), large->first.c_str(), large->second.largest()));
  }
  return sentences;
}

std::string range_text(double low, double high) { return format("%.6g to %.6g", low, high); }

void require_colour(const std::string& name, const HostImage& image) {
  if (image.channels != 3)
    throw IoError(name, "the image is grey, and coupled colour (train --colour coupled) is of RGB images.");
}

HostImage ImageReader::read(const ImageSource& source) {
  if (path_ != source.path) {
    path_.clear();
    images_ = bilevel::read_images(source.path);
    path_ = source.path;
  }
  if (images_.size() != source.count)
    throw IoError(source.path.string(), format("it holds %zu images, and held %zu before; it was changed.",
                                               images_.size(), source.count));
  const HostImage& read = images_[source.index];
  if (channels_ == 3) require_colour(source.text(), read);
  HostImage image = channels_ == 3 ? read : bilevel::to_luma(read);
  census_.see(source.text(), image.pixels, image.from_integers, image.notes);
  return image;
}

}  // namespace bilevel_app
