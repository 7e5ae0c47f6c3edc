// What bilevel-mri prints and logs, against an independent computation in double from the same file: several
// coils whose maps have phase and whose power is not 1, complex images, and values far from 1.

#include <numeric>

#include "apps/common/text.hpp"
#include "apps/mri/mri_data.hpp"
#include "apps/mri/problem.hpp"
#include "bilevel/learn/baseline_patterns.hpp"
#include "bilevel/model/sampling_pattern.hpp"
#include "tests/apps/mri_in_process.hpp"
#include "tests/apps/mri_number_oracle.hpp"
#include "tests/oracle/mri_oracle.hpp"
#include "tests/support/mri_setup.hpp"
#include "tests/support/reference_case.hpp"

namespace bilevel_test {
namespace {

using bilevel::oracle::Image;
using bilevel::oracle::MriProblem;

constexpr int n = 3;
constexpr double unit = 370;  // of the file

class MriNumbers : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    scan_ = make_scan();
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string file(const std::string& name) { return *folder_ / name; }

  /// Writes scan.h5 and maps.npy, and returns what follows from their bytes: truth and k-space scaled so that
  /// the largest magnitude of the set is 1, zero frequency at [0,0].
  static MriProblem make_scan() {
    MriProblem m;
    m.n = n, m.h = h, m.w = w, m.complex_image = true, m.coils = 2;
    bilevel::testing_support::Random random(7);
    Complexes maps;
    for (int c = 0; c < 2; ++c)
      for (int p = 0; p < pixels; ++p)
        maps.push_back(
            std::polar(1.7 - 0.12 * (c == 0 ? p % w : p / w), 0.3 * (p / w) - 0.25 * (c + 1) * (p % w) + c));
    bilevel::write_npy(file("maps.npy"), std::vector<std::size_t>{2, h, w},
                       std::span<const std::complex<double>>(maps));
    std::vector<std::complex<float>> scan;
    for (int k = 0; k < n; ++k) {
      Complexes image;
      for (int p = 0; p < pixels; ++p) {
        const double y = (2.0 * (p / w) + 1) / h - 1, x = (2.0 * (p % w) + 1) / w - 1;
        const double v = y * y / 0.7 + x * x / 0.6 < 1 ? 0.5 + 0.2 * (k + 1) * (x > 0.1 * k) : 0;
        image.push_back(std::polar(unit * v, 0.4 * x - 0.9 * y * k));
      }
      for (int c = 0; c < 2; ++c) {
        Complexes coil;
        for (int p = 0; p < pixels; ++p)
          coil.push_back(image[static_cast<std::size_t>(p)] * maps[static_cast<std::size_t>(c * pixels + p)] +
                         0.01 * unit * std::complex<double>(random.normal(), random.normal()));
        for (const auto& v : centred_transform(coil, -1)) scan.emplace_back(v);
      }
    }
    write_hdf5(file("scan.h5"), "kspace", {n, 2, h, w}, scan);

    double largest = 0;
    for (int c = 0; c < 2; ++c) {
      const auto map = planes(Complexes(maps.begin() + c * pixels, maps.begin() + (c + 1) * pixels));
      m.maps.insert(m.maps.end(), map.begin(), map.end());
    }
    for (int k = 0; k < n; ++k) {
      Complexes sum(pixels);
      std::vector<double> power(pixels, 0.0);
      for (int c = 0; c < 2; ++c) {
        const auto at = scan.begin() + (k * 2 + c) * pixels;
        const Complexes coil = centred_transform(Complexes(at, at + pixels), 1);
        for (std::size_t p = 0; p < pixels; ++p) {
          const auto s = maps[static_cast<std::size_t>(c) * pixels + p];
          sum[p] += std::conj(s) * coil[p], power[p] += std::norm(s);
        }
        const auto y = bilevel::oracle::fourier(h, w, planes(coil));
        m.y.insert(m.y.end(), y.begin(), y.end());
      }
      for (std::size_t p = 0; p < pixels; ++p) sum[p] /= power[p];
      const auto truth = planes(sum);
      largest = std::max(largest, largest_magnitude(truth));
      m.x_true.insert(m.x_true.end(), truth.begin(), truth.end());
    }
    for (auto* values : {&m.y, &m.x_true})
      for (double& v : *values) v /= largest;
    m.nu = m.xi = m.alpha = 0.01;
    m.learn_alpha = true;
    m.sampling.assign(pixels, 1.0);
    return m;
  }

  /// sum_c conj(s_c) F^* M y_c / sum_c |s_c|^2.
  static Image zero_filled(const MriProblem& m, int image) {
    Image y = m.data(image);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] *= m.sampling[i % pixels];
    Image x = bilevel::oracle::encode_adjoint(m, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      double power = 0;
      for (std::size_t c = 0; c < 4; ++c) power += std::pow(m.maps[c * pixels + i % pixels], 2);
      x[i] /= power;
    }
    return x;
  }
  struct Means {
    double psnr = 0, ssim = 0;
  };
  template <class F>
  static Means means(const MriProblem& m, const F& image) {
    Means mean;
    for (int k = 0; k < n; ++k) {
      const Image x = image(k), truth = m.truth(k);
      mean.psnr += psnr_of(x, truth) / n, mean.ssim += ssim_of(x, truth) / n;
    }
    return mean;
  }
  static void expect_quality(const Json& json, const Means& mean, const char* what) {
    EXPECT_NEAR(json["psnr"].get<double>(), mean.psnr, 0.01) << what;
    EXPECT_NEAR(json["ssim"].get<double>(), mean.ssim, 1e-3) << what;
  }

  static std::vector<std::string> scan(std::vector<std::string> a, const std::vector<std::string>& more) {
    a.insert(a.end(),
             {"--data", file("scan.h5"), "--sensitivities", file("maps.npy"), "--sigma", "0", "--json"});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }

  static TemporaryFolder* folder_;
  static MriProblem scan_;
};
TemporaryFolder* MriNumbers::folder_ = nullptr;
MriProblem MriNumbers::scan_;

TEST_F(MriNumbers, TruthAndKspaceAreScaledTogether) {
  bilevel_app::mri::DataOptions o;
  o.data = {file("scan.h5")};
  o.sensitivities = file("maps.npy");
  const auto data = load_data(o);
  ASSERT_EQ(data.truth.size(), scan_.x_true.size());
  for (std::size_t i = 0; i < data.truth.size(); ++i) ASSERT_NEAR(data.truth[i], scan_.x_true[i], 1e-12);
  double largest = 0;
  for (std::size_t i = 0; i < data.kspace.size(); ++i) {
    const std::size_t at = i / pixels * 2 * pixels + i % pixels;
    ASSERT_NEAR(data.kspace[i].real(), scan_.y[at], 1e-11);
    ASSERT_NEAR(data.kspace[i].imag(), scan_.y[at + pixels], 1e-11);
  }
  for (int k = 0; k < n; ++k) largest = std::max(largest, largest_magnitude(scan_.truth(k)));
  EXPECT_EQ(largest, 1);
}

TEST_F(MriNumbers, OfABaseline) {
  const Outcome o = mri_here(scan({"baseline"}, {"--pattern", "largest", "--rate", "0.45", "--accuracy",
                                                 "1e-7", "--out", file("baseline")}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json summary = Json::parse(o.out);
  EXPECT_EQ(summary, summary_of(file("baseline")));

  MriProblem m = scan_;  // the 36 largest mean energies
  std::vector<double> energy(pixels, 0.0);
  for (std::size_t i = 0; i < m.y.size(); ++i) energy[i % pixels] += m.y[i] * m.y[i];
  std::vector<double> sorted = energy;
  std::sort(sorted.rbegin(), sorted.rend());
  for (std::size_t j = 0; j < pixels; ++j) m.sampling[j] = energy[j] > sorted[36] ? 1 : 0;
  EXPECT_EQ(std::accumulate(m.sampling.begin(), m.sampling.end(), 0.0), 36);
  EXPECT_EQ(summary["rate"], 36.0 / pixels);
  EXPECT_EQ(summary["sigma"], 0);
  const Json model = Json::parse(get_file(file("baseline/model.json")));
  EXPECT_EQ(model["theta"]["s"].get<std::vector<double>>(), m.sampling);
  EXPECT_EQ(model["theta"]["alpha"], summary["alpha"]);

  // The log: each line at its alpha; only alpha is learned.
  std::uint64_t operators = 0;
  const auto lines = log_of_run(file("baseline"));
  ASSERT_GE(lines.size(), 2u);
  for (const Json& line : lines) {
    m.alpha = line["theta"]["alpha"];
    auto exact = bilevel::oracle::exact_hypergradient(m);
    const double slope = exact.hypergradient.back();
    EXPECT_LE(line["loss_lower"].get<double>(), exact.f * (1 + 1e-9));
    EXPECT_GE(line["loss_upper"].get<double>(), exact.f * (1 - 1e-9));
    EXPECT_LT(line["loss_upper"].get<double>() - line["loss_lower"].get<double>(), 0.2 * exact.f);
    EXPECT_NEAR(line["gradient_norm"].get<double>(), std::abs(slope),
                line["error_bound"].get<double>() + 1e-9 * std::abs(slope));
    EXPECT_LT(line["error_bound"].get<double>(), 0.5 * std::abs(slope) + 1e-2);
    operators = line["lower_gradients"].get<std::uint64_t>() + line["hessian_products"].get<std::uint64_t>() +
                line["other_operators"].get<std::uint64_t>();
  }
  EXPECT_EQ(summary["operators"], operators);
  EXPECT_EQ(summary["lower_level_solves"], lines.back()["lower_solves"]);
  EXPECT_EQ(summary["stages"][0]["operators"], operators);
  EXPECT_EQ(summary["iterations"], lines.back()["iteration"]);
  for (const char* key : {"loss", "loss_lower", "loss_upper", "gradient_norm", "error_bound"})
    EXPECT_EQ(summary["stages"][0][key], lines.back()[key]) << key;
  for (const char* key : {"loss", "loss_lower", "loss_upper"})
    EXPECT_EQ(summary[key], lines.back()[key]) << key;

  m.alpha = summary["alpha"];
  expect_quality(summary["training"]["zero_filled"], means(m, [&](int k) { return zero_filled(m, k); }),
                 "zero-filled");
  expect_quality(summary["training"]["binary"],
                 means(m, [&](int k) { return bilevel::oracle::minimise(m, m.data(k)).x; }),
                 "reconstruction");
  EXPECT_GT(summary["training"]["binary"]["psnr"], summary["training"]["zero_filled"]["psnr"]);

  // evaluate: the same numbers per slice.
  const Outcome e = mri_here(scan({"evaluate", "--run", file("baseline")}, {"--tolerance", "1e-7"}));
  ASSERT_EQ(e.code, 0) << e.err;
  const Json json = Json::parse(e.out);
  EXPECT_EQ(json["runs"][0]["rate"], 36.0 / pixels);
  EXPECT_EQ(json["runs"][0]["alpha"], summary["alpha"]);
  EXPECT_EQ(json["sigma"], 0);
  EXPECT_EQ(json["height"], h);
  EXPECT_EQ(json["width"], w);
  ASSERT_EQ(json["runs"][0]["slices"].size(), static_cast<std::size_t>(n));
  for (int k = 0; k < n; ++k) {
    const Image x = bilevel::oracle::minimise(m, m.data(k)).x;
    const Json& slice = json["runs"][0]["slices"][static_cast<std::size_t>(k)];
    EXPECT_NEAR(slice["psnr"].get<double>(), psnr_of(x, m.truth(k)), 0.01) << k;
    EXPECT_NEAR(slice["ssim"].get<double>(), ssim_of(x, m.truth(k)), 1e-3) << k;
  }
  EXPECT_NEAR(json["runs"][0]["mean"]["psnr"].get<double>(), summary["training"]["binary"]["psnr"], 0.01);
}

TEST_F(MriNumbers, OfALearnedPattern) {
  const double beta1 = 2e-2, beta2 = 1e-2;
  const Outcome o = mri_here(scan({"learn"}, {"--penalty", "2e-2,1e-2", "--accuracy", "1e-7",
                                              "--max-iterations", "40", "--out", file("learn")}));
  ASSERT_EQ(o.code, 0) << o.err;
  const Json summary = Json::parse(o.out), model = Json::parse(get_file(file("learn/model.json")));
  MriProblem m = scan_;
  m.sampling = model["relaxed_s"].get<std::vector<double>>();
  m.alpha = summary["relaxed_alpha"];
  m.beta1 = beta1, m.beta2 = beta2;
  EXPECT_EQ(summary["penalty"], (std::vector<double>{beta1, beta2}));

  const Json& stage = summary["stages"][1];
  ASSERT_EQ(stage["stage"], "pattern");
  const auto exact = bilevel::oracle::exact_hypergradient(m);
  EXPECT_LE(stage["loss_lower"].get<double>(), exact.f * (1 + 1e-9));
  EXPECT_GE(stage["loss_upper"].get<double>(), exact.f * (1 - 1e-9));
  EXPECT_LT(stage["loss_upper"].get<double>() - stage["loss_lower"].get<double>(), 0.1 * exact.f);
  // The norm is that of the gradient projected to the bounds: s in [0,1], alpha from where it starts.
  std::vector<double> g = exact.hypergradient;
  const double first_alpha = [&] {
    for (const Json& line : log_of_run(file("learn")))
      if (line["stage"] == "pattern") return line["theta"]["alpha"].get<double>();
    return 0.0;
  }();
  for (std::size_t j = 0; j < pixels; ++j)
    if ((m.sampling[j] == 0 && g[j] > 0) || (m.sampling[j] == 1 && g[j] < 0)) g[j] = 0;
  if (m.alpha <= first_alpha * (1 + 1e-12) && g[pixels] > 0) g[pixels] = 0;
  EXPECT_NEAR(stage["gradient_norm"].get<double>(), std::sqrt(norm2(g)),
              stage["error_bound"].get<double>() + 1e-9);

  double above = 0;
  for (const double s : m.sampling) above += s > 0.5;
  EXPECT_EQ(summary["relaxed_rate"], above / pixels);
  expect_quality(summary["training"]["relaxed"],
                 means(m, [&](int k) { return bilevel::oracle::minimise(m, m.data(k)).x; }), "relaxed");
  m.sampling = model["theta"]["s"].get<std::vector<double>>();
  m.alpha = summary["alpha"];
  EXPECT_EQ(summary["rate"], std::accumulate(m.sampling.begin(), m.sampling.end(), 0.0) / pixels);
  expect_quality(summary["training"]["zero_filled"], means(m, [&](int k) { return zero_filled(m, k); }),
                 "zero-filled");
  expect_quality(summary["training"]["binary"],
                 means(m, [&](int k) { return bilevel::oracle::minimise(m, m.data(k)).x; }), "binary");
  double last_rate = 0, seconds = 0;
  for (const Json& line : log_of_run(file("learn"))) {
    EXPECT_GE(line["seconds"].get<double>(), seconds) << "time of all stages";
    seconds = line["seconds"];
    if (line["stage"] != "pattern" && line["stage"] != "exchange") continue;
    const double groups = line["rate"].get<double>() * pixels;
    EXPECT_NEAR(groups, std::round(groups), 1e-9);
    if (line["stage"] == "pattern") last_rate = line["rate"];
  }
  EXPECT_EQ(last_rate, summary["relaxed_rate"]);
  EXPECT_EQ(log_of_run(file("learn")).back()["stage"], "binary");
}

/// The scale, the rate and the certified distance of `reconstruct`, in each precision.
TEST_F(MriNumbers, OfAReconstruction) {
  MriProblem m = scan_;
  m.learn_alpha = false;
  std::vector<double> centred(pixels);
  for (int i = 0; i < h; ++i)
    for (int j = 0; j < w; ++j) {
      const double kept = std::hypot(i - h / 2, j - w / 2) < 3.3 || (i + 2 * j) % 5 == 0;
      centred[static_cast<std::size_t>(i * w + j)] = kept;
      m.sampling[static_cast<std::size_t>((i + h - h / 2) % h * w + (j + w - w / 2) % w)] = kept;
    }
  bilevel::write_npy(file("mask.npy"), std::vector<std::size_t>{h, w}, std::span<const double>(centred));
  m.alpha = 0.02, m.nu = 0.05, m.xi = 0.03;
  const double image = largest_magnitude(zero_filled(m, 1));
  for (double& v : m.y) v /= image;
  const double mu = bilevel::oracle::curvature(m).mu;
  const auto exact = bilevel::oracle::minimise(m, m.data(1));
  for (const char* precision : {"double", "mixed", "float"})
    for (const char* tolerance : {"1e-2", "2e-3", "1e-10"}) {
      if (std::string(precision) == "float" && std::string(tolerance) == "1e-10") continue;
      SCOPED_TRACE(std::string(precision) + " " + tolerance);
      const Outcome o = mri_here(
          {"reconstruct",    "--kspace", file("scan.h5"),  "--slice",  "1",           "--sensitivities",
           file("maps.npy"), "--mask",   file("mask.npy"), "--weight", "0.02",        "--nu",
           "0.05",           "--xi",     "0.03",           "--output", file("x.npy"), "--json",
           "--precision",    precision,  "--tolerance",    tolerance,  "--solver",    "gradient-descent"});
      ASSERT_EQ(o.code, 0) << o.err;
      const Json json = Json::parse(o.out);
      EXPECT_EQ(json["rate"], std::accumulate(m.sampling.begin(), m.sampling.end(), 0.0) / pixels);
      EXPECT_EQ(json["coils"], 2);
      const double scale = json["scale"], certified = json["certified_rms"];
      Image x = planes(bilevel::read_complex_npy(file("x.npy")).values);
      for (double& v : x) v /= scale;
      double distance = 0;
      for (std::size_t i = 0; i < x.size(); ++i) distance += std::pow(x[i] - exact.x[i], 2) / pixels;
      EXPECT_GE(certified, std::sqrt(distance) - 1e-15);
      EXPECT_LE(certified, std::stod(tolerance));
      // |grad Phi|/mu, and its rounding, of which single precision has more.
      const double by_gradient = std::sqrt(norm2(bilevel::oracle::gradient(m, m.data(1), x)) / pixels) / mu;
      EXPECT_GE(certified, by_gradient * (1 - 1e-3));
      EXPECT_LE(certified, by_gradient * (std::string(precision) == "float" ? 3 : 1.02));
    }
}

/// complex128 that float32 cannot hold, to 1e-11, which rounding to float would move by 1e-8.
TEST_F(MriNumbers, Complex128IsReconstructedInDouble) {
  MriProblem m = bilevel::testing_support::mri_shape(1, h, w);
  m.complex_image = true;
  m.nu = 0.05, m.alpha = 0.02, m.xi = 0.03;
  Complexes kspace;
  for (int p = 0; p < pixels; ++p) {
    const double fall = 1 / (1 + std::pow(std::hypot(p / w - h / 2, p % w - w / 2), 2));
    kspace.push_back(std::polar(fall * (1.1 + std::cos(3.0 * p)), 0.7 * p));
    m.sampling.push_back(1);
  }
  bilevel::write_npy(file("double.npy"), std::vector<std::size_t>{h, w},
                     std::span<const std::complex<double>>(kspace));
  m.y = bilevel::oracle::fourier(h, w, planes(centred_transform(kspace, 1)));
  const double scale = largest_magnitude(planes(centred_transform(kspace, 1)));
  for (double& v : m.y) v /= scale;
  const auto exact = bilevel::oracle::minimise(m, m.data(0));
  for (const char* tolerance : {"1e-8", "1e-11"}) {
    const Outcome o =
        mri_here({"reconstruct", "--kspace", file("double.npy"), "--weight", "0.02", "--nu", "0.05", "--xi",
                  "0.03", "--output", file("x.npy"), "--json", "--tolerance", tolerance});
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_NEAR(Json::parse(o.out)["scale"].get<double>() / scale, 1, 1e-12);
    const Image x = planes(bilevel::read_complex_npy(file("x.npy")).values);
    double distance = 0;
    for (std::size_t i = 0; i < x.size(); ++i) distance += std::pow(x[i] / scale - exact.x[i], 2) / pixels;
    EXPECT_LE(std::sqrt(distance), Json::parse(o.out)["certified_rms"].get<double>());
  }
}

TEST_F(MriNumbers, TheScaleIsThatOfTheTruth) {
  const auto scale_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> a{"reconstruct", "--kspace",        file("scan.h5"),  "--slice",
                               "1",           "--sensitivities", file("maps.npy"), "--output",
                               file("x.npy"), "--json",          "--tolerance",    "1e-2"};
    a.insert(a.end(), more.begin(), more.end());
    const Outcome o = mri_here(a);
    EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(o.out)["scale"].get<double>();
  };
  // Of the file's units: with all of k-space that of the combined image.
  const double largest = scale_of({}) / largest_magnitude(scan_.truth(1));
  MriProblem m = scan_;
  std::vector<double> columns(w, 0.0);
  columns[w / 2] = columns[w / 2 - 1] = columns[w / 2 + 1] = columns[0] = 1;
  for (std::size_t j = 0; j < pixels; ++j) m.sampling[j] = columns[(j + w / 2) % w];
  bilevel::write_npy(file("line.npy"), std::vector<std::size_t>{w}, std::span<const double>(columns));
  EXPECT_NEAR(scale_of({"--mask", file("line.npy")}), largest * largest_magnitude(zero_filled(m, 1)),
              1e-9 * largest);
  EXPECT_NEAR(largest, unit * 1.1, 0.1 * unit) << "the largest of the set, with noise";
}

/// Where the coils see next to nothing the combined image is noise, which does not decide about the scale.
TEST_F(MriNumbers, TheScaleIgnoresWhatNoCoilSees) {
  Complexes maps(2 * pixels, 1.0), image(pixels);
  for (std::size_t p = 0; p < pixels; ++p) image[p] = 2 + std::cos(static_cast<double>(p));
  image[33] = 50;
  maps[33] = maps[pixels + 33] = 1e-3;
  std::vector<std::complex<float>> kspace;
  for (std::size_t c = 0; c < 2; ++c) {
    Complexes coil;
    for (std::size_t p = 0; p < pixels; ++p) coil.push_back(image[p] * maps[c * pixels + p]);
    for (const auto& v : centred_transform(coil, -1)) kspace.emplace_back(v);
  }
  write_hdf5(file("dark.h5"), "kspace", {1, 2, h, w}, kspace);
  bilevel::write_npy(file("dark.npy"), std::vector<std::size_t>{2, h, w},
                     std::span<const std::complex<double>>(maps));
  const Outcome o = mri_here({"reconstruct", "--kspace", file("dark.h5"), "--sensitivities", file("dark.npy"),
                              "--json", "--output", file("x.npy")});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NEAR(Json::parse(o.out)["scale"].get<double>(), 3, 0.01);
}

/// What is printed for people is what the JSON says.
TEST_F(MriNumbers, TextsShowTheSameNumbers) {
  const auto both = [&](std::vector<std::string> a, const std::vector<std::string>& sensitive) {
    a.insert(a.end(), sensitive.begin(), sensitive.end());
    const Outcome text = mri_here(a);
    a.emplace_back("--json");
    if (const auto out = std::find(a.begin(), a.end(), "--out"); out != a.end()) *(out + 1) += "-json";
    const Outcome json = mri_here(a);
    EXPECT_EQ(text.code, 0) << text.err;
    EXPECT_EQ(json.code, 0) << json.err;
    return std::pair(text.out, Json::parse(json.out));
  };
  const auto shows = [](const std::string& text, const char* pattern, const Json& value, double factor = 1) {
    const std::string part = bilevel_app::format(pattern, factor * value.get<double>());
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  };
  const std::vector<std::string> data{"--data",         file("scan.h5"), "--sensitivities",
                                      file("maps.npy"), "--sigma",       "0"};
  const auto [trained, summary] = both(
      {"baseline", "--pattern", "lowpass", "--rate", "0.4", "--max-iterations", "2", "--out", file("text")},
      data);
  shows(trained, "samples   %.2f %% of k-space", summary["rate"], 100);
  shows(trained, "alpha %.6g", summary["alpha"]);
  shows(trained, "PSNR %.2f dB zero-filled", summary["training"]["zero_filled"]["psnr"]);
  shows(trained, "%.2f dB reconstructed", summary["training"]["binary"]["psnr"]);
  shows(trained, "SSIM %.4f zero-filled", summary["training"]["zero_filled"]["ssim"]);
  shows(trained, "%.4f reconstructed", summary["training"]["binary"]["ssim"]);
  shows(trained, "%.0f lower-level solves", summary["lower_level_solves"]);
  shows(trained, "%.0f operator applications", summary["operators"]);
  const auto [table, json] = both({"evaluate", "--run", file("text")}, data);
  for (const Json& quality : json["runs"][0]["slices"]) {
    shows(table, "%.2f\n", quality["psnr"]);
    shows(table, "%.4f\n", quality["ssim"]);
  }
  shows(table, "samples, %%   %.2f", json["runs"][0]["rate"], 100);
  shows(table, "|k| / k_max  %.3f", json["runs"][0]["mean_radius"]);
  shows(table, "mean         %.2f", json["runs"][0]["mean"]["psnr"]);
  const auto [line, result] = both({"reconstruct", "--kspace", file("scan.h5"), "--run", file("text"),
                                    "--output", file("x.npy"), "--sensitivities", file("maps.npy")},
                                   {});
  shows(line, "%.2f %% of k-space", result["rate"], 100);
  shows(line, "minimiser %.2e (", result["certified_rms"]);
  shows(line, "scale being %.6g", result["scale"]);
  shows(line, "%.0f operator", result["operators"]);
}

/// A run that was trained on cropped images is evaluated on them.
TEST_F(MriNumbers, EvaluationCropsAsTheRunDid) {
  const std::vector<std::string> data{
      "--data", file("scan.h5"), "--sensitivities", file("maps.npy"), "--sigma", "0", "--json"};
  std::vector<std::string> a{
      "baseline",  "--pattern", "lowpass",    "--rate", "0.4",   "--max-iterations", "2",
      "--crop-to", "7x6",       "--accuracy", "1e-6",   "--out", file("cropped")};
  a.insert(a.end(), data.begin(), data.end());
  const Outcome trained = mri_here(a);
  ASSERT_EQ(trained.code, 0) << trained.err;
  a = {"evaluate", "--run", file("cropped"), "--tolerance", "1e-6"};
  a.insert(a.end(), data.begin(), data.end());
  const Outcome o = mri_here(a);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Json::parse(o.out)["height"], 7);
  EXPECT_NEAR(Json::parse(o.out)["runs"][0]["mean"]["psnr"].get<double>(),
              Json::parse(trained.out)["training"]["binary"]["psnr"], 0.01);
}

/// A file whose only slice is its sixth: one image, named and chosen by that number.
TEST_F(MriNumbers, SlicesHaveTheNumbersOfTheFile) {
  const auto shared = bilevel::testing_support::shared_folder();
  const fs::path scan = shared.value_or("") / "faults/ismrmrd_sparse_slice_numbers/sl5.h5";
  if (!fs::exists(scan)) GTEST_SKIP() << "The folder of shared inputs is not there.";
  bilevel_app::mri::DataOptions o;
  o.data = {scan};
  for (const char* slices : {"", "5", "2:6", "5:6"}) {
    o.slices = slices;
    const auto data = load_data(o);
    EXPECT_EQ(data.names, std::vector<std::string>{"sl5.h5#5"}) << slices;
    EXPECT_EQ(data.images, 1);
  }
  for (const char* slices : {"0:5", "4", "5:7", "0:6:2"}) {
    o.slices = slices;
    try {
      load_data(o);
      ADD_FAILURE() << slices;
    } catch (const bilevel::ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("has the slice 5"), std::string::npos) << error.what();
    }
  }
  const std::vector<std::string> a{"reconstruct", "--kspace", scan, "--output", file("x.npy")};
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{{}, {"--slice", "5"}}) {
    std::vector<std::string> all = a;
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(mri_here(all).code, 0);
  }
  std::vector<std::string> zero = a;
  zero.insert(zero.end(), {"--slice", "0"});
  const Outcome refused = mri_here(zero);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("has the slice 5"), std::string::npos) << refused.err;
  const Outcome trained = mri_here({"baseline", "--pattern", "vds", "--rate", "0.5", "--data", scan,
                                    "--max-iterations", "1", "--json", "--out", file("sparse")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(Json::parse(trained.out)["training"]["images"], 1);
  EXPECT_TRUE(Json::parse(trained.out)["training"]["binary"]["psnr"].is_number());
}

/// Factors of 2^+-600 change nothing but the scale; a scale that is far from the image is refused.
TEST_F(MriNumbers, TinyAndHugeValues) {
  const auto kspace = [&](const std::string& name, double factor) {
    Complexes values;
    for (int p = 0; p < pixels; ++p)
      values.push_back(factor *
                       std::complex<double>(std::cos(0.3 * p) * (p == 45 ? 9 : 1), std::sin(1.1 * p)));
    bilevel::write_npy(file(name), std::vector<std::size_t>{h, w},
                       std::span<const std::complex<double>>(values));
    return file(name);
  };
  const auto reconstruct = [&](const std::string& path, const std::vector<std::string>& more = {}) {
    std::vector<std::string> a{"reconstruct", "--kspace", path, "--output", file("out.npy"), "--json"};
    a.insert(a.end(), more.begin(), more.end());
    return mri_here(a);
  };
  const Outcome usual = reconstruct(kspace("usual.npy", 1));
  ASSERT_EQ(usual.code, 0) << usual.err;
  const auto x = bilevel::read_complex_npy(file("out.npy")).values;
  for (const double factor : {0x1p-600, 0x1p600, 0x1p-300}) {
    const Outcome o = reconstruct(kspace("scaled.npy", factor));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(Json::parse(o.out)["certified_rms"], Json::parse(usual.out)["certified_rms"]);
    EXPECT_EQ(Json::parse(o.out)["scale"], Json::parse(usual.out)["scale"].get<double>() * factor);
    const auto scaled = bilevel::read_complex_npy(file("out.npy")).values;
    for (std::size_t p = 0; p < x.size(); ++p) ASSERT_EQ(scaled[p], x[p] * factor);
    const Outcome far = reconstruct(file("scaled.npy"), {"--scale", "1"});
    if (factor == 0x1p-300) continue;
    EXPECT_EQ(far.code, 2);
    expect_one_sentence(far, "bilevel-mri");
    EXPECT_NE(far.err.find("--scale 1"), std::string::npos) << far.err;
  }
  // k-space of a point: its sum is larger than any number, its image is not.
  const Complexes constant(pixels, 0x1p1019);
  bilevel::write_npy(file("point.npy"), std::vector<std::size_t>{h, w},
                     std::span<const std::complex<double>>(constant));
  const Outcome point = reconstruct(file("point.npy"));
  ASSERT_EQ(point.code, 0) << point.err;
  EXPECT_NEAR(Json::parse(point.out)["scale"].get<double>() / 0x1p1019, std::sqrt(1.0 * pixels), 1e-9);
  const Outcome decimal = reconstruct(kspace("tiny.npy", 1e-200));
  EXPECT_EQ(decimal.code, 0) << decimal.err;
  EXPECT_GT(Json::parse(decimal.out)["certified_rms"], 0);
}

TEST_F(MriNumbers, ImagesOfAnySizeOfValuesLearnTheSame) {
  std::string reference;
  for (const double factor : {1.0, 0x1p-620, 0x1p600}) {
    std::vector<double> values = head(2, 8);
    for (double& v : values) v *= factor;
    bilevel::write_npy(file("images.npy"), std::vector<std::size_t>{2, 8, 8},
                       std::span<const double>(values));
    bilevel_app::mri::DataOptions o;
    o.data = {file("images.npy")};
    const auto data = load_data(o);
    const std::string bytes(reinterpret_cast<const char*>(data.kspace.data()),
                            data.kspace.size() * sizeof data.kspace[0]);
    if (reference.empty()) reference = bytes;
    EXPECT_TRUE(bytes == reference) << factor;
  }
}

/// The root of the sum of squares of coils whose squares are no numbers.
TEST_F(MriNumbers, KspaceOfAnySizeOfValuesLearnsTheSame) {
  std::vector<double> reference;
  for (const double factor : {1.0, 0x1p-620, 0x1p600}) {
    std::vector<std::complex<double>> values;
    for (int p = 0; p < 2 * pixels; ++p)
      values.push_back(factor * std::polar(1.1 + std::cos(3.0 * p), 0.7 * p));
    write_hdf5(file("factor.h5"), "kspace", {1, 2, h, w}, values);
    bilevel_app::mri::DataOptions o;
    o.data = {file("factor.h5")};
    const auto data = load_data(o);
    if (reference.empty()) reference = data.truth;
    EXPECT_TRUE(data.truth == reference) << factor;
  }
}

/// The certified distance is at least the true one, whatever the problem, the precision and the accuracy
/// asked for, that which rounding allows included: true of the problem in double, of which single precision
/// solves another one.
TEST_F(MriNumbers, CertifiedDistancesAreTrue) {
  namespace mri = bilevel_app::mri;
  bilevel::testing_support::Random random(bilevel::testing_support::seed());
  const bilevel::Device device = bilevel::Device::open(bilevel::testing_support::test_device("cpu:1"));
  double nearest = 0;  // largest ratio of the true distance to the certified one
  for (int trial = 0; trial < bilevel::testing_support::repetitions(40); ++trial) {
    MriProblem p = bilevel::testing_support::mri_shape(2, random.integer(2, 7), random.integer(2, 7));
    p.complex_image = random.integer(0, 1) == 1;
    p.coils = random.integer(0, 3);
    p.potential = random.integer(0, 1) == 1 ? bilevel::oracle::Potential::huber_c2
                                            : bilevel::oracle::Potential::charbonnier;
    p.alpha = random.log_uniform(1e-4, 1), p.nu = random.log_uniform(1e-3, 1),
    p.xi = random.log_uniform(1e-3, 1);
    for (int j = 0; j < p.pixels(); ++j) p.sampling.push_back(random.integer(0, 2) > 0);
    p = bilevel::oracle::random_mri(p, 0.1, random);
    const auto pixel = static_cast<std::size_t>(p.pixels());
    mri::MriData data;
    data.images = p.n, data.height = p.h, data.width = p.w, data.coils = p.channels(),
    data.complex = p.complex_image;
    data.truth = p.x_true;
    data.kspace = bilevel::testing_support::complex_of<double>(p.y, pixel);
    data.maps = bilevel::testing_support::complex_of<double>(p.maps, pixel);
    mri::MriModel model;
    model.height = p.h, model.width = p.w, model.complex = p.complex_image, model.s = p.sampling;
    model.regulariser = bilevel::testing_support::options_of(p);
    model.alpha = p.alpha, model.nu = p.nu, model.xi = p.xi;
    std::vector<Image> exact;
    for (int k = 0; k < p.n; ++k) exact.push_back(bilevel::oracle::minimise(p, p.data(k)).x);
    for (const char* precision : {"double", "mixed", "float"})
      for (const double tolerance : {1e-1, 1e-3, 1e-13}) {
        const auto r = mri::reconstruct(device, data, model, {precision, "newton", tolerance});
        for (std::size_t k = 0; k < exact.size(); ++k) {
          double square = 0, size = 0;
          for (std::size_t i = 0; i < exact[k].size(); ++i) {
            square += std::pow(r.x[k * exact[k].size() + i] - exact[k][i], 2);
            size += exact[k][i] * exact[k][i];
          }
          const double distance = std::sqrt(square / static_cast<double>(pixel));
          const double reference =
              1e-15 / p.xi * std::sqrt(size / static_cast<double>(pixel));  // of the exact one
          EXPECT_GE(r.distance[k] + reference, distance)
              << precision << " " << tolerance << ", trial " << trial;
          if (distance > reference) nearest = std::max(nearest, distance / (r.distance[k] + reference));
        }
      }
  }
  EXPECT_GT(nearest, 0.3) << "or the bound is far too large";
  RecordProperty("nearest", std::to_string(nearest));
}

TEST_F(MriNumbers, MeansLeaveExactImagesOut) {
  bilevel_app::mri::MriData data;
  data.images = 3, data.height = h, data.width = w, data.complex = true;
  data.truth = scan_.x_true;
  std::fill(data.truth.begin() + 2 * pixels, data.truth.begin() + 4 * pixels, 0.0);
  std::vector<double> x = data.truth;
  for (std::size_t p = 0; p < pixels; ++p) x[p] += 0.1, x[4 * pixels + p] += 0.01;
  const auto mean = mean_quality(data, x);
  EXPECT_NEAR(mean.psnr, 30, 1e-9) << "of 20 and 40 dB";
  EXPECT_EQ(mean.exact, 1);
  EXPECT_EQ(bilevel_app::mri::quality_json(mean)["exact_images"], 1);
  EXPECT_EQ(mean_quality(data, data.truth).exact, 3);
  EXPECT_TRUE(std::isinf(mean_quality(data, data.truth).psnr));
  EXPECT_TRUE(
      Json::parse(bilevel_app::mri::quality_json(mean_quality(data, data.truth)).dump())["psnr"].is_null());
  EXPECT_EQ(quality_of(data, 1, std::span(x).subspan(2 * pixels, 2 * pixels)).ssim, 1);
  x[3 * pixels] = 0.5;
  EXPECT_EQ(quality_of(data, 1, std::span(x).subspan(2 * pixels, 2 * pixels)).ssim, 0) << "the truth is zero";
}

}  // namespace
}  // namespace bilevel_test
