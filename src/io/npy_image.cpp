#include <algorithm>
#include <utility>

#include "bilevel/core/error.hpp"
#include "bilevel/io/image_file.hpp"
#include "io/image_formats.hpp"
#include "io/npy.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {
namespace {

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text;
  for (const std::size_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

/// The largest value of the integers that have an intensity scale, 1 for what is taken as it is.
double full_scale(const std::string& name, const TypedArray& typed) {
  if (typed.kind == 'u' && typed.size == 1) return 255.0;
  if (typed.kind == 'u' && typed.size == 2) return 65535.0;
  if (typed.kind == 'f' || typed.kind == 'b') return 1.0;
  throw IoError(name,
                "integers of type " + typed.array.type + " have no intensity scale; store u1, u2, f4 or f8");
}

HostImage take_image(const std::string& name, const Array& array, const ImageLayout& layout, std::size_t n,
                     double scale) {
  HostImage image = make_image(name, static_cast<int>(layout.channels), layout.height, layout.width);
  double* to = image.pixels.data();
  for (std::size_t c = 0; c < layout.channels; ++c) {
    for (std::size_t y = 0; y < layout.height; ++y) {
      for (std::size_t x = 0; x < layout.width; ++x) *to++ = array.values[layout.at(n, c, y, x)] / scale;
    }
  }
  return image;
}

}  // namespace

std::vector<HostImage> decode_npy_images(const std::string& name, const std::string& bytes, bool only_one) {
  const std::vector<std::size_t> shape = npy_shape(name, bytes);
  const ImageLayout layout = image_layout(name, shape);
  if (only_one && layout.images != 1)
    throw IoError(name, "an array of shape " + shape_text(shape) + " " + several_images(layout.images));
  const TypedArray typed = decode_npy(name, bytes);
  const double scale = full_scale(name, typed);
  std::vector<HostImage> images;
  for (std::size_t n = 0; n < layout.images; ++n) {
    images.push_back(take_image(name, typed.array, layout, n, scale));
    images.back().from_integers = typed.kind != 'f';
    if (shape.size() == 3 && shape[0] == 3 && layout.channels == 3 && !layout.channels_last)
      images.back().notes.push_back("shape " + shape_text(shape) + " is taken for one colour image, [C,H,W]");
  }
  return images;
}

}  // namespace io_detail

ImageLayout image_layout(const std::string& name, const std::vector<std::size_t>& shape, bool complex,
                         LeadingThree three) {
  const auto refuse = [&](const std::string& why) {
    throw IoError(name, "an array of shape " + io_detail::shape_text(shape) + " " + why);
  };
  const std::size_t d = shape.size();
  if (d < 2 || d > 4)
    refuse("is no image; use [H,W], [H,W,3], [3,H,W], or with the number of images in front");
  ImageLayout layout;
  layout.height = shape[d - 2], layout.width = shape[d - 1];
  if (d > 2) {
    const std::size_t first = shape[d - 3], last = shape[d - 1];
    const auto channels = [&](std::size_t extent) { return extent == 1 || (extent == 3 && !complex); };
    if (channels(first) && channels(last) && first * last > 1)
      refuse("can have its channels first or last; pad or crop the images so that only one of them fits");
    if (first != 1 && !channels(last) && last >= 1 && last <= 4)
      refuse(
          "has a last axis of " + std::to_string(last) +
          ", which may be channels or real and imaginary part; store [H,W] or [N,H,W], complex numbers for "
          "the parts, and [H,W,3] for colours");
    const bool images_first = d == 3 && (!channels(first) || (first == 3 && three == LeadingThree::images));
    if (channels(last) && first * last > 1) {
      layout = {d == 4 ? shape[0] : 1, last, first, shape[d - 2], true};
    } else if (channels(first) && !images_first) {
      layout.images = d == 4 ? shape[0] : 1;
      layout.channels = first;
    } else if (d == 3) {
      layout.images = first;
    } else {
      refuse("is no stack of images; use [N,H,W], [N,H,W,3] or [N,3,H,W]");
    }
  }
  io_detail::check_extents(name, layout.height, layout.width);
  if (layout.images == 0) refuse("holds no image");
  return layout;
}

}  // namespace v0
}  // namespace bilevel
