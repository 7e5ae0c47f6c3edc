#include "bilevel/io/model_file.hpp"

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel;

DenoiseModel model() {
  DenoiseModel m;
  m.options = {TvPotential::huber_c2, false, true};
  m.parameters = tv_parameters().segments();
  m.parameters[0].initial = 0.1 / 3;
  m.training = {
      {"sigma", 0.1}, {"images", std::int64_t{25}}, {"algorithm", std::string("maid")}, {"mask", false}};
  m.data = {{"a.png", "b.png"}, 25, 96, 96, 0x0123456789abcdefu};
  return m;
}

TEST(ModelFile, RoundTrips) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", model());
  const DenoiseModel read = read_model(folder / "model.json"), wanted = model();
  EXPECT_EQ(read.options.potential, wanted.options.potential);
  EXPECT_EQ(read.options.isotropic, false);
  EXPECT_EQ(read.options.xi_inside_alpha, true);
  ASSERT_EQ(read.parameters.size(), 3u);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(read.parameters[k].name, wanted.parameters[k].name);
    EXPECT_EQ(read.parameters[k].transform, wanted.parameters[k].transform);
    EXPECT_EQ(read.parameters[k].initial, wanted.parameters[k].initial);
    EXPECT_EQ(read.parameters[k].lower, wanted.parameters[k].lower);
    EXPECT_EQ(read.parameters[k].upper, wanted.parameters[k].upper);
    EXPECT_EQ(read.parameters[k].learned, wanted.parameters[k].learned);
  }
  EXPECT_EQ(read.training, wanted.training);
  EXPECT_EQ(read.data, wanted.data);
  EXPECT_EQ(read.library_version, BILEVEL_VERSION);
  EXPECT_EQ(read.value("alpha"), 0.1 / 3);
  EXPECT_THROW(static_cast<void>(read.value("beta")), ConfigError);
}

TEST(ModelFile, HoldsTheContract) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", model());
  const Json json = Json::parse(get_file(folder / "model.json"));
  for (const char* key : {"format", "format_version", "model", "potential", "isotropic", "xi_inside_alpha",
                          "theta", "conventions", "training", "data", "library_version"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["model"], "tv-aniso");
  EXPECT_EQ(json["conventions"]["logarithm"], "natural");
  EXPECT_EQ(json["conventions"]["loss"], "1/(2N) sum_i |xhat_i - x_i|^2");
  EXPECT_EQ(json["data"]["fingerprint"], "0123456789abcdef");
  EXPECT_EQ(json["theta"][0]["name"], "alpha");
}

/// Each change of a valid file is refused with a message that names the file and the key.
TEST(ModelFile, RefusesWhatIsWrongByName) {
  struct Case {
    const char* key;
    std::function<void(Json&)> change;
  };
  const std::vector<Case> cases{
      {"format", [](Json& j) { j["format"] = "other"; }},
      {"format_version", [](Json& j) { j["format_version"] = 2; }},
      {"format_version", [](Json& j) { j.erase("format_version"); }},
      {"model", [](Json& j) { j["model"] = "foe"; }},
      {"model", [](Json& j) { j["model"] = 3; }},
      {"isotropic", [](Json& j) { j["isotropic"] = true; }},
      {"potential", [](Json& j) { j["potential"] = "huber"; }},
      {"xi_inside_alpha", [](Json& j) { j["xi_inside_alpha"] = 1; }},
      {"theta", [](Json& j) { j["theta"] = 1; }},
      {"theta", [](Json& j) { j["theta"].erase(1); }},
      {"theta", [](Json& j) { j["theta"][1]["name"] = "alpha"; }},
      {"theta", [](Json& j) { j["theta"][1]["name"] = "gamma"; }},
      {"theta[2]", [](Json& j) { j["theta"][2] = 4; }},
      {"theta[0].value", [](Json& j) { j["theta"][0]["value"] = nullptr; }},
      {"theta[0].value", [](Json& j) { j["theta"][0]["value"] = "0.1"; }},
      {"theta[0].value", [](Json& j) { j["theta"][0].erase("value"); }},
      {"theta[0].value", [](Json& j) { j["theta"][0]["value"] = -1; }},
      {"theta[0].value", [](Json& j) { j["theta"][0]["value"] = 1e9; }},
      {"theta[0].upper", [](Json& j) { j["theta"][0]["upper"] = 0; }},
      {"theta[0].learned", [](Json& j) { j["theta"][0]["learned"] = "yes"; }},
      {"theta[1].transform", [](Json& j) { j["theta"][1]["transform"] = "sqrt"; }},
      {"training", [](Json& j) { j.erase("training"); }},
      {"training.sigma", [](Json& j) { j["training"]["sigma"] = Json::array(); }},
      {"data.images", [](Json& j) { j["data"]["images"] = -3; }},
      {"data.fingerprint", [](Json& j) { j["data"]["fingerprint"] = "xyz"; }},
      {"data.files", [](Json& j) { j["data"]["files"] = "a.png"; }},
      {"library_version", [](Json& j) { j.erase("library_version"); }},
  };
  const TemporaryFolder folder;
  write_model(folder / "model.json", model());
  const Json good = Json::parse(get_file(folder / "model.json"));
  for (std::size_t k = 0; k < cases.size(); ++k) {
    SCOPED_TRACE(std::to_string(k) + " " + cases[k].key);
    Json bad = good;
    cases[k].change(bad);
    put_file(folder / "bad.json", bad.dump(2));
    try {
      read_model(folder / "bad.json");
      ADD_FAILURE() << "accepted";
    } catch (const IoError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("bad.json"), std::string::npos) << what;
      EXPECT_NE(what.find("'" + std::string(cases[k].key) + "'"), std::string::npos) << what;
    }
  }
}

TEST(ModelFile, RefusesWhatIsNoModel) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", model());
  const std::string text = get_file(folder / "model.json");
  for (std::size_t size = 0; size + 2 < text.size(); size += 37) {
    put_file(folder / "cut.json", text.substr(0, size));
    EXPECT_THROW(read_model(folder / "cut.json"), IoError) << size;
  }
  std::string overflow = text;
  overflow.replace(overflow.find("0.01"), 4, "1e999");
  std::string nested(100000, '[');
  for (const std::string& bytes :
       {std::string("[]"), std::string("3"), std::string("\x89PNG\r\n"), overflow, nested}) {
    put_file(folder / "other.json", bytes);
    EXPECT_THROW(read_model(folder / "other.json"), IoError) << bytes.substr(0, 20);
  }
  EXPECT_THROW(read_model(folder / "missing.json"), IoError);
  EXPECT_THROW(read_model(folder.path()), IoError);
}

TEST(ModelFile, WritesOnlyWhatItWouldRead) {
  const TemporaryFolder folder;
  DenoiseModel bad = model();
  bad.parameters[0].initial = std::nan("");
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad = model();
  bad.parameters.pop_back();
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  EXPECT_TRUE(tree(folder.path()).empty());
}

TEST(Fingerprint, DependsOnEveryByteAndTheLength) {
  std::vector<double> values{0.5, 0.25, 0.125};
  const auto reference = fingerprint(values);
  EXPECT_EQ(reference, fingerprint(values));
  for (std::size_t k = 0; k < values.size(); ++k) {
    auto changed = values;
    changed[k] = std::nextafter(changed[k], 1.0);
    EXPECT_NE(fingerprint(changed), reference);
  }
  std::string bytes(17, '\0');
  const auto sum = [&bytes] { return fingerprint(std::as_bytes(std::span(bytes))); };
  const auto before = sum();
  bytes.push_back('\0');
  EXPECT_NE(sum(), before);
  EXPECT_EQ(fingerprint_text(0xfu), "000000000000000f");
}

}  // namespace
}  // namespace bilevel_test
