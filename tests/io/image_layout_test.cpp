#include <gtest/gtest.h>

#include <array>

#include "bilevel/core/error.hpp"
#include "bilevel/io/image_file.hpp"

namespace {

TEST(ImageLayout, OfArrays) {
  using Shape = std::vector<std::size_t>;
  using Extents = std::array<std::size_t, 4>;  // images, channels, height, width
  const auto extents = [](const bilevel::ImageLayout& l) {
    return Extents{l.images, l.channels, l.height, l.width};
  };
  const auto read = [&](const Shape& shape, bool complex = false, bool images = false) {
    return extents(bilevel::image_layout(
        "a.npy", shape, complex, images ? bilevel::LeadingThree::images : bilevel::LeadingThree::colours));
  };
  EXPECT_EQ(read({24, 20}), (Extents{1, 1, 24, 20}));
  EXPECT_EQ(read({24, 20, 1}), (Extents{1, 1, 24, 20}));
  EXPECT_EQ(read({1, 24, 20}), (Extents{1, 1, 24, 20}));
  EXPECT_EQ(read({24, 20, 3}), (Extents{1, 3, 24, 20}));
  EXPECT_EQ(read({24, 20, 3}, false, true), (Extents{1, 3, 24, 20}));
  EXPECT_EQ(read({3, 24, 20}), (Extents{1, 3, 24, 20}));
  EXPECT_EQ(read({3, 24, 20}, false, true), (Extents{3, 1, 24, 20}));
  EXPECT_EQ(read({3, 24, 20}, true), (Extents{3, 1, 24, 20}));
  EXPECT_EQ(read({24, 24, 20}), (Extents{24, 1, 24, 20}));
  EXPECT_EQ(read({5, 24, 20, 3}), (Extents{5, 3, 24, 20}));
  EXPECT_EQ(read({5, 3, 24, 20}), (Extents{5, 3, 24, 20}));
  EXPECT_EQ(read({5, 3, 24, 20}, false, true), (Extents{5, 3, 24, 20}));
  EXPECT_EQ(read({5, 24, 20, 1}, true), (Extents{5, 1, 24, 20}));
  for (const Shape& shape : std::vector<Shape>{{24, 20, 2},
                                               {24, 20, 4},
                                               {3, 24, 2},
                                               {3, 24, 3},
                                               {3, 24, 1},
                                               {1, 24, 3},
                                               {5},
                                               {},
                                               {5, 4, 24, 20},
                                               {5, 24, 20, 2},
                                               {0, 24, 20},
                                               {24, 0},
                                               {2, 2, 2, 2, 2}})
    for (const bool images : {false, true}) EXPECT_THROW(read(shape, false, images), bilevel::IoError);
  EXPECT_THROW(read({24, 20, 3}, true), bilevel::IoError) << "complex numbers have no colours";
  const bilevel::ImageLayout last = bilevel::image_layout("", {2, 4, 5, 3}),
                             first = bilevel::image_layout("", {2, 3, 4, 5});
  EXPECT_EQ(last.at(1, 2, 3, 4), 1U * 60 + 3 * 15 + 4 * 3 + 2);
  EXPECT_EQ(first.at(1, 2, 3, 4), 1U * 60 + 2 * 20 + 3 * 5 + 4);
}

}  // namespace
