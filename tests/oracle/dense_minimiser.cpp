#include "tests/oracle/dense_minimiser.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel::oracle {
namespace {

using Real = long double;
using Vector = std::vector<Real>;
using Form = PotentialTerm::Form;

constexpr Real unit = std::numeric_limits<Real>::epsilon() / 2;

std::size_t at(int k) { return static_cast<std::size_t>(k); }

Real apply(const Form& form, const Vector& x) {
  Real sum = 0;
  for (const auto& [k, c] : form) sum += c * x[at(k)];
  return sum;
}
Real absolute(const Form& form, const Vector& x) {
  Real sum = 0;
  for (const auto& [k, c] : form) sum += std::abs(c * x[at(k)]);
  return sum;
}
/// Rounding of a form in units; differences round once, in proportion, which others count.
Real read_error(const Form& form, const Vector& x) {
  bool exact = form.size() <= 2;
  for (const auto& [k, c] : form) exact = exact && std::abs(c) == 1;
  return exact ? 0 : static_cast<Real>(form.size() + 2) * absolute(form, x);
}
Real norm(const Vector& v) {
  Real largest = 0, sum = 0;
  for (Real e : v) largest = std::max(largest, std::abs(e));
  if (!(largest > 0)) return largest;
  for (Real e : v) sum += (e / largest) * (e / largest);
  return largest * std::sqrt(sum);
}

/// rho, w = rho'/r and curved = -w'/r, so that psi = w z and the Hessian is w I - curved z z^T.
struct Potential {
  Real value, w, curved;
  Potential(const PotentialTerm& t, Real r) {
    if (!t.huber) {
      const Real s = std::sqrt(r * r + t.nu * t.nu);
      value = s;
      w = 1 / s;
      curved = 1 / s / s / s;
    } else if (r <= t.nu) {
      value = r * r / t.nu - r * r * r / (3 * t.nu * t.nu);
      w = 2 / t.nu - r / (t.nu * t.nu);
      curved = r > 0 ? 1 / (r * t.nu * t.nu) : 0;
    } else {
      value = r - t.nu / 3;
      w = 1 / r;
      curved = 1 / r / r / r;
    }
  }
};

/// The linear forms of a point, and their length.
struct Point {
  Vector z;
  Real r;
  Point(const std::vector<Form>& forms, const Vector& x) {
    for (const Form& f : forms) z.push_back(apply(f, x));
    r = norm(z);
  }
};

/// A += c f g^T.
void add_outer(Vector& a, int n, const Form& f, const Form& g, Real c) {
  for (const auto& [i, fi] : f)
    for (const auto& [j, gj] : g) a[at(i) * at(n) + at(j)] += c * fi * gj;
}

/// Solves A d = b for a positive definite A; false when rounding makes a pivot vanish.
bool cholesky(Vector a, int n, Vector b, Vector& d) {
  const auto entry = [&](int i, int j) -> Real& { return a[at(i) * at(n) + at(j)]; };
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < j; ++k) entry(j, j) -= entry(j, k) * entry(j, k);
    if (!(entry(j, j) > 0)) return false;
    entry(j, j) = std::sqrt(entry(j, j));
    for (int i = j + 1; i < n; ++i) {
      for (int k = 0; k < j; ++k) entry(i, j) -= entry(i, k) * entry(j, k);
      entry(i, j) /= entry(j, j);
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) b[at(i)] -= entry(i, k) * b[at(k)];
    b[at(i)] /= entry(i, i);
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int k = i + 1; k < n; ++k) b[at(i)] -= entry(k, i) * b[at(k)];
    b[at(i)] /= entry(i, i);
  }
  d = std::move(b);
  return true;
}

/// Dual vectors of all points of all terms, in order.
using Dual = std::vector<Vector>;

Dual dual_of(const DenseProblem& p, const Vector& x) {
  Dual out;
  for (const PotentialTerm& t : p.terms)
    for (const auto& forms : t.points) {
      Point point(forms, x);
      const Potential rho(t, point.r);
      for (Real& e : point.z) e *= rho.w;
      out.push_back(point.z);
    }
  return out;
}

/// sum w e e^T.
Vector quadratic_matrix(const DenseProblem& p) {
  Vector a(at(p.unknowns) * at(p.unknowns), 0);
  for (const auto& s : p.squares) add_outer(a, p.unknowns, s.form, s.form, s.weight);
  return a;
}

/// The quadratic part + K^T M K, M = w I - kappa/2 (z zeta^T + zeta z^T), kappa = curved / w.
Vector newton_matrix(const DenseProblem& p, Vector a, const Vector& x, const Dual& dual) {
  const int n = p.unknowns;
  std::size_t k = 0;
  for (const PotentialTerm& t : p.terms)
    for (const auto& forms : t.points) {
      const Point point(forms, x);
      const Potential rho(t, point.r);
      const Vector& zeta = dual[k++];
      for (std::size_t i = 0; i < forms.size(); ++i)
        for (std::size_t j = 0; j < forms.size(); ++j) {
          const Real cross = rho.curved / rho.w / 2 * (point.z[i] * zeta[j] + zeta[i] * point.z[j]);
          add_outer(a, n, forms[i], forms[j], t.weight * ((i == j ? rho.w : 0) - cross));
        }
    }
  return a;
}

/// The dual field linearised along d and projected onto the unit balls.
void step_dual(const DenseProblem& p, const Vector& x, const Vector& d, Dual& dual) {
  std::size_t k = 0;
  for (const PotentialTerm& t : p.terms)
    for (const auto& forms : t.points) {
      const Point here(forms, x), move(forms, d);
      const Potential rho(t, here.r);
      Vector& zeta = dual[k++];
      Real along = 0;
      for (std::size_t i = 0; i < zeta.size(); ++i) along += here.z[i] * move.z[i];
      for (std::size_t i = 0; i < zeta.size(); ++i)
        zeta[i] = rho.w * (here.z[i] + move.z[i]) - rho.curved / rho.w * along * zeta[i];
      const Real length = norm(zeta);
      for (Real& e : zeta) e /= std::max<Real>(1, length);
    }
}

/// What is added up in one entry of a gradient.
struct Entry {
  Real sum = 0, own = 0, terms = 0;  ///< of |terms|, of their own rounding in units, their number
  void add(Real c, Real value, Real error) {
    sum += std::abs(c * value);
    own += std::abs(c) * (error + 2 * std::abs(value));
    terms += 1;
  }
  Real rounding() const { return own + (terms + 1) * sum; }
};

}  // namespace

DenseGradient gradient(const DenseProblem& p, const Vector& x) {
  DenseGradient out;
  std::vector<Entry> entries(x.size());
  out.gradient.assign(x.size(), 0);
  const auto add = [&](const Form& f, Real value, Real error) {
    for (const auto& [k, c] : f) {
      out.gradient[at(k)] += c * value;
      entries[at(k)].add(c, value, error);
    }
  };
  for (const auto& s : p.squares) {
    const Real r = apply(s.form, x) - s.target;
    out.value += s.weight * r * r / 2;
    add(s.form, s.weight * r, s.weight * (read_error(s.form, x) + 2 * std::abs(r)));
  }
  for (const PotentialTerm& t : p.terms)
    for (const auto& forms : t.points) {
      const Point point(forms, x);
      const Potential rho(t, point.r);
      out.value += t.weight * rho.value;
      Real read = 0;
      for (const Form& f : forms) read += read_error(f, x);
      for (std::size_t i = 0; i < forms.size(); ++i) {
        const Real psi = rho.w * point.z[i];
        // a form that is off by d moves psi by at most 2 w d: rho'' <= 2 w
        add(forms[i], t.weight * psi, t.weight * (2 * rho.w * read + 16 * std::abs(psi)));
      }
    }
  Vector rounding;
  for (const Entry& e : entries) rounding.push_back(e.rounding());
  out.norm = norm(out.gradient);
  out.rounding = unit * norm(rounding) + 4 * unit * out.norm;
  return out;
}

DenseMinimiser minimise(const DenseProblem& p, const std::vector<double>& start, Real enough) {
  Vector x(start.begin(), start.end());
  const Vector quadratic = quadratic_matrix(p);
  Dual dual = dual_of(p, x);
  DenseGradient here = gradient(p, x);
  const auto distance = [&](const DenseGradient& g) { return (g.norm + g.rounding) / p.mu; };
  for (int k = 0; k < 300 && distance(here) > enough; ++k) {
    Vector d, descent = here.gradient;
    for (Real& e : descent) e = -e;
    if (!cholesky(newton_matrix(p, quadratic, x, dual), p.unknowns, descent, d)) break;
    Real slope = 0;
    for (std::size_t i = 0; i < x.size(); ++i) slope += here.gradient[i] * d[i];
    bool moved = false;
    for (Real step = 1; step > 1e-12L && !moved; step /= 2) {
      Vector trial = x, by = d;
      for (Real& e : by) e *= step;
      for (std::size_t i = 0; i < x.size(); ++i) trial[i] += by[i];
      const DenseGradient there = gradient(p, trial);
      moved = there.norm <= 0.7L * here.norm ||
              there.value - here.value <= 1e-4L * step * slope - 8 * unit * std::abs(here.value);
      if (!moved) continue;
      step_dual(p, x, by, dual);
      x = trial;
      here = there;
    }
    if (!moved) break;
  }
  return {x, distance(here)};
}

std::vector<std::vector<Form>> differences(int height, int width, int first) {
  std::vector<std::vector<Form>> out;
  for (int r = 0; r < height; ++r)
    for (int c = 0; c < width; ++c) {
      const int p = first + r * width + c;
      std::vector<Form> forms(height > 1 ? 2 : 1);
      if (c + 1 < width) forms[0] = {{p + 1, 1}, {p, -1}};
      if (height > 1 && r + 1 < height) forms[1] = {{p + width, 1}, {p, -1}};
      out.push_back(forms);
    }
  return out;
}

std::vector<std::vector<Form>> second_differences(int height, int width) {
  const Real root = std::sqrt(Real(2));
  std::vector<std::vector<Form>> out;
  for (int r = 0; r < height; ++r)
    for (int c = 0; c < width; ++c) {
      const int p = r * width + c;
      std::vector<Form> forms(3);
      const auto along = [&](Form& form, bool before, bool after, int step) {
        if (before) form.push_back({p - step, 1});
        if (before || after) form.push_back({p, -Real(before) - Real(after)});
        if (after) form.push_back({p + step, 1});
      };
      along(forms[0], c > 0, c + 1 < width, 1);
      along(forms[1], r > 0, r + 1 < height, width);
      if (c + 1 < width && r + 1 < height)
        forms[2] = {{p, root}, {p + 1, -root}, {p + width, -root}, {p + width + 1, root}};
      out.push_back(forms);
    }
  return out;
}

}  // namespace bilevel::oracle
