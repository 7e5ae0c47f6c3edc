#pragma once

#include <string>
#include <vector>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

/// One curve: points (x[i], y[i]) joined in the order given; equal lengths.
struct Series {
  std::string label;
  std::vector<double> x, y;
};

/// One axis; a logarithmic one shows positive values only.
struct Axis {
  std::string label;
  bool logarithmic = false;
};

/// One coordinate system with its curves.
struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
};

/// A self-contained SVG document with the panels stacked vertically on a common left and right margin.
/// Ticks are at 1, 2, 5 times powers of ten, or at decades. Points that are not finite, beyond 1e150, or not
/// positive on a logarithmic axis, are skipped and interrupt the curve; a curve of one point is drawn as a
/// marker. Panels without any drawable point say so. Labels are escaped. Throws ShapeError when x and y
/// differ in length.
BILEVEL_API std::string svg_plot(const std::vector<Panel>& panels);

}  // namespace v0
}  // namespace bilevel
