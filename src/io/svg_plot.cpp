#include "bilevel/io/svg_plot.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

// Lengths are in pixels.
constexpr double kPlotWidth = 560, kPlotHeight = 250, kFont = 13, kSmallFont = 12, kTitleFont = 15;
constexpr double kGap = 18, kTitleHeight = 30, kTickHeight = 20, kLabelHeight = 22, kLegendRow = 20;
constexpr double kLegendSample = 30, kMargin = 14;
constexpr std::string_view kInk = "#222222", kGrid = "#e3e3e3", kMinorGrid = "#f3f3f3", kFrame = "#555555";

/// Okabe and Ito, "Color universal design", 2008, without the yellow, which is too light for lines.
constexpr std::array<std::string_view, 7> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                   "#e69f00", "#56b4e9", "#000000"};
constexpr std::array<std::string_view, 3> kDashes{"", "7 4", "2 3"};

std::string_view colour_of(std::size_t index) { return kColours[index % kColours.size()]; }
std::string_view dash_of(std::size_t index) { return kDashes[index / kColours.size() % kDashes.size()]; }

/// Fixed notation independent of the locale.
std::string fixed(double value, int decimals) {
  std::array<char, 400> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, decimals);
  return std::string(text.data(), end.ptr);
}
std::string px(double value) { return fixed(value, 2); }

/// Bytes of the UTF-8 sequence at `at`, 0 if it is none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char first = byte(at);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xC2 && first < 0xE0 ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(at + k) & 0xC0) != 0x80) return 0;
  }
  if (length >= 3) {
    const unsigned char second = byte(at + 1);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
    if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
    if (first == 0xEF && second == 0xBF && byte(at + 2) >= 0xBE) return 0;  // U+FFFE, U+FFFF
  }
  return length;
}

/// XML text; bytes that XML does not allow become '?'. `characters` counts what is shown.
std::string escape(std::string_view text, std::size_t* characters = nullptr) {
  std::string out;
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    const std::size_t length = utf8_length(text, at);
    const char c = text[at];
    if (length == 1 && c == '&') {
      out += "&amp;";
    } else if (length == 1 && c == '<') {
      out += "&lt;";
    } else if (length == 1 && c == '>') {
      out += "&gt;";
    } else if (length == 0 || (length == 1 && (static_cast<unsigned char>(c) < 32 || c == 127))) {
      out += '?';
    } else {
      out += text.substr(at, length);
    }
    at += std::max<std::size_t>(length, 1);
  }
  if (characters != nullptr) *characters = count;
  return out;
}

/// Upper estimate of the width of a text in a sans-serif font.
double text_width(std::string_view text, double font) {
  std::size_t characters = 0;
  escape(text, &characters);
  return 0.6 * font * static_cast<double>(characters);
}

/// A tick: `mantissa` x 10^`exponent` when `power` is set, else `mantissa` alone; unlabelled ones are minor.
struct Tick {
  double value = 0.0;
  std::string mantissa;
  std::string exponent;
};

double tick_width(const Tick& tick) {
  const double power = tick.exponent.empty() ? 0.0 : (tick.mantissa.empty() ? 2.0 : 3.2);
  return 0.6 * kSmallFont *
         (static_cast<double>(tick.mantissa.size()) + power +
          0.75 * static_cast<double>(tick.exponent.size()));
}

/// Range and ticks of one axis and its map to [0, 1].
struct Scale {
  bool logarithmic = false;
  double low = 0.0, high = 1.0;
  std::vector<Tick> ticks;

  double operator()(double value) const {
    if (logarithmic) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
    return (value - low) / (high - low);
  }
};

bool drawable(double value, bool logarithmic) {
  const double size = std::abs(value);
  return size <= 1e150 && (!logarithmic || value >= 1e-150);
}

/// A number of the form 1, 2 or 5 times a power of ten, at least `step`.
double nice_step(double step) {
  const double decade = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * decade >= step * (1.0 - 1e-9)) return factor * decade;
  }
  return 10.0 * decade;
}

/// About `wanted` ticks at multiples of a nice step. Large and small numbers get a common power of ten.
std::vector<Tick> linear_ticks(double low, double high, int wanted) {
  const double step = nice_step((high - low) / wanted);
  const double largest = std::max(std::abs(low), std::abs(high));
  const int magnitude = static_cast<int>(std::floor(std::log10(largest) + 1e-9));
  const bool power = magnitude >= 5 || magnitude <= -4;
  const int exponent = power ? magnitude : 0;
  const int digits = static_cast<int>(std::floor(std::log10(step) + 1e-9)) - exponent;
  const double unit = std::pow(10.0, exponent);
  std::vector<Tick> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k) {
    const bool zero = k == 0.0;
    const std::string text = zero ? "0" : fixed(k * step / unit, std::clamp(-digits, 0, 15));
    ticks.push_back({k * step, text, power && !zero ? std::to_string(exponent) : ""});
  }
  return ticks;
}

/// Decades, every n-th when there are many; minor ticks at 2 to 9 when there are few. Less than a decade and
/// a half is divided like a linear axis.
std::vector<Tick> logarithmic_ticks(double low, double high) {
  const int first = static_cast<int>(std::ceil(std::log10(low) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  if (last - first < 1) return linear_ticks(low, high, 8);
  const int stride = (last - first) / 8 + 1;
  std::vector<Tick> ticks;
  for (int k = first - 1; k <= last; ++k) {
    const double decade = std::pow(10.0, k);
    if (k >= first && (k - first) % stride == 0) ticks.push_back({decade, "", std::to_string(k)});
    for (int m = 2; m <= 9 && last - first <= 5; ++m) {
      if (m * decade >= low && m * decade <= high) ticks.push_back({m * decade, "", ""});
    }
  }
  return ticks;
}

/// Range of the drawable values (of points drawable in both directions) with a margin, and its ticks.
Scale make_scale(const Panel& panel, bool vertical) {
  const Axis& axis = vertical ? panel.y : panel.x;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& series : panel.series) {
    for (std::size_t k = 0; k < series.x.size(); ++k) {
      if (!drawable(series.x[k], panel.x.logarithmic) || !drawable(series.y[k], panel.y.logarithmic))
        continue;
      const double value = vertical ? series.y[k] : series.x[k];
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  Scale scale{axis.logarithmic, low, high, {}};
  const double margin = vertical ? 0.05 : 0.02;
  if (!(low <= high)) {
    scale.low = axis.logarithmic ? 0.1 : 0.0;
    scale.high = axis.logarithmic ? 10.0 : 1.0;
  } else if (axis.logarithmic) {
    const double factor =
        std::log(high) - std::log(low) > 1e-9 ? std::exp(margin * (std::log(high) - std::log(low))) : 3.0;
    scale.low = low / factor;
    scale.high = high * factor;
  } else {
    const double largest = std::max(std::abs(low), std::abs(high));
    const bool varies = high - low > 1e-9 * largest && high - low > 1e-200;
    const double pad = varies ? margin * (high - low) : largest > 1e-200 ? 0.5 * largest : 1.0;
    scale.low = low - pad;
    scale.high = high + pad;
  }
  scale.ticks =
      axis.logarithmic ? logarithmic_ticks(scale.low, scale.high) : linear_ticks(scale.low, scale.high, 8);
  return scale;
}

struct Attributes {
  double font = kFont;
  std::string_view anchor = "start";
  std::string_view extra{};
};

std::string text_element(double x, double y, const std::string& content, const Attributes& attributes) {
  return std::string("<text x=\"") + px(x) + "\" y=\"" + px(y) + "\" font-size=\"" +
         fixed(attributes.font, 0) + "\" text-anchor=\"" + std::string(attributes.anchor) + "\"" +
         std::string(attributes.extra) + ">" + content + "</text>\n";
}

std::string line_element(double x1, double y1, double x2, double y2, std::string_view colour) {
  return std::string("<line x1=\"") + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) + "\" y2=\"" +
         px(y2) + "\" stroke=\"" + std::string(colour) + "\"/>\n";
}

std::string tick_label(const Tick& tick) {
  const auto append = [](std::string& out, const std::string& number) {
    const bool negative = !number.empty() && number[0] == '-';
    if (negative) out += "\xE2\x88\x92";  // the minus sign
    out.append(number, negative ? 1 : 0);
  };
  std::string out;
  append(out, tick.mantissa);
  if (tick.exponent.empty()) return out;
  if (!out.empty()) out += "\xC3\x97";  // the multiplication sign
  out += "10<tspan dy=\"-4.5\" font-size=\"9\">";
  append(out, tick.exponent);
  return out + "</tspan>";
}

/// Writer of one panel whose plot area has its upper left corner at (left, top).
class PanelWriter {
 public:
  PanelWriter(const Panel& panel, Scale x, Scale y, double left, double top)
      : panel_(panel), x_(std::move(x)), y_(std::move(y)), left_(left), top_(top) {}

  std::string write() const {
    std::string curves;
    bool empty = true;
    for (std::size_t k = 0; k < panel_.series.size(); ++k) {
      const std::string one = curve(panel_.series[k], k);
      empty = empty && one.empty();
      curves += one;
    }
    std::string out = grid() + curves;
    if (empty) {
      out += text_element(left_ + kPlotWidth / 2, top_ + kPlotHeight / 2, "no data", {kFont, "middle"});
    }
    return out + frame_and_labels() + legend();
  }

 private:
  double across(double value) const { return left_ + x_(value) * kPlotWidth; }
  double down(double value) const { return top_ + (1.0 - y_(value)) * kPlotHeight; }

  std::string grid() const {
    std::string minor, major, labels;
    for (const Tick& tick : x_.ticks) {
      const bool labelled = !tick.mantissa.empty() || !tick.exponent.empty();
      const double at = across(tick.value);
      (labelled ? major : minor) +=
          line_element(at, top_, at, top_ + kPlotHeight, labelled ? kGrid : kMinorGrid);
      if (labelled)
        labels += text_element(at, top_ + kPlotHeight + 17, tick_label(tick), {kSmallFont, "middle"});
    }
    for (const Tick& tick : y_.ticks) {
      const bool labelled = !tick.mantissa.empty() || !tick.exponent.empty();
      const double at = down(tick.value);
      (labelled ? major : minor) +=
          line_element(left_, at, left_ + kPlotWidth, at, labelled ? kGrid : kMinorGrid);
      if (labelled) labels += text_element(left_ - 7, at + 4.3, tick_label(tick), {kSmallFont, "end"});
    }
    return minor + major + labels;
  }

  std::string marker(double x, double y, std::size_t index) const {
    return std::string("<circle cx=\"") + px(x) + "\" cy=\"" + px(y) + "\" r=\"3\" fill=\"" +
           std::string(colour_of(index)) + "\"/>\n";
  }

  /// One path of all runs of drawable points, and markers where a run is a single point or the points are
  /// few.
  std::string curve(const Series& series, std::size_t index) const {
    std::string path, markers;
    const auto shown = [&](std::size_t k) {
      return k < series.x.size() && drawable(series.x[k], x_.logarithmic) &&
             drawable(series.y[k], y_.logarithmic);
    };
    for (std::size_t k = 0; k < series.x.size(); ++k) {
      if (!shown(k)) continue;
      const double x = across(series.x[k]), y = down(series.y[k]);
      const bool starts = k == 0 || !shown(k - 1);
      if ((starts && !shown(k + 1)) || series.x.size() <= 20) markers += marker(x, y, index);
      path += starts ? 'M' : 'L';
      path += px(x) + " " + px(y);
    }
    if (path.empty()) return path;
    std::string out = std::string("<path d=\"") + path + "\" fill=\"none\" stroke=\"" +
                      std::string(colour_of(index)) + "\" stroke-width=\"1.8\" stroke-linejoin=\"round\"";
    if (!dash_of(index).empty()) out += " stroke-dasharray=\"" + std::string(dash_of(index)) + "\"";
    return out + "/>\n" + markers;
  }

  std::string frame_and_labels() const {
    std::string out = std::string("<rect x=\"") + px(left_) + "\" y=\"" + px(top_) + "\" width=\"" +
                      px(kPlotWidth) + "\" height=\"" + px(kPlotHeight) + "\" fill=\"none\" stroke=\"" +
                      std::string(kFrame) + "\"/>\n";
    const double middle = left_ + kPlotWidth / 2, centre = top_ + kPlotHeight / 2;
    if (!panel_.title.empty()) {
      out += text_element(middle, top_ - 11, escape(panel_.title),
                          {kTitleFont, "middle", " font-weight=\"bold\""});
    }
    if (!panel_.x.label.empty()) {
      out += text_element(middle, top_ + kPlotHeight + kTickHeight + 17, escape(panel_.x.label),
                          {kFont, "middle"});
    }
    if (!panel_.y.label.empty()) {
      const double x = kMargin + kFont - 2;
      const std::string turn = std::string(" transform=\"rotate(-90 ") + px(x) + " " + px(centre) + ")\"";
      out += text_element(x, centre, escape(panel_.y.label), {kFont, "middle", turn});
    }
    return out;
  }

  std::string legend() const {
    std::string out;
    double y = top_ + 12;
    for (std::size_t k = 0; k < panel_.series.size(); ++k) {
      const Series& series = panel_.series[k];
      if (series.label.empty()) continue;
      const double x = left_ + kPlotWidth + kMargin;
      out += std::string("<path d=\"M") + px(x) + " " + px(y) + "L" + px(x + kLegendSample - 6) + " " +
             px(y) + "\" stroke=\"" + std::string(colour_of(k)) + "\" stroke-width=\"1.8\"";
      if (!dash_of(k).empty()) out += " stroke-dasharray=\"" + std::string(dash_of(k)) + "\"";
      out += "/>\n";
      if (series.x.size() <= 20) out += marker(x + (kLegendSample - 6) / 2, y, k);
      out += text_element(x + kLegendSample, y + 4.5, escape(series.label), {kSmallFont, "start"});
      y += kLegendRow;
    }
    return out;
  }

  const Panel& panel_;
  Scale x_, y_;
  double left_, top_;
};

/// Margins that hold the widest labels of all panels.
struct Layout {
  double left = 0.0, right = kMargin;

  void include(const Panel& panel, const Scale& y) {
    double ticks = 0.0;
    for (const Tick& tick : y.ticks) ticks = std::max(ticks, tick_width(tick));
    left = std::max(left, kMargin + (panel.y.label.empty() ? 0.0 : kLabelHeight) + ticks + 9);
    for (const Series& series : panel.series) {
      if (series.label.empty()) continue;
      right = std::max(right, 2 * kMargin + kLegendSample + text_width(series.label, kSmallFont));
    }
    // Titles and labels are centred on the plot and may be wider than it.
    const double widest =
        std::max(1.1 * text_width(panel.title, kTitleFont), text_width(panel.x.label, kFont));
    const double overhang = (widest - kPlotWidth) / 2 + kMargin;
    left = std::max(left, overhang);
    right = std::max(right, overhang);
  }
};

/// Height of a plot area with its labels; long y labels and legends make room above and below.
double panel_height(const Panel& panel) {
  const auto rows = std::count_if(panel.series.begin(), panel.series.end(),
                                  [](const Series& series) { return !series.label.empty(); });
  const double label = text_width(panel.y.label, kFont) - kPlotHeight;
  const double legend = kLegendRow * static_cast<double>(rows) - kPlotHeight;
  const double below = kTickHeight + (panel.x.label.empty() ? 0.0 : kLabelHeight);
  return kPlotHeight + std::max({below, legend, label / 2});
}

double height_above(const Panel& panel) {
  const double label = (text_width(panel.y.label, kFont) - kPlotHeight) / 2;
  return std::max({panel.title.empty() ? 10.0 : kTitleHeight, label});
}

}  // namespace

std::string svg_plot(const std::vector<Panel>& panels) {
  std::vector<Scale> xs, ys;
  Layout layout;
  double height = kGap;
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      if (series.x.size() != series.y.size()) {
        throw ShapeError("svg_plot: series '" + series.label + "' has " + std::to_string(series.x.size()) +
                         " x and " + std::to_string(series.y.size()) + " y values; equal numbers are needed");
      }
    }
    xs.push_back(make_scale(panel, false));
    ys.push_back(make_scale(panel, true));
    layout.include(panel, ys.back());
    height += height_above(panel) + panel_height(panel) + kGap;
  }
  const std::string size = std::string("width=\"") + fixed(layout.left + kPlotWidth + layout.right, 0) +
                           "\" height=\"" + fixed(height, 0) + "\"";
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + " viewBox=\"0 0 " +
                    fixed(layout.left + kPlotWidth + layout.right, 0) + " " + fixed(height, 0) +
                    "\" font-family=\"Helvetica, Arial, sans-serif\" fill=\"" + std::string(kInk) + "\">\n" +
                    "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  double top = kGap;
  for (std::size_t k = 0; k < panels.size(); ++k) {
    top += height_above(panels[k]);
    out += PanelWriter(panels[k], xs[k], ys[k], layout.left, top).write();
    top += panel_height(panels[k]) + kGap;
  }
  return out + "</svg>\n";
}

}  // namespace v0
}  // namespace bilevel
