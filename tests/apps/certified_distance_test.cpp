#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <map>
#include <numbers>
#include <optional>
#include <string>

#include "apps/denoise/reconstruct.hpp"
#include "apps/mri/problem.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/model/catalogue.hpp"
#include "tests/oracle/dense_minimiser.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

// What the programs print as certified distance is never below the distance to the minimiser of the problem
// that was given: data and parameters in double, at any scale, in every precision. Small problems against a
// dense minimiser in extended precision. BILEVEL_CERTIFICATE_TRIALS: problems per program and precision.

namespace bilevel {
namespace {

using namespace testing_support;
using oracle::DenseProblem;
using oracle::PotentialTerm;

int trials(int usual) {
  const char* variable = std::getenv("BILEVEL_CERTIFICATE_TRIALS");
  return variable != nullptr ? std::atoi(variable) : on_cuda() ? usual / 40 : usual;
}

/// A value in the range of a parameter, often its ends.
double parameter(double low, double high, Random& random) {
  const int kind = random.integer(0, 9);
  if (kind == 0) return low;
  if (kind == 1) return high;
  return random.log_uniform(low, high);
}

/// Mostly intensities of pictures, some far from them, few at the ends of what a double holds.
double scale(Random& random) {
  const int kind = random.integer(0, 9);
  if (kind < 5) return 1;
  if (kind < 8) return random.log_uniform(1e-12, 1e12);
  return random.log_uniform(1e-300, 1e300);
}

/// Sizes that are mostly small.
int side(Random& random) { return random.integer(0, 3) > 0 ? random.integer(1, 5) : random.integer(1, 12); }

std::vector<double> picture(int height, int width, Random& random) {
  std::vector<double> image;
  switch (random.integer(0, 5)) {
    case 0:
      image = noise(height, width, 1, random);
      break;
    case 1:
      image = constant(height, width, 1 + 0x1p-24 + 0x1p-40);  // half a unit of single precision off
      break;
    case 2:
      image = checkerboard(height, width, 1);
      break;
    case 3:
      image = spike(height, width, height / 2, width / 2, 1);
      break;
    case 4:
      image = std::vector<double>(static_cast<std::size_t>(height) * width, random.integer(0, 1));
      break;
    default:
      image = piecewise_constant(height, width, 0.1, random);
  }
  const double factor = scale(random);
  for (double& v : image) v *= factor;
  return image;
}

/// A tolerance from loose to out of reach, of the size of the data or absolute.
double tolerance(const std::vector<double>& data, Random& random) {
  double largest = 0;
  for (double v : data) largest = std::max(largest, std::abs(v));
  const bool relative = random.integer(0, 1) == 1 && largest > 1e-280 && largest < 1e280;
  return random.log_uniform(1e-18, 1e-1) * (relative ? largest : 1);
}

/// The certificates of one program in one precision, against references.
class Ledger {
 public:
  explicit Ledger(const std::string& name) : ratios_(name + ": certified/true") {}

  /// `certified` root mean square over `pixels` of x, which solves `problem`.
  void check(const DenseProblem& problem, const std::vector<double>& x, double certified, double pixels,
             SolveStatus status, const std::string& what) {
    if (!(certified < HUGE_VAL)) {
      EXPECT_NE(status, SolveStatus::converged) << what;
      EXPECT_FALSE(std::isnan(certified)) << what;
      ++refused_;
      return;
    }
    const long double norm = certified * std::sqrt(static_cast<long double>(pixels));
    const oracle::DenseMinimiser exact = minimise(problem, x, 1e-3L * norm);
    long double sum = 0, largest = 0;
    for (std::size_t p = 0; p < x.size(); ++p) largest = std::max(largest, std::abs(x[p] - exact.x[p]));
    if (largest > 0)
      for (std::size_t p = 0; p < x.size(); ++p) sum += std::pow((x[p] - exact.x[p]) / largest, 2);
    const long double distance = largest * std::sqrt(sum);
    EXPECT_LE(distance - exact.distance, norm * (1 + 1e-12L)) << what << ", status " << status_name(status);
    if (!(exact.distance <= 0.1L * norm)) {
      ++undecided_;
      return;
    }
    if (distance > 2 * exact.distance) ratios_.add(static_cast<double>(norm / (distance - exact.distance)));
  }
  /// Nearly all problems must have been decided.
  void close(int count) const {
    std::cout << count << " problems, " << refused_ << " refused, " << undecided_ << " undecided"
              << std::endl;
    EXPECT_LE(undecided_, 3 + count / 25);
    EXPECT_LE(refused_, 3 + count / 3);
    EXPECT_GE(ratios_.minimum(), 1 - 1e-9);
  }

 private:
  RatioRecorder ratios_;
  int refused_ = 0, undecided_ = 0;
};

// Denoising ------------------------------------------------------------------------------------------------

struct Denoising {
  DenoiseModel model;
  int height, width;
  std::vector<double> mask, data;
  DenseProblem exact;
  std::string text;
};

void add_data(Denoising& d, long double ridge) {
  d.exact.unknowns = d.height * d.width;
  d.exact.mu = ridge + (d.mask.empty() ? 1 : 0);
  for (int p = 0; p < d.exact.unknowns; ++p) {
    const auto e = static_cast<std::size_t>(p);
    if (d.mask.empty() || d.mask[e] != 0) d.exact.squares.push_back({1, {{p, 1}}, d.data[e]});
    if (ridge > 0) d.exact.squares.push_back({ridge, {{p, 1}}, 0});
  }
}

Denoising total_variation(Random& random) {
  Denoising d;
  d.height = side(random);
  d.width = side(random);
  d.data = picture(d.height, d.width, random);
  if (random.integer(0, 3) == 0) d.mask = random_mask(d.height, d.width, 0.7, random);
  bool masked = false;
  for (double m : d.mask) masked = masked || m == 0;
  if (!masked) d.mask.clear();
  const bool huber = random.integer(0, 1) == 1, isotropic = random.integer(0, 1) == 1,
             inside = random.integer(0, 3) == 0;
  std::vector<Segment> segments = tv_parameters().segments();
  for (Segment& s : segments) s.initial = parameter(s.lower, s.upper, random);
  if (!masked && random.integer(0, 3) == 0) segments[2].lower = segments[2].initial = 0;
  d.model.parameters = segments;
  d.model.options = TvOptions{huber ? TvPotential::huber_c2 : TvPotential::charbonnier, isotropic, inside};
  const long double alpha = segments[0].initial, nu = segments[1].initial, xi = segments[2].initial;
  add_data(d, inside ? alpha * xi : xi);
  PotentialTerm term{alpha, nu, huber, {}};
  for (const auto& forms : oracle::differences(d.height, d.width, 0)) {
    if (isotropic || d.height == 1)
      term.points.push_back(forms);
    else
      for (const auto& f : forms) term.points.push_back({f});
  }
  d.exact.terms = {term};
  d.text = std::to_string(d.height) + "x" + std::to_string(d.width) + (huber ? " huber" : "") +
           (isotropic ? "" : " anisotropic") + (inside ? " inside" : "") + (masked ? " masked" : "");
  for (const Segment& s : segments) d.text += " " + s.name + " " + std::to_string(std::log10(s.initial));
  return d;
}

/// Second differences, and the quadratic models.
Denoising other_differences(Random& random) {
  Denoising d;
  d.height = side(random);
  d.width = side(random);
  d.data = picture(d.height, d.width, random);
  if (random.integer(0, 3) == 0) d.mask = random_mask(d.height, d.width, 0.7, random);
  bool masked = false;
  for (double m : d.mask) masked = masked || m == 0;
  if (!masked) d.mask.clear();
  const char* name =
      std::array{"tv2", "tv2", "h1", "tikhonov"}[static_cast<std::size_t>(random.integer(0, 3))];
  const bool huber = random.integer(0, 1) == 1, inside = random.integer(0, 3) == 0;
  auto options = std::get<TvOptions>(
      regulariser_options(name, huber ? TvPotential::huber_c2 : TvPotential::charbonnier));
  options.xi_inside_alpha = inside;
  std::vector<Segment> segments = tv_parameters(options).segments();
  for (Segment& s : segments) s.initial = parameter(s.lower, s.upper, random);
  d.model.parameters = segments;
  d.model.options = options;
  const long double alpha = d.model.value("alpha"), xi = d.model.value("xi");
  add_data(d, inside ? alpha * xi : xi);
  if (options.differences == TvDifferences::second) {
    d.exact.terms = {{alpha, d.model.value("nu"), huber, oracle::second_differences(d.height, d.width)}};
  } else if (options.differences == TvDifferences::none) {
    d.exact.mu += alpha;
    for (int p = 0; p < d.exact.unknowns; ++p) d.exact.squares.push_back({alpha, {{p, 1}}, 0});
  } else {
    for (const auto& forms : oracle::differences(d.height, d.width, 0))
      for (const auto& form : forms) d.exact.squares.push_back({alpha, form, 0});
  }
  d.text = std::string(name) + " " + std::to_string(d.height) + "x" + std::to_string(d.width) +
           (huber ? " huber" : "") + (inside ? " inside" : "") + (masked ? " masked" : "");
  for (const Segment& s : segments) d.text += " " + s.name + " " + std::to_string(std::log10(s.initial));
  return d;
}

/// The forms of filter k at every response, filters with their mean removed in
/// extended precision.
std::vector<std::vector<PotentialTerm::Form>> responses(const std::vector<double>& taps, int size, bool valid,
                                                        bool zero_mean, int height, int width) {
  long double mean = 0;
  for (double c : taps) mean += static_cast<long double>(c) / static_cast<long double>(taps.size());
  if (!zero_mean) mean = 0;
  const int radius = size / 2, border = valid ? radius : 0;
  const auto reflect = [](int k, int n) { return k < 0 ? -1 - k : k >= n ? 2 * n - 1 - k : k; };
  std::vector<std::vector<PotentialTerm::Form>> out;
  for (int r = border; r < height - border; ++r)
    for (int c = border; c < width - border; ++c) {
      std::map<int, long double> form;
      for (int i = 0; i < size; ++i)
        for (int j = 0; j < size; ++j)
          form[reflect(r + i - radius, height) * width + reflect(c + j - radius, width)] +=
              taps[static_cast<std::size_t>(i * size + j)] - mean;
      out.push_back({PotentialTerm::Form(form.begin(), form.end())});
    }
  return out;
}

Denoising experts(Random& random) {
  Denoising d;
  const int size = random.integer(0, 2) > 0 ? 3 : 5, count = random.integer(1, 3);
  const bool valid = random.integer(0, 2) == 0, huber = random.integer(0, 2) == 0,
             zero_mean = random.integer(0, 2) > 0;
  d.height = std::max(side(random), valid ? size : size / 2);
  d.width = std::max(side(random), valid ? size : size / 2);
  d.data = picture(d.height, d.width, random);
  std::vector<Segment> segments =
      experts_parameters(count, size, FilterInit::random, 0.1, 0.1, random.bits() % 100000).segments();
  const double offset = random.integer(0, 4) == 0 ? random.log_uniform(1, 50) : 0,
               factor = random.integer(0, 4) == 0 ? random.log_uniform(1e-6, 10) : 1;
  for (Segment& s : segments) {
    for (double& v : s.values)
      v = s.name == "filters" ? offset + factor * v : parameter(s.lower, s.upper, random);
    if (s.shape.empty()) s.initial = random.integer(0, 3) == 0 ? 0 : random.log_uniform(1e-8, s.upper);
  }
  d.model.parameters = segments;
  d.model.options = ExpertsOptions{valid ? FilterPadding::valid : FilterPadding::symmetric,
                                   huber ? TvPotential::huber_c2 : TvPotential::charbonnier, zero_mean};
  add_data(d, segments[3].initial);
  const auto taps = static_cast<std::size_t>(size * size);
  for (std::size_t k = 0; k < static_cast<std::size_t>(count); ++k) {
    const auto first = segments[2].values.begin() + static_cast<std::ptrdiff_t>(k * taps);
    const std::vector<double> filter(first, first + static_cast<std::ptrdiff_t>(taps));
    d.exact.terms.push_back({segments[0].values[k], segments[1].values[k], huber,
                             responses(filter, size, valid, zero_mean, d.height, d.width)});
  }
  d.text = std::to_string(count) + " experts " + std::to_string(size) + " on " + std::to_string(d.height) +
           "x" + std::to_string(d.width) + (huber ? " huber" : "") + (valid ? " valid" : "") +
           (zero_mean ? " zero mean" : "") + " offset " + std::to_string(offset);
  return d;
}

class CertifiedDistance : public ::testing::TestWithParam<const char*> {};

void denoise_all(const std::string& precision, const char* name, int count, Random& random,
                 Denoising (*make)(Random&)) {
  Context context(Device::open(test_device("cpu:1")));
  Ledger ledger(std::string(name) + ", " + precision);
  for (int k = 0; k < count; ++k) {
    Denoising d = make(random);
    std::vector<double> pixels = d.data;
    const double asked = tolerance(d.data, random);
    const char* solver = random.integer(0, 3) > 0 ? "auto" : random.integer(0, 1) ? "lbfgs" : "fista";
    const auto got = bilevel_app::denoise::reconstruct(context, d.model, precision, solver, asked, d.height,
                                                       d.width, d.mask, pixels);
    ledger.check(d.exact, pixels, got.distance, static_cast<double>(d.data.size()), got.status,
                 d.text + ", largest datum " + std::to_string(norm(d.data)) + ", tolerance " +
                     std::to_string(std::log10(asked)) + ", " + solver);
    if (::testing::Test::HasFatalFailure()) return;
  }
  ledger.close(count);
}

TEST_P(CertifiedDistance, OfTotalVariation) {
  Random random(seed(2601));
  denoise_all(GetParam(), "total variation", trials(200), random, total_variation);
}

TEST_P(CertifiedDistance, OfSecondDifferencesAndSquares) {
  Random random(seed(2604));
  denoise_all(GetParam(), "second differences and squares", trials(150), random, other_differences);
}

TEST_P(CertifiedDistance, OfExperts) {
  Random random(seed(2602));
  denoise_all(GetParam(), "experts", trials(120), random, experts);
}

// Magnetic resonance ---------------------------------------------------------------------------------------

struct Measurement {
  bilevel_app::mri::MriData data;
  std::optional<SamplingPattern> pattern;
  std::optional<Parameters> parameters;
  TvPotential potential;
  DenseProblem exact;
  std::string text;
};

/// 1 - prod (1 - w) over the groups of every frequency, in extended precision.
std::vector<long double> exact_weights(const SamplingPattern& pattern, const std::vector<double>& s) {
  std::vector<long double> w(pattern.frequencies(), 0);
  for (std::size_t k = 0; k < pattern.groups(); ++k) {
    const long double t = s[k], own = pattern.map() == SamplingMap::rational ? t / (1 - t)
                                      : pattern.map() == SamplingMap::linear ? t
                                                                             : t * t;
    for (int f : pattern.group(k)) {
      long double& e = w[static_cast<std::size_t>(f)];
      e = pattern.map() == SamplingMap::rational ? own : e + own * (1 - e);
    }
  }
  return w;
}

/// Smallest eigenvalue of E^* W E at least: a real image averages the weights of conjugate frequencies, maps
/// enter with their least power.
long double least_data_curvature(const bilevel_app::mri::MriData& d,
                                 const std::vector<long double>& weights) {
  const int pixels = d.height * d.width;
  long double least = HUGE_VALL, power = d.maps.empty() ? 1 : HUGE_VALL;
  for (int j = 0; j < pixels; ++j) {
    const int opposite = (d.height - j / d.width) % d.height * d.width + (d.width - j % d.width) % d.width;
    const long double w = weights[static_cast<std::size_t>(j)],
                      pair = (w + weights[static_cast<std::size_t>(opposite)]) / 2;
    least = std::min(least, d.complex || !d.maps.empty() ? w : pair);
    long double sum = 0;
    for (int c = 0; c < d.coils && !d.maps.empty(); ++c)
      sum += std::norm(std::complex<long double>(d.maps[static_cast<std::size_t>(c * pixels + j)]));
    if (!d.maps.empty()) power = std::min(power, sum);
  }
  return least * power;
}

/// Rows of F sigma, real and imaginary part, for unknowns [re, im][h][w].
void add_spectrum(Measurement& m, const std::vector<long double>& weights) {
  const int h = m.data.height, w = m.data.width, pixels = h * w;
  const long double turn = 2 * std::numbers::pi_v<long double>,
                    root = std::sqrt(static_cast<long double>(pixels));
  for (int coil = 0; coil < m.data.coils; ++coil)
    for (int j = 0; j < pixels; ++j) {
      DenseProblem::Square re, im;
      re.weight = im.weight = weights[static_cast<std::size_t>(j)];
      for (int p = 0; p < pixels; ++p) {
        const int phase_rows = (j / w) * (p / w) % h, phase_columns = (j % w) * (p % w) % w;
        const long double angle =
            -turn * (static_cast<long double>(phase_rows) / h + static_cast<long double>(phase_columns) / w);
        std::complex<long double> e(std::cos(angle) / root, std::sin(angle) / root);
        if (!m.data.maps.empty())
          e *= std::complex<long double>(m.data.maps[static_cast<std::size_t>(coil * pixels + p)]);
        re.form.push_back({p, e.real()});
        im.form.push_back({p, e.imag()});
        if (!m.data.complex) continue;
        re.form.push_back({pixels + p, -e.imag()});
        im.form.push_back({pixels + p, e.real()});
      }
      const std::complex<double> y = m.data.kspace[static_cast<std::size_t>(coil * pixels + j)];
      re.target = y.real();
      im.target = y.imag();
      if (!(re.weight > 0)) continue;
      m.exact.squares.push_back(re);
      m.exact.squares.push_back(im);
    }
}

Measurement measurement(Random& random) {
  Measurement m;
  auto& d = m.data;
  d.images = 1;
  d.height = random.integer(1, 6);
  d.width = random.integer(1, 6);
  d.complex = random.integer(0, 1) == 1;
  d.coils = random.integer(0, 2) == 0 ? random.integer(1, 3) : 1;
  const int pixels = d.height * d.width;
  if (d.coils > 1)
    for (int k = 0; k < d.coils * pixels; ++k) d.maps.emplace_back(random.normal(), random.normal());
  const double factor = scale(random);
  for (int k = 0; k < d.coils * pixels; ++k)
    d.kspace.emplace_back(factor * random.normal(), factor * random.normal());
  d.truth.assign(static_cast<std::size_t>(pixels * d.components()), 0);
  const PatternKind kinds[] = {PatternKind::free, PatternKind::symmetric, PatternKind::rows,
                               PatternKind::columns, PatternKind::radial};
  const PatternKind kind = kinds[random.integer(0, 4)];
  const SamplingMap maps[] = {SamplingMap::direct, SamplingMap::linear, SamplingMap::rational};
  const SamplingMap map = maps[random.integer(0, kind == PatternKind::radial ? 1 : 2)];
  m.pattern.emplace(kind, d.height, d.width, map, 5);
  std::vector<double> s(m.pattern->groups());
  const int sampling = random.integer(0, 3);
  for (double& e : s) {
    e = sampling == 0 ? 1 : sampling == 1 ? random.integer(0, 1) : random.uniform();
    if (sampling == 3) e = random.log_uniform(1e-15, 1);
    if (map == SamplingMap::rational) e = std::min(e, 0.99);
  }
  MriParameterValues values;
  values.alpha = parameter(1e-8, 1e3, random);
  values.nu = parameter(1e-6, 1e2, random);
  values.xi = parameter(1e-10, 1e2, random);
  values.learn_pattern = values.learn_alpha = false;
  values.pattern = s;
  m.parameters.emplace(mri_parameters(*m.pattern, values));
  m.potential = random.integer(0, 1) ? TvPotential::huber_c2 : TvPotential::charbonnier;

  m.exact.unknowns = d.components() * pixels;
  const std::vector<long double> weights = exact_weights(*m.pattern, s);
  m.exact.mu = values.xi + least_data_curvature(d, weights);
  add_spectrum(m, weights);
  for (int p = 0; p < m.exact.unknowns; ++p) m.exact.squares.push_back({values.xi, {{p, 1}}, 0});
  PotentialTerm term{values.alpha, values.nu, m.potential == TvPotential::huber_c2,
                     oracle::differences(d.height, d.width, 0)};
  if (d.complex) {
    const auto imaginary = oracle::differences(d.height, d.width, pixels);
    for (std::size_t p = 0; p < term.points.size(); ++p)
      term.points[p].insert(term.points[p].end(), imaginary[p].begin(), imaginary[p].end());
  }
  m.exact.terms = {term};
  m.text = std::to_string(d.height) + "x" + std::to_string(d.width) + (d.complex ? " complex " : " real ") +
           std::to_string(d.coils) + " coils, " + pattern_name(kind) + " map " +
           std::to_string(static_cast<int>(map)) + ", sampling " + std::to_string(sampling) +
           ", log10 alpha " + std::to_string(std::log10(values.alpha)) + ", nu " +
           std::to_string(std::log10(values.nu)) + ", xi " + std::to_string(std::log10(values.xi)) +
           ", data " + std::to_string(std::log10(factor));
  return m;
}

TEST_P(CertifiedDistance, OfMagneticResonance) {
  Random random(seed(2603));
  const Device device = Device::open(test_device("cpu:1"));
  const int count = trials(120);
  Ledger ledger(std::string("magnetic resonance, ") + GetParam());
  for (int k = 0; k < count; ++k) {
    const Measurement m = measurement(random);
    std::vector<double> sizes;
    for (const auto& y : m.data.kspace) sizes.push_back(std::abs(y));
    bilevel_app::mri::Solver solver;
    solver.precision = GetParam();
    solver.minimiser = random.integer(0, 3) > 0 ? "newton" : random.integer(0, 1) ? "lbfgs" : "fista-restart";
    solver.tolerance = tolerance(sizes, random);
    try {
      const auto got = bilevel_app::mri::reconstruct(device, m.data, *m.pattern, *m.parameters, {},
                                                     TvOptions{m.potential}, solver);
      ledger.check(m.exact, got.x, got.distance.at(0), static_cast<double>(m.data.pixels()), got.status,
                   m.text + ", " + solver.minimiser + " to " + std::to_string(std::log10(solver.tolerance)));
    } catch (const ConfigError& refused) {  // data whose squares are no numbers of the precision
      EXPECT_THAT(refused.what(), ::testing::HasSubstr("too large for"));
      EXPECT_GT(norm(sizes), GetParam() == std::string("float") ? 1e18 : 1e150) << m.text;
    }
  }
  ledger.close(count);
}

INSTANTIATE_TEST_SUITE_P(Precisions, CertifiedDistance, ::testing::Values("double", "float", "mixed"),
                         [](const auto& of) { return std::string(of.param); });

}  // namespace
}  // namespace bilevel
