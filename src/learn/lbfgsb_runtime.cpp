// What the compiled L-BFGS-B calls, under names of its own (cmake/BilevelMath.cmake): the level-1 BLAS and
// the two LAPACK routines for matrices of a few columns, which then take no threads and no buffers and give
// the same bits with any BLAS; and the parts of the Fortran runtime. What it writes is dropped: even when
// told to be silent it would print to the standard output.

#include <cmath>
#include <cstddef>
#include <cstring>

namespace {

const double& at(const double* a, int lda, int i, int j) {
  return a[static_cast<std::ptrdiff_t>(j) * lda + i];
}

}  // namespace

extern "C" {

// y <- y + a x, y <- x, <x, y>, x <- a x; increments are positive.
void bilevel_lbfgsb_daxpy_(const int* n, const double* a, const double* x, const int* incx, double* y,
                           const int* incy) {
  for (std::ptrdiff_t i = 0; i < *n; ++i) y[i * *incy] += *a * x[i * *incx];
}
void bilevel_lbfgsb_dcopy_(const int* n, const double* x, const int* incx, double* y, const int* incy) {
  for (std::ptrdiff_t i = 0; i < *n; ++i) y[i * *incy] = x[i * *incx];
}
double bilevel_lbfgsb_ddot_(const int* n, const double* x, const int* incx, const double* y,
                            const int* incy) {
  double sum = 0;
  for (std::ptrdiff_t i = 0; i < *n; ++i) sum += x[i * *incx] * y[i * *incy];
  return sum;
}
void bilevel_lbfgsb_dscal_(const int* n, const double* a, double* x, const int* incx) {
  for (std::ptrdiff_t i = 0; i < *n; ++i) x[i * *incx] *= *a;
}

/// A = U^T U in the upper triangle of a; info = j where the leading j by j block is not positive definite.
void bilevel_lbfgsb_dpotrf_(const char*, const int* n, double* a, const int* lda, int* info, std::size_t) {
  *info = 0;
  for (int j = 0; j < *n; ++j) {
    for (int i = 0; i <= j; ++i) {
      double sum = at(a, *lda, i, j);
      for (int k = 0; k < i; ++k) sum -= at(a, *lda, k, i) * at(a, *lda, k, j);
      if (i == j && !(sum > 0)) {
        *info = j + 1;
        return;
      }
      const_cast<double&>(at(a, *lda, i, j)) = i == j ? std::sqrt(sum) : sum / at(a, *lda, i, i);
    }
  }
}

/// U x = b or U^T x = b, U the upper triangle of a, for every column of b; info = j where U_jj = 0.
void bilevel_lbfgsb_dtrtrs_(const char*, const char* transposed, const char*, const int* n,
                            const int* columns, const double* a, const int* lda, double* b, const int* ldb,
                            int* info, std::size_t, std::size_t, std::size_t) {
  *info = 0;
  for (int j = *n; j-- > 0;)
    if (at(a, *lda, j, j) == 0) *info = j + 1;
  if (*info != 0) return;
  for (int c = 0; c < *columns; ++c) {
    double* x = b + static_cast<std::ptrdiff_t>(c) * *ldb;
    if (*transposed == 'N' || *transposed == 'n') {
      for (int i = *n; i-- > 0;) {
        for (int k = i + 1; k < *n; ++k) x[i] -= at(a, *lda, i, k) * x[k];
        x[i] /= at(a, *lda, i, i);
      }
    } else {
      for (int i = 0; i < *n; ++i) {
        for (int k = 0; k < i; ++k) x[i] -= at(a, *lda, k, i) * x[k];
        x[i] /= at(a, *lda, i, i);
      }
    }
  }
}

/// CPU time, for what would be printed.
void bilevel_lbfgsb_timer_(double* seconds) { *seconds = 0; }

/// Fortran compares as if the shorter text ended with blanks.
int bilevel_lbfgsb__gfortran_compare_string(std::size_t length_a, const char* a, std::size_t length_b,
                                            const char* b) {
  const std::size_t longest = length_a > length_b ? length_a : length_b;
  for (std::size_t i = 0; i < longest; ++i) {
    const unsigned char x = i < length_a ? static_cast<unsigned char>(a[i]) : ' ';
    const unsigned char y = i < length_b ? static_cast<unsigned char>(b[i]) : ' ';
    if (x != y) return x < y ? -1 : 1;
  }
  return 0;
}

void bilevel_lbfgsb__gfortran_st_write(void*) {}
void bilevel_lbfgsb__gfortran_st_write_done(void*) {}
void bilevel_lbfgsb__gfortran_transfer_array_write(void*, void*, int, std::size_t) {}
void bilevel_lbfgsb__gfortran_transfer_character_write(void*, const char*, std::size_t) {}
void bilevel_lbfgsb__gfortran_transfer_integer_write(void*, void*, int) {}
void bilevel_lbfgsb__gfortran_transfer_real_write(void*, void*, int) {}

}  // extern "C"
