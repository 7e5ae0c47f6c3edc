#pragma once

#include <memory>
#include <span>
#include <vector>

#include "apps/learn/samples.hpp"
#include "bilevel/ops/dense_operator.hpp"

namespace bilevel_app::learn {

/// A row-major matrix.
struct Matrix {
  int rows = 0, columns = 0;
  std::vector<double> values;
};

/// Read a `.npy` array [rows][columns], or [n] or [n][1], of real numbers. Throw IoError whose sentence
/// begins with the option: what the reader refuses, another shape, no number, numbers that are not finite.
Matrix read_matrix(const NamedFile& file);
std::vector<double> read_vector(const NamedFile& file);

/// A dense operator of the numbers of a file. Throws IoError naming it for numbers whose squares leave the
/// range of double precision.
template <class T>
std::shared_ptr<const bilevel::DenseOperator<T>> operator_of(bilevel::Context& context, int vectors, int rows,
                                                             int columns, std::span<const double> values,
                                                             const NamedFile& file);
/// The same of samples, which it reads `block_rows` at a time as long as it lives.
template <class T>
std::shared_ptr<const bilevel::DenseOperator<T>> streamed_operator_of(bilevel::Context& context, int vectors,
                                                                      const Features& samples, int block_rows,
                                                                      const NamedFile& file);

}  // namespace bilevel_app::learn
