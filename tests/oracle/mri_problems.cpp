#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/oracle/mri_oracle.hpp"

namespace bilevel::oracle {

using testing_support::Random;

Image random_phantom(int h, int w, bool complex_image, Random& random) {
  Image modulus(static_cast<std::size_t>(h) * w, 0.0);
  for (int ellipse = 0; ellipse < 5; ++ellipse) {
    const double centre_r = random.uniform(0.3, 0.7), centre_c = random.uniform(0.3, 0.7);
    const double radius_r = random.uniform(0.1, 0.45), radius_c = random.uniform(0.1, 0.45);
    const double value = ellipse == 0 ? 1.0 : random.uniform(-0.4, 0.4);
    for (int p = 0; p < h * w; ++p) {
      const double r = (p / w + 0.5) / h - centre_r, c = (p % w + 0.5) / w - centre_c;
      const double level = std::pow(r / radius_r, 2) + std::pow(c / radius_c, 2);
      if (level < 1) modulus[p] += value;
    }
  }
  if (!complex_image) return modulus;
  Image x = modulus;
  const double offset = random.uniform(-3, 3), slope_r = random.uniform(-2, 2),
               slope_c = random.uniform(-2, 2);
  for (int p = 0; p < h * w; ++p) {
    const double phase = offset + slope_r * (p / w) / h + slope_c * (p % w) / w;
    x[p] = modulus[p] * std::cos(phase);
    x.push_back(modulus[p] * std::sin(phase));
  }
  return x;
}

std::vector<double> random_maps(int coils, int h, int w, Random& random) {
  std::vector<double> maps;
  for (int coil = 0; coil < coils; ++coil) {
    const double angle = 2 * std::numbers::pi * (coil + random.uniform(0, 0.3)) / coils;
    const double r0 = 0.5 + 0.6 * std::sin(angle), c0 = 0.5 + 0.6 * std::cos(angle);
    const double phase0 = random.uniform(-3, 3), turn = random.uniform(-2, 2);
    Image re, im;
    for (int p = 0; p < h * w; ++p) {
      const double r = (p / w + 0.5) / h - r0, c = (p % w + 0.5) / w - c0;
      const double modulus = 0.5 + 1.2 * std::exp(-2 * (r * r + c * c)) / std::sqrt(coils);
      const double phase = phase0 + turn * (r - c);
      re.push_back(modulus * std::cos(phase));
      im.push_back(modulus * std::sin(phase));
    }
    maps.insert(maps.end(), re.begin(), re.end());
    maps.insert(maps.end(), im.begin(), im.end());
  }
  return maps;
}

std::vector<std::vector<int>> spoke_groups(int h, int w, int spokes) {
  std::vector<std::vector<int>> groups;
  for (int k = 0; k < spokes; ++k) {
    const double angle = std::numbers::pi * k / spokes, reach = std::hypot(h, w) / 2;
    std::vector<int> group;
    for (double t = -reach; t <= reach; t += 0.25) {
      const int r = static_cast<int>(std::lround(t * std::sin(angle)));
      const int c = static_cast<int>(std::lround(t * std::cos(angle)));
      if (2 * std::abs(r) > h || 2 * std::abs(c) > w) continue;
      group.push_back((r + h) % h * w + (c + w) % w);
    }
    std::sort(group.begin(), group.end());
    group.erase(std::unique(group.begin(), group.end()), group.end());
    groups.push_back(group);
  }
  return groups;
}

MriProblem random_mri(MriProblem shape, double sigma, Random& random) {
  if (shape.pattern == PatternKind::groups && shape.groups.empty())
    shape.groups = spoke_groups(shape.h, shape.w, 9);
  if (shape.sampling.empty()) {
    for (std::size_t k = 0; k < frequency_groups(shape).size(); ++k) {
      const double s = random.uniform();
      const bool direct = shape.map == SamplingMap::direct;
      shape.sampling.push_back(direct ? std::clamp(1.4 * s - 0.2, 0.0, 1.0) : 0.05 + 0.8 * s);
    }
    shape.sampling[0] = std::max(shape.sampling[0], 0.25);  // some data
  }
  if (shape.coils > 0 && shape.maps.empty()) shape.maps = random_maps(shape.coils, shape.h, shape.w, random);
  if (shape.x_true.empty()) {
    for (int i = 0; i < shape.n; ++i) {
      const Image x = random_phantom(shape.h, shape.w, shape.complex_image, random);
      shape.x_true.insert(shape.x_true.end(), x.begin(), x.end());
    }
  }
  if (shape.y.empty()) {
    for (int i = 0; i < shape.n; ++i)
      for (const double value : encode(shape, shape.truth(i)))
        shape.y.push_back(value + sigma * random.normal());
  }
  return shape;
}

std::vector<NamedMri> mri_collection(const MriProblem& shape, Random& random) {
  struct Pattern {
    std::string name;
    PatternKind kind;
    SamplingMap map;
  };
  const std::vector<Pattern> patterns = {{"free", PatternKind::free, SamplingMap::direct},
                                         {"free rational", PatternKind::free, SamplingMap::rational},
                                         {"symmetric", PatternKind::symmetric, SamplingMap::direct},
                                         {"rows", PatternKind::rows, SamplingMap::direct},
                                         {"rows rational", PatternKind::rows, SamplingMap::rational},
                                         {"columns", PatternKind::columns, SamplingMap::direct},
                                         {"spokes", PatternKind::groups, SamplingMap::direct}};
  std::vector<NamedMri> problems;
  for (std::size_t k = 0; k < patterns.size(); ++k) {
    for (const bool complex_image : {false, true}) {
      MriProblem problem = shape;
      problem.complex_image = complex_image;
      problem.pattern = patterns[k].kind;
      problem.map = patterns[k].map;
      problem.coils = (k + complex_image) % 2 == 0 ? 0 : 3;
      problem.potential = k % 3 == 1 ? Potential::huber_c2 : Potential::charbonnier;
      problem.learn_alpha = k % 4 != 1;
      problem.learn_nu = k % 4 >= 2;
      problem.learn_xi = k % 4 == 2;
      problem.beta1 = random.log_uniform(1e-3, 1e-2);
      problem.beta2 = problem.map == SamplingMap::direct ? random.log_uniform(1e-3, 1e-2) : 0.0;
      problem.alpha = random.log_uniform(0.005, 0.05);
      problem.nu = random.log_uniform(0.02, 0.2);
      problem.xi = random.log_uniform(1e-3, 1e-2);
      const std::string name = patterns[k].name + (complex_image ? ", complex" : ", real") +
                               (problem.coils > 0 ? ", coils" : "") +
                               (problem.potential == Potential::huber_c2 ? ", huber_c2" : "");
      problems.push_back({name, random_mri(problem, 0.05, random)});
    }
  }
  struct Kind {
    std::string name;
    Differences differences;
    Potential potential;
    bool isotropic, complex_image;
    int coils;
  };
  const std::vector<Kind> kinds = {
      {"anisotropic, complex", Differences::first, Potential::charbonnier, false, true, 0},
      {"second, complex, coils", Differences::second, Potential::charbonnier, true, true, 2},
      {"second, real, huber_c2", Differences::second, Potential::huber_c2, true, false, 0},
      {"h1, complex", Differences::first, Potential::quadratic, true, true, 0},
      {"tikhonov, real, coils", Differences::none, Potential::quadratic, true, false, 2}};
  for (const Kind& kind : kinds) {
    MriProblem problem = shape;
    problem.differences = kind.differences;
    problem.potential = kind.potential;
    problem.isotropic = kind.isotropic;
    problem.complex_image = kind.complex_image;
    problem.coils = kind.coils;
    problem.pattern = PatternKind::rows;
    problem.learn_alpha = problem.learn_xi = true;
    problem.learn_nu = kind.potential != Potential::quadratic;
    problem.beta1 = problem.beta2 = random.log_uniform(1e-3, 1e-2);
    problem.alpha = random.log_uniform(0.005, 0.05);
    problem.nu = random.log_uniform(0.02, 0.2);
    problem.xi = random.log_uniform(1e-3, 1e-2);
    problems.push_back({kind.name, random_mri(problem, 0.05, random)});
  }
  return problems;
}

}  // namespace bilevel::oracle
