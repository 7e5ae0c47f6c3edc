#include "bilevel/io/svg_plot.hpp"

#include <cmath>
#include <limits>

#include "bilevel/core/error.hpp"
#include "io_test_support.hpp"

namespace {

using bilevel::Panel;
using bilevel::svg_plot;

std::size_t occurrences(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

/// Tags are closed in the order they were opened and no markup character is left in text or attributes.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < svg.size();) {
    if (svg[at] != '<') {
      ASSERT_NE(svg[at], '>') << at;
      ++at;
      continue;
    }
    const std::size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    ASSERT_EQ(occurrences(tag, "\"") % 2, 0U) << tag;
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end + 1;
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(SvgPlot, OnePathPerSeriesAndLegendEntries) {
  const Panel panel{
      "Title", {"x axis"}, {"y axis"}, {{"first", {0, 1, 2}, {0, 1, 4}}, {"second", {0, 2}, {1, 3}}}};
  const std::string svg = svg_plot({panel, panel});
  expect_well_formed(svg);
  for (const char* word : {">Title<", ">x axis<", ">y axis<", ">first<", ">second<"})
    EXPECT_EQ(occurrences(svg, word), 2U) << word;
  EXPECT_EQ(occurrences(svg, "stroke-linejoin"), 4U);
}

TEST(SvgPlot, LinearTicksAreNice) {
  const std::string svg = svg_plot({{"", {"x"}, {"y"}, {{"", {0, 10}, {-1, 1}}}}});
  for (const char* label : {">0<", ">2<", ">4<", ">10<", ">0.5<", ">1.0<",
                            ">\xE2\x88\x92"
                            "0.5<"}) {
    EXPECT_NE(svg.find(label), std::string::npos) << label;
  }
}

TEST(SvgPlot, LogarithmicTicksAreDecades) {
  const std::string svg = svg_plot({{"", {"x", true}, {"y", true}, {{"", {1, 1000}, {1e-4, 1}}}}});
  expect_well_formed(svg);
  for (const char* power : {">0</tspan>", ">1</tspan>", ">3</tspan>",
                            ">\xE2\x88\x92"
                            "4</tspan>"}) {
    EXPECT_NE(svg.find(power), std::string::npos) << power;
  }
}

TEST(SvgPlot, PointsThatCannotBeDrawnInterruptTheCurve) {
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  const std::string gap =
      svg_plot({{"", {"x"}, {"y"}, {{"", {0, 1, 2, 3, 4, 5}, {0, 1, nan, 1, 2, infinite}}}}});
  expect_well_formed(gap);
  EXPECT_EQ(occurrences(gap, "d=\"M"), 1U);
  const std::size_t path = gap.find("d=\"M");
  EXPECT_EQ(occurrences(gap.substr(path, gap.find(" fill", path) - path), "M"), 2U) << "two pieces";
  const std::string positive = svg_plot({{"", {"x"}, {"y", true}, {{"", {0, 1, 2, 3}, {-1, 0, 1, 2}}}}});
  expect_well_formed(positive);
  EXPECT_EQ(occurrences(positive, "<circle"), 2U);
}

TEST(SvgPlot, SinglePointsAndEmptyPanels) {
  const std::string point = svg_plot({{"", {"x"}, {"y", true}, {{"", {3}, {7}}}}});
  expect_well_formed(point);
  EXPECT_EQ(occurrences(point, "<circle"), 1U);
  for (const bool logarithmic : {false, true}) {
    const std::string empty =
        svg_plot({{"t", {"x", logarithmic}, {"y", logarithmic}, {{"s", {-1}, {std::nan("")}}}}});
    expect_well_formed(empty);
    EXPECT_EQ(occurrences(empty, "no data"), 1U);
  }
  expect_well_formed(svg_plot({}));
  expect_well_formed(svg_plot({Panel{}}));
}

TEST(SvgPlot, LabelsAreEscaped) {
  const std::string svg =
      svg_plot({{"a<b & \"c\"\x01\xFF", {"\xCE\xB8"}, {"</svg>"}, {{"<script>", {1}, {1}}}}});
  expect_well_formed(svg);
  EXPECT_NE(svg.find(">a&lt;b &amp; \"c\"?"
                     "?<"),
            std::string::npos);
  EXPECT_NE(svg.find(">\xCE\xB8<"), std::string::npos);
}

TEST(SvgPlot, ExtremeRangesStayFinite) {
  const std::vector<std::vector<double>> cases{
      {1e150, -1e150},    {1e-300, 2e-300}, {1e-150, 1e150}, {5, 5}, {1e8, 1e8 + 1e-7},
      {1, 1 + 1e-15},     {-3e-9, -2.9e-9}, {1e308, 1},      {0, 0}, {99.999, 100.001},
      {0.0999, 0.1000001}};
  for (const auto& values : cases) {
    for (const bool logarithmic : {false, true}) {
      const std::string svg =
          svg_plot({{"", {"x", logarithmic}, {"y", logarithmic}, {{"", values, values}}}});
      expect_well_formed(svg);
      EXPECT_LT(svg.size(), 20000U) << values[0];
    }
  }
}

TEST(SvgPlot, UnequalLengthsAreRefused) {
  EXPECT_THROW(svg_plot({{"", {"x"}, {"y"}, {{"s", {1, 2}, {1}}}}}), bilevel::ShapeError);
}

}  // namespace
