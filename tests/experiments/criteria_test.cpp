// The verdicts of apps/experiments, the numbers they rest on, and results as files.

#include "apps/experiments/criteria.hpp"

#include <cmath>

#include "apps/experiments/legacy_random.hpp"
#include "apps/experiments/report.hpp"
#include "apps/experiments/result_file.hpp"
#include "apps/experiments/small_matrix.hpp"
#include "tests/apps/app_test_support.hpp"

namespace bilevel_app::experiments {
namespace {

using bilevel_test::get_file;
using bilevel_test::put_file;
using bilevel_test::TemporaryFolder;

void expect_verdict(const Row& row, Verdict verdict) {
  EXPECT_EQ(row.verdict, verdict) << row.quantity << ": " << row.criterion << ", " << row.why;
  EXPECT_EQ(row.why.empty(), verdict == Verdict::reproduced || verdict == Verdict::reported) << row.why;
  EXPECT_EQ(row.criterion.empty(), verdict == Verdict::reported);
}

TEST(Criteria, CanBeMetAndMissed) {
  const auto ok = Verdict::reproduced, bad = Verdict::not_reproduced;
  expect_verdict(relative_to({"f", 3.0, 2.0}, 2.001, 1e-3, "f*"), ok);
  expect_verdict(relative_to({"f", 3.0, 2.0}, 2.003, 1e-3, "f*"), bad);
  expect_verdict(relative_to({"f", {}, 2.0}, 1.997, 1e-3, "f*"), bad);
  expect_verdict(distance_to({"a", {}, -0.315}, -0.3149, 1e-3, "a*"), ok);
  expect_verdict(distance_to({"a", {}, -0.317}, -0.3149, 1e-3, "a*"), bad);
  expect_verdict(at_most({"n", {}, 15}, 15), ok);
  expect_verdict(at_most({"n", {}, 16}, 15), bad);
  expect_verdict(at_least({"n", {}, 3}, 3), ok);
  expect_verdict(at_least({"n", {}, 2.9}, 3), bad);
  for (const double inside : {1.0, 2.0, 3.0}) expect_verdict(between({"n", {}, inside}, 1, 3), ok);
  for (const double outside : {0.9, 3.1}) expect_verdict(between({"n", {}, outside}, 1, 3), bad);
  expect_verdict(below({"n", {}, 2.9}, 3, "below that"), ok);
  expect_verdict(below({"n", {}, 3}, 3, "below that"), bad);
  expect_verdict(reported({"n", {}, 3}), Verdict::reported);
}

TEST(Criteria, NumbersThatAreNotThereMeetNone) {
  for (const double none : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Quantity q{"q", {}, none};
    for (const Row& row : {relative_to(q, 1, 1, "one"), distance_to(q, 1, 1, "one"), at_most(q, 1),
                           at_least(q, 1), below(q, 1, "below"), against_exact(q, 0, 1, 1, "reason"),
                           at_most(q, HUGE_VAL), between(q, -HUGE_VAL, HUGE_VAL)})
      expect_verdict(row, Verdict::not_reproduced);
  }
  // a target that was never reached
  expect_verdict(relative_to({"q", {}, 1}, std::nan(""), 1, "none"), Verdict::not_reproduced);
  expect_verdict(at_most({"q", {}, 1}, std::nan("")), Verdict::not_reproduced);
}

TEST(Criteria, PublishedNumbersAreCorrectedOnlyByCertifiedOnes) {
  const auto judge = [](double published, double lower, double upper) {
    return against_exact({"f", published, (lower + upper) / 2}, lower, upper, 1e-3, "unfinished");
  };
  expect_verdict(judge(2.001, 2 - 1e-5, 2 + 1e-5), Verdict::reproduced);
  expect_verdict(judge(2.003, 2 - 1e-5, 2 + 1e-5), Verdict::corrected);
  EXPECT_EQ(judge(2.003, 2 - 1e-5, 2 + 1e-5).why, "unfinished");
  expect_verdict(judge(2.003, 1.9, 2.1), Verdict::not_reproduced);
  expect_verdict(judge(2, 1.9, 2.1), Verdict::not_reproduced);
  expect_verdict(against_exact({"f", 2.0, 2.1}, 2, 2, 1e-3, "outside of its enclosure"),
                 Verdict::not_reproduced);
}

TEST(Criteria, TheWorstRowDecides) {
  std::vector<Row> rows;
  EXPECT_EQ(verdict_of(rows), Verdict::reported);
  for (const Verdict v :
       {Verdict::reported, Verdict::reproduced, Verdict::corrected, Verdict::not_reproduced}) {
    rows.insert(rows.begin(), Row{"q", {}, {}, "c", v, ""});
    EXPECT_EQ(verdict_of(rows), v);
    EXPECT_EQ(verdict_from(name_of(v)), v);
  }
  EXPECT_THROW(static_cast<void>(verdict_from("maybe")), bilevel::ConfigError);
}

TEST(Criteria, ReasonsStandWithWhatWasMissed) {
  EXPECT_EQ(because(at_most({"n", {}, 2}, 3), "of this").why, "");
  EXPECT_EQ(because(at_most({"n", {}, 4}, 3), "of this").why, "more than 3: of this");
  EXPECT_EQ(because(at_most({"n", {}, HUGE_VAL}, 3), "of this").why, "there is no such number: of this");
  expect_verdict(without_criterion(at_most({"n", 1, 4}, 3)), Verdict::reported);
  EXPECT_EQ(without_criterion(at_most({"n", 1, 4}, 3)).ratio(), 4);
  const std::vector<Row> rows{at_most({"n", {}, 2}, 3), at_most({"n", {}, 4}, 3), at_most({"n", {}, 5}, 3),
                              reported({"n", {}, 1})};
  EXPECT_EQ(tally(rows), "1 reproduced, 2 not reproduced");
  EXPECT_EQ(tally({}), "");
}

TEST(Criteria, RatiosNeedTwoNumbers) {
  EXPECT_EQ((Row{"q", 2.0, 3.0, "", {}, ""}.ratio()), 1.5);
  EXPECT_FALSE((Row{"q", {}, 3.0, "", {}, ""}.ratio()));
  EXPECT_FALSE((Row{"q", 2.0, {}, "", {}, ""}.ratio()));
  EXPECT_FALSE((Row{"q", 0.0, 3.0, "", {}, ""}.ratio()));
}

/// What numpy 1.x prints for RandomState(0) and RandomState(42).
TEST(LegacyRandomNumbers, AreThoseOfNumpy) {
  LegacyRandom zero(0);
  for (const double expected : {0.5488135039273248, 0.7151893663724195, 0.6027633760716439})
    EXPECT_EQ(zero.uniform(), expected);
  LegacyRandom normal(0);
  for (const double expected : {1.764052345967664, 0.4001572083672233, 0.9787379841057392, 2.240893199201458})
    EXPECT_EQ(normal.normal(), expected);
  LegacyRandom other(42);
  EXPECT_EQ(other.uniform(-1, 1), -1 + 2 * 0.3745401188473625);
  EXPECT_EQ(LegacyRandom(42).normal(), 0.4967141530112327);
}

TEST(SmallMatrices, SolveNormalEquations) {
  LegacyRandom random(5);
  const RowMatrix a{7, 4, random.normal_vector(28)};
  const std::vector<double> x = random.normal_vector(4);
  const std::vector<double> again = solved(a.transposed_times(a), a.transposed_times(a.times(x)));
  for (std::size_t j = 0; j < x.size(); ++j) EXPECT_NEAR(again[j], x[j], 1e-12);
  EXPECT_THROW(static_cast<void>(solved(RowMatrix{2, 2, {1, 1, 1, 1}}, std::vector<double>{1, 1})),
               std::runtime_error);
}

SavedResult some_result(const std::string& id = "E7") {
  SavedResult saved{id,
                    "Title <of> it",
                    "A claim & more",
                    "Author 2021",
                    {},
                    "bilevel-experiments run " + id,
                    "cpu:2",
                    "0.2",
                    1.5,
                    true};
  saved.result.rows = {relative_to({"f <exact>", 2.0, 2.1}, 2, 1e-3, "f*"), reported({"work", {}, HUGE_VAL})};
  saved.result.notes = {"A note with \"quotes\"."};
  saved.result.curves = {
      {"Gap", {"work", false}, {"f", true}, {{"maid", {0, 1, 2}, {1, std::nan(""), 0.1}}}}};
  return saved;
}

TEST(ResultFiles, KeepEverything) {
  const TemporaryFolder folder;
  const SavedResult saved = some_result();
  write_result(folder.path(), saved);
  const SavedResult read = read_result(folder.path() / "E7" / "result.json");
  EXPECT_EQ(to_json(read).dump(), to_json(saved).dump());
  EXPECT_EQ(read.result.rows.at(0).verdict, Verdict::not_reproduced);
  EXPECT_EQ(read.result.rows.at(0).why, saved.result.rows.at(0).why);
  EXPECT_TRUE(read.quick);
  EXPECT_EQ(html_report(folder.path(), {read}), html_report(folder.path(), {read}));
  EXPECT_EQ(get_file(folder.path() / "E7" / "curves.svg"), bilevel::svg_plot(saved.result.curves));
}

/// Base64, RFC 4648.
std::string decoded(const std::string& text) {
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<unsigned>(letters.find(c));
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 255);
  }
  return bytes;
}

TEST(ResultFiles, KeepPictures) {
  const TemporaryFolder folder;
  SavedResult saved = some_result();
  saved.result.pictures = {{"strip", "Left & right", {1, 2, 3, {0, 0.5, 1, 1, 0.5, 0}}}};
  write_result(folder.path(), saved);
  const std::filesystem::path file = folder.path() / "E7/strip.png";
  EXPECT_EQ(bilevel::read_image(file).pixels.at(2), 1);
  EXPECT_EQ(to_json(read_result(folder.path() / "E7/result.json")).dump(), to_json(saved).dump());
  const std::string page = get_file(write_report(folder.path())), before = "src=\"data:image/png;base64,";
  EXPECT_NE(page.find("Left &amp; right"), std::string::npos);
  const std::size_t begin = page.find(before) + before.size();
  EXPECT_EQ(decoded(page.substr(begin, page.find('"', begin) - begin)), get_file(file));
  std::filesystem::remove(file);
  EXPECT_THROW(static_cast<void>(write_report(folder.path())), bilevel::IoError);
  saved.result.pictures.front().name = "../strip";
  put_file(folder.path() / "E7/result.json", to_json(saved).dump());
  EXPECT_THROW(static_cast<void>(read_results(folder.path())), bilevel::IoError);
}

TEST(ResultFiles, DamagedOnesAreRefusedInOneSentence) {
  const TemporaryFolder folder;
  write_result(folder.path(), some_result());
  const std::filesystem::path file = folder.path() / "E7" / "result.json";
  const std::string whole = get_file(file);
  const auto replaced = [&whole](const std::string& what, const std::string& by) {
    std::string text = whole;
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), by);
  };
  const std::vector<std::string> damaged{
      "",
      whole.substr(0, whole.size() / 2),
      "[]",
      "null",
      "{}",
      "\xff\xfe",
      replaced("\"rows\"", "\"lines\""),
      replaced("\"not reproduced\",\n   \"why\"", "\"perhaps\",\n   \"why\""),
      replaced("\"format\": 1", "\"format\": 9"),
      replaced("\"seconds\": 1.5", "\"seconds\": \"long\""),
      replaced("\"published\": 2.0", "\"published\": [2]"),
      replaced("0,\n", "0,\n 0.5,\n")};
  for (const std::string& text : damaged) {
    put_file(file, text);
    try {
      static_cast<void>(read_results(folder.path()));
      ADD_FAILURE() << text.substr(0, 60);
    } catch (const bilevel::IoError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("E7/result.json: the result is damaged ("), std::string::npos) << what;
      EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
    EXPECT_TRUE(read_results(folder.path(), {"E7"}).empty());
  }
}

TEST(ResultFiles, AreInTheFolderOfTheirExperiment) {
  const TemporaryFolder folder;
  write_result(folder.path(), some_result("E7"));
  std::filesystem::rename(folder.path() / "E7", folder.path() / "E8");
  EXPECT_THROW(static_cast<void>(read_results(folder.path())), bilevel::IoError);
}

TEST(Reports, OrderByNumberAndStandAlone) {
  const TemporaryFolder folder;
  for (const char* id : {"E14", "E2", "E7"}) write_result(folder.path(), some_result(id));
  std::filesystem::create_directories(folder.path() / "other");  // no result
  const std::vector<SavedResult> results = read_results(folder.path());
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].id + results[1].id + results[2].id, "E2E7E14");
  const std::string page = get_file(write_report(folder.path()));
  for (const char* part : {"<h2 id=\"E2\">", "Title &lt;of&gt; it", "A claim &amp; more", "f &lt;exact&gt;",
                           "<svg ", "off by 0.05", "&quot;quotes&quot;", "(rows: 1 not reproduced)", ">none<",
                           "of the quick form", "class=\"not-reproduced\""})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  for (const char* part : {"<script", "<link", "<img", "src=", "@import", "url(", "<of>"})
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  std::size_t outside = 0;
  for (std::size_t at = 0; (at = page.find("://", at)) != std::string::npos; ++at) ++outside;
  EXPECT_EQ(outside, 3u) << "the namespace of each SVG, and nothing else";
}

}  // namespace
}  // namespace bilevel_app::experiments
