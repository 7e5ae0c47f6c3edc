#include <cmath>
#include <string_view>
#include <type_traits>

#include "bilevel/core/error.hpp"
#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "solve/conjugate_gradient.hpp"
#include "solve/gradient_methods.hpp"
#include "solve/lbfgs.hpp"
#include "solve/mixed.hpp"
#include "solve/newton.hpp"
#include "solve/pdhg.hpp"
#include "solve/stationary.hpp"

namespace bilevel {
inline namespace v0 {

const char* status_name(SolveStatus status) {
  switch (status) {
    case SolveStatus::converged:
      return "converged";
    case SolveStatus::decided:
      return "decided";
    case SolveStatus::iteration_cap:
      return "iteration_cap";
    case SolveStatus::rounding_limited:
      return "rounding_limited";
    case SolveStatus::budget:
      return "budget";
    case SolveStatus::failed:
      return "failed";
  }
  return "unknown";
}

namespace {

void require_tolerances(double tolerance, std::span<const double> per_image, int images) {
  if (!per_image.empty() && per_image.size() != static_cast<std::size_t>(images))
    throw ShapeError(std::to_string(per_image.size()) + " tolerances were given for " +
                     std::to_string(images) + " images.");
  if (per_image.empty() && !(tolerance > 0)) throw ConfigError("the tolerance must be positive.");
  for (double t : per_image)
    if (!(t > 0)) throw ConfigError("every tolerance must be positive.");
}

void require_caps(int max_iterations, int check_every) {
  if (max_iterations < 1) throw ConfigError("the iteration cap must be at least 1.");
  if (check_every < 1) throw ConfigError("check_every must be at least 1.");
}

}  // namespace

template <class T>
void SolveRequest<T>::validate(int images) const {
  require_tolerances(tolerance, per_image, images);
  require_caps(max_iterations, check_every);
}
template struct BILEVEL_API SolveRequest<float>;
template struct BILEVEL_API SolveRequest<double>;

void LinearRequest::validate(int images) const {
  require_tolerances(tolerance, per_image, images);
  require_caps(max_iterations, check_every);
}

template <class T>
Minimiser<T>::~Minimiser() = default;
template class BILEVEL_API Minimiser<float>;
template class BILEVEL_API Minimiser<double>;
template <class T>
LinearSolver<T>::~LinearSolver() = default;
template class BILEVEL_API LinearSolver<float>;
template class BILEVEL_API LinearSolver<double>;

namespace {

/// Takes "mixed:" from the front of a name.
bool take_mixed(std::string& name, bool is_double) {
  constexpr std::string_view prefix = "mixed:";
  if (!name.starts_with(prefix)) return false;
  if (!is_double) throw ConfigError("solver '" + name + "' returns double precision and needs data in it.");
  name.erase(0, prefix.size());
  return true;
}

}  // namespace

template <class T>
std::unique_ptr<Minimiser<T>> make_minimiser(const std::string& given) {
  std::string name = given;
  const bool mixed = take_mixed(name, std::is_same_v<T, double>);
  if constexpr (std::is_same_v<T, double>) {
    if (mixed) return make_mixed_minimiser(name);
  }
  if (name == "newton") return std::make_unique<Newton<T>>();
  if (name == "gradient-descent") return std::make_unique<GradientDescent<T>>();
  if (name == "heavy-ball") return std::make_unique<HeavyBall<T>>();
  if (name == "fista") return std::make_unique<Fista<T>>();
  if (name == "fista-restart") return std::make_unique<FistaRestart<T>>();
  if (name == "pdhg") return std::make_unique<Pdhg<T>>();
  if (name == "lbfgs") return std::make_unique<Lbfgs<T>>();
  throw ConfigError(
      "lower-level solver '" + name +
      "': unknown; use newton, lbfgs, fista, fista-restart, pdhg, heavy-ball or gradient-descent.");
}
template BILEVEL_API std::unique_ptr<Minimiser<float>> make_minimiser(const std::string&);
template BILEVEL_API std::unique_ptr<Minimiser<double>> make_minimiser(const std::string&);

template <class T>
std::unique_ptr<LinearSolver<T>> make_linear_solver(const std::string& given) {
  std::string name = given;
  const bool mixed = take_mixed(name, std::is_same_v<T, double>);
  if constexpr (std::is_same_v<T, double>)
    if (mixed) return make_mixed_linear_solver(name);
  if (name == "pcg") return std::make_unique<ConjugateGradient<T>>(true);
  if (name == "cg") return std::make_unique<ConjugateGradient<T>>(false);
  if (name == "gradient-descent") return std::make_unique<RichardsonSolver<T>>();
  if (name == "heavy-ball") return std::make_unique<HeavyBallSolver<T>>();
  throw ConfigError("linear solver '" + name + "': unknown; use pcg, cg, gradient-descent or heavy-ball.");
}
template BILEVEL_API std::unique_ptr<LinearSolver<float>> make_linear_solver(const std::string&);
template BILEVEL_API std::unique_ptr<LinearSolver<double>> make_linear_solver(const std::string&);

}  // namespace v0
}  // namespace bilevel
