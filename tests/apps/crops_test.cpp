// How many crops an image holds.

#include <array>
#include <set>

#include "apps/common/image_data.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using bilevel_app::DataOptions;
using bilevel_app::ImageBatch;

/// One image whose pixels are numbered.
class CropGrid : public testing::Test {
 protected:
  ImageBatch crops(int height, int width, int size, int images, std::uint64_t seed = 0) {
    bilevel::HostImage numbered{1, height, width, {}};
    numbered.pixels.resize(static_cast<std::size_t>(height) * width);
    for (std::size_t k = 0; k < numbered.pixels.size(); ++k)
      numbered.pixels[k] = static_cast<double>(k) / numbers;
    bilevel::write_image(folder_ / "numbers.npy", numbered);
    DataOptions o;
    o.data = {folder_ / "numbers.npy"};
    o.images = images;
    o.crop = size;
    o.sigma = 0;
    o.seed = seed;
    return bilevel_app::load_crops(o);
  }
  std::string refusal(int height, int width, int size, int images) {
    try {
      crops(height, width, size, images);
    } catch (const bilevel::ConfigError& error) {
      return error.what();
    }
    return {};
  }
  /// The corner pixels of the crops, in order.
  static std::vector<double> corners(const ImageBatch& batch) {
    std::vector<double> list;
    for (int k = 0; k < batch.images; ++k) list.push_back(batch.clean_image(k)[0] * numbers);
    return list;
  }
  static constexpr double numbers = 4096;
  TemporaryFolder folder_;
};

/// floor(H/s) floor(W/s) crops fit, whatever grid it takes, and one more does not.
TEST_F(CropGrid, HoldsAllThatFit) {
  for (const auto& [height, width, size] :
       std::vector<std::array<int, 3>>{{64, 64, 32}, {50, 70, 16}, {33, 65, 16}, {48, 31, 8}, {40, 40, 40}}) {
    SCOPED_TRACE(std::to_string(height) + "x" + std::to_string(width) + "/" + std::to_string(size));
    const int most = (height / size) * (width / size);
    const ImageBatch batch = crops(height, width, size, most);
    EXPECT_EQ(batch.images, most);
    const std::set<double> seen(batch.clean.begin(), batch.clean.end());
    EXPECT_EQ(seen.size(), batch.clean.size()) << "crops overlap";
    EXPECT_NE(
        refusal(height, width, size, most + 1).find("only " + std::to_string(most) + " non-overlapping"),
        std::string::npos);
  }
}

/// Fingerprints that version 0.2.0 wrote before there was another grid.
TEST_F(CropGrid, OldRunsKeepTheirCrops) {
  struct Case {
    int images;
    std::uint64_t seed;
    const char* fingerprint;
  };
  for (const auto& [images, seed, fingerprint] :
       {Case{9, 0, "a1f1dc15ecad3c1f"}, Case{9, 5, "adc82842e4a56dd5"}, Case{5, 0, "9ba8538fbd4d94dc"}})
    EXPECT_EQ(bilevel::fingerprint_text(crops(50, 70, 16, images, seed).fingerprint.pixels), fingerprint)
        << images << " " << seed;
}

/// Where the grid through the centre crop is enough, it is the one that is used, with the bits of old runs.
TEST_F(CropGrid, IsTheOneThroughTheCentreWhereThatIsEnough) {
  // 7 x 7 of them, one at (28, 28), in 64 x 64; the densest grid begins at (0, 0) and has 8 x 8.
  const ImageBatch few = crops(64, 64, 8, 4, 3);
  EXPECT_EQ(corners(few).front(), 28 * 64 + 28);
  for (const double corner : corners(few)) {
    EXPECT_EQ(static_cast<int>(corner) % 64 % 8, 4);
    EXPECT_EQ(static_cast<int>(corner) / 64 % 8, 4);
  }
  const ImageBatch many = crops(64, 64, 8, 64, 3);
  for (const double corner : corners(many)) {
    EXPECT_EQ(static_cast<int>(corner) % 64 % 8, 0);
    EXPECT_EQ(static_cast<int>(corner) / 64 % 8, 0);
  }
  EXPECT_NE(corners(many), corners(crops(64, 64, 8, 64, 4))) << "the order follows the seed";
}

}  // namespace
}  // namespace bilevel_test
