#pragma once

#include <functional>
#include <memory>
#include <string>

#include "apps/common/image_data.hpp"
#include "apps/denoise/verdict.hpp"
#include "bilevel/learn/hypergradient.hpp"
#include "bilevel/learn/unrolled_hypergradient.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/model_file.hpp"

namespace bilevel_app::denoise {

/// Makes the energy of noisy images that is checked.
using EnergyMaker = std::function<std::unique_ptr<bilevel::Energy<double>>(
    bilevel::Context&, bilevel::View<const double> noisy)>;

/// The lower level and its derivatives as functions of host arrays.
class Laboratory {
 public:
  /// `make`: another energy than that of `options`; may be empty.
  Laboratory(bilevel::Context& context, const ImageBatch& batch, const bilevel::Parameters& parameters,
             const bilevel::RegulariserSum& options, const EnergyMaker& make);

  const bilevel::BilevelProblem<double>& problem() const { return problem_; }
  const bilevel::RegulariserSum& options() const { return options_; }
  const bilevel::Shape& shape() const { return shape_; }  ///< of the unknown
  std::size_t pixels() const { return truth_.shape().image(); }
  /// The noisy images as an unknown.
  Vector start();
  bilevel::Curvature curvature(const Vector& theta);

  struct Evaluated {
    double value = 0;
    Vector gradient;
    double rounding = 0;  ///< bound on that of the gradient
  };
  /// sum_i Phi_i and the gradients.
  Evaluated evaluate(const Vector& theta, const Vector& x);
  Vector hessian_product(const Vector& theta, const Vector& x, const Vector& d);
  /// B direction.
  Vector mixed(const Vector& theta, const Vector& x, const Vector& direction);
  /// B^T q, summed over the images.
  Vector mixed_adjoint(const Vector& theta, const Vector& x, const Vector& q);

  struct Solved {
    Vector x, certificate;
    double iterations = 0;  ///< of the image that took most; infinite when the solver failed
    std::string failure = {};
  };
  /// Reconstructions with certificates, from the noisy images. Throws Error when the solver fails.
  Solved solve(const Vector& theta, double tolerance);
  /// The same by a solver that may fail.
  Solved solve_by(const std::string& solver, const Vector& theta, double tolerance);
  /// x as it is, with its certificates.
  Solved certify(const Vector& theta, const Vector& x);
  /// z and its bound at solved reconstructions; along a direction of theta too, unless that is empty. Throws
  /// Error when the solver fails.
  bilevel::HypergradientResult hypergradient(const Vector& theta, const Solved& at, double delta,
                                             const Vector& direction = {});
  /// As asked for, by a linear solver of one's own, which may fail.
  bilevel::HypergradientResult hypergradient(const Vector& theta, const Solved& at,
                                             const bilevel::HypergradientRequest& request,
                                             std::shared_ptr<const bilevel::LinearSolver<double>> solver);

  struct Unrolled {
    bilevel::UnrolledResult result;
    Vector x;  ///< x^K
  };
  /// From the noisy images.
  Unrolled unroll(const Vector& theta, const bilevel::UnrolledOptions& options);

 private:
  bilevel::HypergradientResult computed(bilevel::ImplicitHypergradient<double>& gradient, const Vector& theta,
                                        const Solved& at, const bilevel::HypergradientRequest& request);
  struct Scratch;
  bilevel::Energy<double>& energy() const { return problem_.energy(); }
  bilevel::Scalars scalars(bilevel::Frame& frame) const;
  Solved go_on(const std::string& solver, double tolerance);

  bilevel::Context& context_;
  bilevel::RegulariserSum options_;
  bilevel::Tensor<double> truth_, noisy_;
  bilevel::BilevelProblem<double> problem_;
  bilevel::Shape shape_;
  bilevel::Tensor<double> x_;
};

}  // namespace bilevel_app::denoise
