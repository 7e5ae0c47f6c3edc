#pragma once

#include <memory>
#include <string>

#include "bilevel/solve/linear_solver.hpp"

namespace bilevel::testing_support {

/// A linear solver that ends after at most `most` iterations.
class CappedSolver final : public LinearSolver<double> {
 public:
  CappedSolver(const std::string& name, int most) : solver_(make_linear_solver<double>(name)), most_(most) {}
  const char* name() const override { return solver_->name(); }
  SolveReport solve(Context& context, const HessianAt<double>& hessian, const LinearRequest& request,
                    View<const double> b, View<double> q) const override {
    LinearRequest capped = request;
    capped.max_iterations = most_;
    return solver_->solve(context, hessian, capped, b, q);
  }

 private:
  std::unique_ptr<LinearSolver<double>> solver_;
  int most_;
};

}  // namespace bilevel::testing_support
