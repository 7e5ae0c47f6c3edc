#include "apps/learn/matrix_file.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/common/option_support.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/io/array_file.hpp"
#include "bilevel/model/named_option.hpp"

namespace bilevel_app::learn {

using namespace bilevel;

namespace {

/// An array of one of the shapes that `expected` names.
Array read_numbers(const NamedFile& file, const char* expected, bool (*fits)(const Array&)) {
  Array array = read_for(file.option, [&file] { return read_npy(file.path); });
  if (!fits(array)) {
    std::string shape;
    for (const std::size_t extent : array.shape) shape += "[" + std::to_string(extent) + "]";
    throw IoError(file.text(), std::string("it must be an array ") + expected + ", but is " +
                                   (shape.empty() ? "a single number." : "one " + shape + "."));
  }
  if (array.values.empty()) throw IoError(file.text(), "it holds no number.");
  if (array.values.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw IoError(file.text(), "it holds 2^31 numbers or more.");
  const auto bad =
      std::find_if(array.values.begin(), array.values.end(), [](double v) { return !std::isfinite(v); });
  if (bad != array.values.end())
    throw IoError(file.text(), "number " + std::to_string(bad - array.values.begin()) +
                                   " (counted from 0) is " + option_text(*bad) + ", which is not finite.");
  return array;
}

/// What `make` makes; what it says of its numbers it says of the file they are from.
template <class T, class Make>
std::shared_ptr<const DenseOperator<T>> named(const NamedFile& file, const Make& make) {
  try {
    return make();
  } catch (const ConfigError& error) {
    throw IoError(file.text(), error.what());
  }
}

}  // namespace

Matrix read_matrix(const NamedFile& file) {
  Array a = read_numbers(file, "[rows][columns]", [](const Array& m) { return m.shape.size() == 2; });
  return {static_cast<int>(a.shape[0]), static_cast<int>(a.shape[1]), std::move(a.values)};
}

std::vector<double> read_vector(const NamedFile& file) {
  return read_numbers(
             file, "[n] or [n][1]",
             [](const Array& v) { return v.shape.size() == 1 || (v.shape.size() == 2 && v.shape[1] == 1); })
      .values;
}

template <class T>
std::shared_ptr<const DenseOperator<T>> operator_of(Context& context, int vectors, int rows, int columns,
                                                    std::span<const double> values, const NamedFile& file) {
  return named<T>(file, [&] {
    return std::make_shared<const DenseOperator<T>>(context, 1, vectors, rows, columns, values);
  });
}

template <class T>
std::shared_ptr<const DenseOperator<T>> streamed_operator_of(Context& context, int vectors,
                                                             const Features& samples, int block_rows,
                                                             const NamedFile& file) {
  const RowReader<T> read = [&samples](int first, int, std::span<T> out) { samples.copy_to(out, first); };
  return named<T>(file, [&] {
    return std::make_shared<const DenseOperator<T>>(context, 1, vectors, samples.count, samples.width, read,
                                                    block_rows);
  });
}

#define BILEVEL_INSTANTIATE(T)                                                                               \
  template std::shared_ptr<const DenseOperator<T>> operator_of(Context&, int, int, int,                      \
                                                               std::span<const double>, const NamedFile&);   \
  template std::shared_ptr<const DenseOperator<T>> streamed_operator_of(Context&, int, const Features&, int, \
                                                                        const NamedFile&);
BILEVEL_INSTANTIATE(float)
BILEVEL_INSTANTIATE(double)
#undef BILEVEL_INSTANTIATE

}  // namespace bilevel_app::learn
