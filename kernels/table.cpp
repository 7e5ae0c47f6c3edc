#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_tv(Table<T>& table);
template <class T>
void fill_krylov(Table<T>& table);
template <class T>
void fill_lbfgs(Table<T>& table);

namespace {

template <class T>
Table<T> filled() {
  Table<T> table{};
  fill_tv(table);
  fill_krylov(table);
  fill_lbfgs(table);
  return table;
}

}  // namespace

const Table<float>& table_float() {
  static const Table<float> table = filled<float>();
  return table;
}
const Table<double>& table_double() {
  static const Table<double> table = filled<double>();
  return table;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
