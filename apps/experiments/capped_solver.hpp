#pragma once

#include <memory>
#include <string>

#include "bilevel/solve/linear_solver.hpp"

namespace bilevel_app::experiments {

/// A linear solver that ends after at most `most` iterations.
class CappedSolver final : public bilevel::LinearSolver<double> {
 public:
  CappedSolver(const std::string& name, int most)
      : solver_(bilevel::make_linear_solver<double>(name)), most_(most) {}
  const char* name() const override { return solver_->name(); }
  bilevel::SolveReport solve(bilevel::Context& context, const bilevel::HessianAt<double>& hessian,
                             const bilevel::LinearRequest& request, bilevel::View<const double> b,
                             bilevel::View<double> q) const override {
    bilevel::LinearRequest capped = request;
    capped.max_iterations = most_;
    return solver_->solve(context, hessian, capped, b, q);
  }

 private:
  std::unique_ptr<bilevel::LinearSolver<double>> solver_;
  int most_;
};

}  // namespace bilevel_app::experiments
