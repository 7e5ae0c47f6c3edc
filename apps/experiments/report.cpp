#include "apps/experiments/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>

#include "apps/common/text.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"

namespace bilevel_app::experiments {

namespace fs = std::filesystem;

namespace {

constexpr const char* kStyle = R"(
body { font: 15px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1c2430; background: #fff;
  max-width: 68em; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.25em; margin-top: 2.4em; border-top: 1px solid #d9dee5; padding-top: 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #e6e9ee; }
th { font-weight: 600; color: #4b5666; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.c { min-width: 9em; }
.wide { overflow-x: auto; }
.reproduced { color: #176b3a; } .corrected { color: #8a5a00; } .not-reproduced { color: #b3261e; font-weight: 600; }
.reproduced, .corrected, .not-reproduced { white-space: nowrap; }
.no-criterion, .small { color: #66707f; } .small { font-size: .9em; }
code { background: #f3f5f8; padding: .1em .35em; border-radius: 3px; }
ul { padding-left: 1.2em; } svg, img { max-width: 100%; height: auto; }
figure { margin: 1em 0; }
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

/// Whole numbers as they are, others with as many digits as the comparison needs.
std::string number(double value, bool compared) {
  if (value == std::round(value) && std::abs(value) < 1e15) return format("%.0f", value);
  return compared ? format("%.9g", value) : format("%.5g", value);
}
std::string published_text(const Row& row) { return row.published ? number(*row.published, true) : ""; }
std::string ours_text(const Row& row) {
  if (!row.ours || !std::isfinite(*row.ours)) return "none";
  const std::optional<double> ratio = row.ratio();
  return number(*row.ours, ratio && std::abs(*ratio - 1) < 1e-2);
}
std::string ratio_text(const Row& row) {
  const std::optional<double> ratio = row.ratio();
  return ratio && std::isfinite(*ratio) ? number(*ratio, false) : "";
}

/// The verdict with its colour, a class of the style.
std::string coloured(Verdict verdict) {
  std::string kind = name_of(verdict);
  for (char& c : kind)
    if (c == ' ') c = '-';
  return "<span class=\"" + kind + "\">" + name_of(verdict) + "</span>";
}

std::string cell(const std::string& content, bool is_number = false) {
  return (is_number ? "<td class=\"n\">" : "<td>") + content + "</td>";
}

std::string html_row(const Row& row) {
  const std::string why = row.why.empty() ? "" : "<br><span class=\"small\">" + escaped(row.why) + "</span>";
  return "<tr>" + cell(escaped(row.quantity)) + cell(published_text(row), true) + cell(ours_text(row), true) +
         cell(ratio_text(row), true) + "<td class=\"c\">" + escaped(row.criterion) + "</td>" +
         cell(coloured(row.verdict) + why) + "</tr>\n";
}

std::string duration(double seconds) {
  return seconds < 120 ? format("%.1f s", seconds) : format("%.1f min", seconds / 60);
}

/// RFC 4648.
std::string base64(const std::string& bytes) {
  constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < count ? static_cast<unsigned char>(bytes[at + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? letters[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string figure(const fs::path& file, const std::string& caption) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream || bytes.empty())
    throw bilevel::IoError(file.string(),
                           "the picture of a result cannot be read; run its experiment again.");
  return "<figure><img alt=\"\" src=\"data:image/png;base64," + base64(bytes) +
         "\"><figcaption class=\"small\">" + escaped(caption) + "</figcaption></figure>\n";
}

std::string section(const fs::path& folder, const SavedResult& s) {
  std::string out = "<h2 id=\"" + escaped(s.id) + "\">" + escaped(s.id) + ". " + escaped(s.title) + "</h2>\n";
  out += "<p>" + escaped(s.claim) + " <span class=\"small\">(" + escaped(s.source) + ")</span></p>\n";
  out += "<p>Verdict: " + coloured(verdict_of(s.result.rows)) + " (rows: " + tally(s.result.rows) + ")" +
         (s.quick ? ", of the quick form" : "") +
         ".</p>\n<div class=\"wide\"><table>\n<tr><th>quantity</th><th class=\"n\">published</th>"
         "<th class=\"n\">ours</th><th class=\"n\">ratio</th><th>criterion</th><th>verdict</th></tr>\n";
  for (const Row& row : s.result.rows) out += html_row(row);
  out += "</table></div>\n";
  if (!s.result.curves.empty())
    out += "<div class=\"wide\">" + bilevel::svg_plot(s.result.curves) + "</div>\n";
  for (const Picture& p : s.result.pictures) out += figure(picture_file(folder, s.id, p), p.caption);
  if (!s.result.notes.empty()) {
    out += "<ul class=\"small\">\n";
    for (const std::string& note : s.result.notes) out += "<li>" + escaped(note) + "</li>\n";
    out += "</ul>\n";
  }
  return out + "<p class=\"small\">" + duration(s.seconds) + " on " + escaped(s.device) + ", bilevel " +
         escaped(s.version) + ". Again: <code>" + escaped(s.command) + "</code></p>\n";
}

std::string overview(const std::vector<SavedResult>& results) {
  std::string out =
      "<table>\n<tr><th></th><th>experiment</th><th>source</th><th>verdict</th><th>rows</th><th "
      "class=\"n\">time</th></tr>\n";
  for (const SavedResult& s : results)
    out += "<tr>" + cell("<a href=\"#" + escaped(s.id) + "\">" + escaped(s.id) + "</a>") +
           cell(escaped(s.title)) + cell(escaped(s.source)) +
           cell(coloured(verdict_of(s.result.rows)) + (s.quick ? " (quick)" : "")) +
           cell(tally(s.result.rows)) + cell(duration(s.seconds), true) + "</tr>\n";
  return out + "</table>\n";
}

}  // namespace

std::string text_report(const SavedResult& s) {
  std::string out = s.id + ". " + s.title + ": " + name_of(verdict_of(s.result.rows)) +
                    format(" (rows: %s; %s)\n", tally(s.result.rows).c_str(), duration(s.seconds).c_str());
  std::vector<std::vector<std::string>> cells{
      {"quantity", "published", "ours", "ratio", "criterion", "verdict"}};
  for (const Row& row : s.result.rows)
    cells.push_back({row.quantity, published_text(row), ours_text(row), ratio_text(row), row.criterion,
                     name_of(row.verdict) + (row.why.empty() ? std::string() : ": " + row.why)});
  return out + table(cells);
}

std::string html_report(const fs::path& folder, const std::vector<SavedResult>& results) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Published experiments, repeated</title>\n<style>" +
      std::string(kStyle) + "</style>\n</head>\n<body>\n<h1>Published experiments, repeated</h1>\n" +
      "<p>Each row compares a published number with ours by a criterion stated beforehand. "
      "<span class=\"reproduced\">reproduced</span>: ours meets the criterion. "
      "<span class=\"corrected\">corrected</span>: the published number is not what it is said to be, and "
      "ours is certified. <span class=\"not-reproduced\">not reproduced</span>: ours does not meet it. "
      "Work is in operator applications: gradients, Hessian products and other passes, each over one "
      "image.</p>\n" +
      overview(results);
  for (const SavedResult& s : results) out += section(folder, s);
  return out + "</body>\n</html>\n";
}

fs::path write_report(const fs::path& folder) {
  const std::vector<SavedResult> results = read_results(folder);
  if (results.empty())
    throw bilevel::IoError(folder.string(),
                           "the folder holds no results; make some with bilevel-experiments run.");
  const fs::path page = folder / "index.html";
  bilevel::write_file_atomically(page, html_report(folder, results));
  return page;
}

}  // namespace bilevel_app::experiments
