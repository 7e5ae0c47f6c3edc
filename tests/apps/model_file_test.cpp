#include "bilevel/model/model_file.hpp"

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_test {
namespace {

using namespace bilevel;

DenoiseModel model() {
  DenoiseModel m;
  m.options = TvOptions{TvPotential::huber_c2, false, true};
  m.parameters = tv_parameters().segments();
  m.parameters[0].initial = 0.1 / 3;
  m.training = {
      {"sigma", 0.1}, {"images", std::int64_t{25}}, {"algorithm", std::string("maid")}, {"mask", false}};
  m.data = {{"a.png", "b.png"}, 25, 96, 96, 0x0123456789abcdefu};
  return m;
}

/// 3 filters of 5 x 5 taps, values that decimal fractions do not hold.
DenoiseModel experts() {
  DenoiseModel m = model();
  m.options = ExpertsOptions{FilterPadding::valid, TvPotential::huber_c2, false};
  m.parameters = experts_parameters(3, 5, FilterInit::random, 0.1 / 3, 0.01 / 7, 4).segments();
  return m;
}

/// Differences with their own smoothings, filters between them.
DenoiseModel sum() {
  DenoiseModel m = model();
  const TvOptions first{TvPotential::huber_c2, false, true},
      third{TvPotential::quadratic, true, false, TvDifferences::first};
  m.options = RegulariserSum({first, ExpertsOptions{FilterPadding::valid}, third});
  m.parameters = joined_parameters({tv_parameters(first),
                                    experts_parameters(3, 5, FilterInit::random, 0.1 / 3, 0.01 / 7, 4),
                                    tv_parameters(third)})
                     .segments();
  return m;
}

struct Change {
  const char* key;  ///< that the message names
  std::function<void(Json&)> change;
};

/// Each change of the file of a model is refused with a message that names the file and the key.
void expect_refused(const DenoiseModel& good_model, const std::vector<Change>& changes) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", good_model);
  const Json good = Json::parse(get_file(folder / "model.json"));
  for (std::size_t k = 0; k < changes.size(); ++k) {
    SCOPED_TRACE(std::to_string(k) + " " + changes[k].key);
    Json bad = good;
    changes[k].change(bad);
    put_file(folder / "bad.json", bad.dump(2));
    try {
      read_model(folder / "bad.json");
      ADD_FAILURE() << "accepted";
    } catch (const IoError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("bad.json"), std::string::npos) << what;
      EXPECT_NE(what.find("'" + std::string(changes[k].key) + "'"), std::string::npos) << what;
    }
  }
}

TEST(ModelFile, RoundTrips) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", model());
  const DenoiseModel read = read_model(folder / "model.json"), wanted = model();
  const auto& options = std::get<TvOptions>(read.options.parts.at(0));
  EXPECT_EQ(options.potential, TvPotential::huber_c2);
  EXPECT_EQ(options.isotropic, false);
  EXPECT_EQ(options.xi_inside_alpha, true);
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

TEST(ModelFile, RefusesWhatIsWrongByName) {
  expect_refused(model(), {
                              {"format", [](Json& j) { j["format"] = "other"; }},
                              {"format_version", [](Json& j) { j["format_version"] = 2; }},
                              {"format_version", [](Json& j) { j.erase("format_version"); }},
                              {"model", [](Json& j) { j["model"] = "fields"; }},
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
                          });
}

TEST(ModelFile, FieldsOfExpertsRoundTrip) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", experts());
  const DenoiseModel read = read_model(folder / "model.json"), wanted = experts();
  const auto& options = std::get<ExpertsOptions>(read.options.parts.at(0));
  EXPECT_EQ(options.padding, FilterPadding::valid);
  EXPECT_EQ(options.potential, TvPotential::huber_c2);
  EXPECT_EQ(options.zero_mean, false);
  ASSERT_EQ(read.parameters.size(), wanted.parameters.size());
  for (std::size_t k = 0; k < wanted.parameters.size(); ++k) {
    const Segment &r = read.parameters[k], &w = wanted.parameters[k];
    EXPECT_EQ(r.name, w.name);
    EXPECT_EQ(r.transform, w.transform);
    EXPECT_EQ(r.shape, w.shape);
    EXPECT_EQ(r.values, w.values);
    EXPECT_EQ(r.lower, w.lower);
    EXPECT_EQ(r.upper, w.upper);
    EXPECT_EQ(r.learned, w.learned);
  }
  EXPECT_EQ(read.value("mu"), 1e-3);
  EXPECT_THROW(static_cast<void>(read.value("weight")), ConfigError);
  const std::string first = get_file(folder / "model.json");
  write_model(folder / "model.json", read);
  EXPECT_EQ(get_file(folder / "model.json"), first);
}

TEST(ModelFile, SumsRoundTrip) {
  const TemporaryFolder folder;
  write_model(folder / "model.json", sum());
  const DenoiseModel read = read_model(folder / "model.json"), wanted = sum();
  EXPECT_EQ(model_type(read.options), "tv-aniso+foe+h1");
  ASSERT_EQ(read.options.parts.size(), 3u);
  for (const std::size_t k : {0u, 2u})
    EXPECT_EQ(std::get<TvOptions>(read.options.parts[k]), std::get<TvOptions>(wanted.options.parts[k]));
  EXPECT_EQ(std::get<ExpertsOptions>(read.options.parts[1]).padding, FilterPadding::valid);
  std::vector<std::string> names;
  for (std::size_t k = 0; k < read.parameters.size(); ++k) {
    names.push_back(read.parameters[k].name);
    EXPECT_EQ(read.parameters[k].initial, wanted.parameters[k].initial);
    EXPECT_EQ(read.parameters[k].values, wanted.parameters[k].values);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"alpha", "nu", "xi", "2.weight", "2.smoothing", "2.filters",
                                             "3.alpha"}));
  const std::string first = get_file(folder / "model.json");
  write_model(folder / "model.json", read);
  EXPECT_EQ(get_file(folder / "model.json"), first);
  const Json json = Json::parse(first);
  EXPECT_EQ(json["model"], "tv-aniso+foe+h1");
  EXPECT_EQ(json["parts"][0]["xi_inside_alpha"], true);
  EXPECT_EQ(json["parts"][1]["padding"], "valid");
  EXPECT_EQ(json["parts"][2]["potential"], "quadratic");
  EXPECT_EQ(json["conventions"]["energy"],
            "1/2 |x - y|^2 + alpha (sum_p rho(|(Dx x, Dy x)_p|; nu) + xi/2 |x|^2) + sum_k 2.weight_k sum_p "
            "rho((c_k * x)_p; 2.smoothing_k) (* cross-correlation, c_k = 2.filters_k minus its mean) + "
            "3.alpha sum_p rho(|(Dx x, Dy x)_p|)");
}

TEST(ModelFile, RefusesSumsThatDoNotFitTogether) {
  expect_refused(sum(),
                 {
                     {"model", [](Json& j) { j["model"] = "tv-aniso+foe+lasso"; }},
                     {"model", [](Json& j) { j["model"] = "tv-aniso+foe+"; }},
                     {"model", [](Json& j) { j["model"] = "tv-aniso+foe+foe"; }},
                     {"model", [](Json& j) { j["model"] = "tv+tv2+tv+tv2+h1"; }},
                     {"potential", [](Json& j) { j["model"] = "tv-aniso"; }},
                     {"parts", [](Json& j) { j["model"] = "tv-aniso+foe"; }},
                     {"parts[2].model", [](Json& j) { j["model"] = "tv-aniso+foe+tv"; }},
                     {"parts", [](Json& j) { j.erase("parts"); }},
                     {"parts", [](Json& j) { j["parts"] = 3; }},
                     {"parts", [](Json& j) { j["parts"].erase(1); }},
                     {"parts", [](Json& j) { j["parts"].push_back(j["parts"][0]); }},
                     {"parts[1]", [](Json& j) { j["parts"][1] = "foe"; }},
                     {"parts[1].model", [](Json& j) { j["parts"][1]["model"] = "lasso"; }},
                     {"parts[1].padding", [](Json& j) { j["parts"][1].erase("padding"); }},
                     {"parts[0].isotropic", [](Json& j) { j["parts"][0]["isotropic"] = true; }},
                     {"parts[2].potential", [](Json& j) { j["parts"][2]["potential"] = "huber_c2"; }},
                     {"parts[2].xi_inside_alpha", [](Json& j) { j["parts"][2]["xi_inside_alpha"] = true; }},
                     {"theta", [](Json& j) { j["theta"].erase(2); }},
                     {"theta", [](Json& j) { j["theta"].erase(3); }},
                     {"theta", [](Json& j) { j["theta"].erase(6); }},
                     {"theta", [](Json& j) { j["theta"][6]["name"] = "2.alpha"; }},
                     {"theta", [](Json& j) { j["theta"][6]["name"] = "3.xi"; }},
                     {"theta",
                      [](Json& j) {
                        j["theta"][3]["shape"] = {1, 3};
                      }},
                 });
}

TEST(ModelFile, ListsOfNumbersStandOnALineAndTextsStayAsTheyAre) {
  const TemporaryFolder folder;
  DenoiseModel m = experts();
  m.data.files = {"a [1, 2]\n [ 3 ].png", "[", "]"};
  write_model(folder / "model.json", m);
  EXPECT_EQ(read_model(folder / "model.json").data.files, m.data.files);
  const std::string text = get_file(folder / "model.json");
  EXPECT_NE(text.find("\"shape\": [3, 5, 5],\n"), std::string::npos) << text;
  EXPECT_LT(lines_of(text).size(), 75u);
}

TEST(ModelFile, RefusesFieldsOfExpertsThatDoNotFitTogether) {
  const auto shape = [](int segment, std::vector<std::int64_t> extents) {
    return [=](Json& j) { j["theta"][static_cast<std::size_t>(segment)]["shape"] = extents; };
  };
  /// Shapes with as many values as they ask for.
  const auto resized = [](std::vector<int> weight, std::vector<int> filters) {
    return [=](Json& j) {
      for (auto [segment, extents] : {std::pair(0, weight), std::pair(1, weight), std::pair(2, filters)}) {
        Json& s = j["theta"][static_cast<std::size_t>(segment)];
        std::size_t count = 1;
        for (int e : extents) count *= static_cast<std::size_t>(e);
        s["shape"] = extents;
        s["values"] = std::vector<double>(count, 0.5);
      }
    };
  };
  expect_refused(experts(), {
                                {"model", [](Json& j) { j["model"] = "foes"; }},
                                {"isotropic", [](Json& j) { j["model"] = "tv"; }},
                                {"padding", [](Json& j) { j["padding"] = "zero"; }},
                                {"padding", [](Json& j) { j.erase("padding"); }},
                                {"zero_mean", [](Json& j) { j["zero_mean"] = 1; }},
                                {"theta", [](Json& j) { j["theta"].erase(0); }},
                                {"theta", [](Json& j) { j["theta"].erase(3); }},
                                {"theta", [](Json& j) { j["theta"][0]["name"] = "alpha"; }},
                                {"theta", [](Json& j) { j["theta"][0]["name"] = "smoothing"; }},
                                {"theta[0].value", [](Json& j) { j["theta"][0].erase("shape"); }},
                                {"theta",
                                 [](Json& j) {
                                   j["theta"][0].erase("shape");
                                   j["theta"][0]["value"] = 0.1;
                                 }},
                                {"theta[3].values", [](Json& j) { j["theta"][3]["shape"] = {1}; }},
                                {"theta[2].shape", [](Json& j) { j["theta"][2]["shape"] = "3x5x5"; }},
                                {"theta[2].shape", shape(2, {})},
                                {"theta[2].shape", shape(2, {3, 5, 5, 1})},
                                {"theta[2].shape", shape(2, {1000000000, 1000000000, 1000000000})},
                                {"theta[2].shape", shape(2, {3, -5, 5})},
                                {"theta[2].shape", shape(2, {0, 5, 5})},
                                {"theta[2].shape", [](Json& j) { j["theta"][2]["shape"][1] = 5.5; }},
                                {"theta[2].values", shape(2, {64, 64, 64})},
                                {"theta[2].values", shape(2, {3, 5, 7})},
                                {"theta", shape(2, {5, 3, 5})},
                                {"theta", resized({3}, {27})},
                                {"theta[0].values", shape(0, {2})},
                                {"theta", resized({2}, {3, 5, 5})},
                                {"theta", resized({3}, {3, 4, 4})},
                                {"theta", resized({3}, {3, 1, 1})},
                                {"theta", resized({3}, {3, 13, 13})},
                                {"theta", resized({3}, {3, 64, 64})},
                                {"theta[0].values", [](Json& j) { j["theta"][0]["values"] = 0.1; }},
                                {"theta[0].values", [](Json& j) { j["theta"][0]["values"].push_back(0.1); }},
                                {"theta[0].values[1]", [](Json& j) { j["theta"][0]["values"][1] = nullptr; }},
                                {"theta[0].values[1]", [](Json& j) { j["theta"][0]["values"][1] = 1e6; }},
                                {"theta[1].values[2]", [](Json& j) { j["theta"][1]["values"][2] = -0.1; }},
                                {"theta",
                                 [](Json& j) {
                                   j["theta"][1]["lower"] = nullptr;
                                   j["theta"][1]["learned"] = false;
                                   j["theta"][1]["values"][2] = 0;
                                 }},
                                {"theta[2].values[74]", [](Json& j) { j["theta"][2]["values"][74] = "0"; }},
                                {"theta[2].values[74]", [](Json& j) { j["theta"][2]["values"][74] = -1e9; }},
                                {"theta[3].value", [](Json& j) { j["theta"][3]["value"] = -1; }},
                            });
}

/// Bytes changed, cut out and doubled: a model that could be written again, or a refusal.
TEST(ModelFile, DamagedFilesAreRefusedOrHarmless) {
  const unsigned seed = 20;
  std::mt19937 generator(seed);
  const TemporaryFolder folder;
  int refused = 0, harmless = 0;
  for (const DenoiseModel& good : {model(), experts(), sum()}) {
    write_model(folder / "model.json", good);
    const std::string text = get_file(folder / "model.json");
    for (int trial = 0; trial < 400; ++trial) {
      std::string bad = text;
      const std::size_t at = generator() % bad.size(), length = 1 + generator() % 40;
      if (const unsigned kind = generator() % 4; kind == 0) {
        bad[at] = static_cast<char>(generator());
      } else if (kind == 1) {
        bad.erase(at, length);
      } else if (kind == 2) {
        bad.insert(at, bad.substr(generator() % bad.size(), length));
      } else {
        bad[at] = "0123456789-.e,[]{}\"n"[generator() % 20];
      }
      put_file(folder / "bad.json", bad);
      SCOPED_TRACE("seed " + std::to_string(seed) + ", trial " + std::to_string(trial));
      try {
        const DenoiseModel read = read_model(folder / "bad.json");
        EXPECT_NO_THROW(write_model(folder / "again.json", read));
        ++harmless;
      } catch (const IoError& error) {
        EXPECT_NE(std::string(error.what()).find("bad.json"), std::string::npos);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 200);
  EXPECT_GT(harmless, 40);
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
  bad = experts();
  bad.parameters[2].values[7] = std::nan("");
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad = experts();
  bad.options = TvOptions{};
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad = model();
  bad.parameters.pop_back();
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad = sum();
  std::swap(bad.options.parts[0], bad.options.parts[1]);
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad = sum();
  bad.parameters.pop_back();
  EXPECT_THROW(write_model(folder / "model.json", bad), ConfigError);
  bad.options.parts.clear();
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
