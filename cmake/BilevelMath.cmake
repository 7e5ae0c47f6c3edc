# bilevel_math: what Fourier transforms and matrix products on the CPU run on, FFTW3 in both precisions and a CBLAS; and
# L-BFGS-B.
find_package(PkgConfig REQUIRED)
pkg_check_modules(BILEVEL_FFTW REQUIRED IMPORTED_TARGET fftw3 fftw3f)
pkg_check_modules(BILEVEL_OPENBLAS IMPORTED_TARGET openblas)

add_library(bilevel_math INTERFACE)
target_link_libraries(bilevel_math INTERFACE PkgConfig::BILEVEL_FFTW)
find_library(BILEVEL_LBFGSB lbfgsb REQUIRED)
target_link_libraries(bilevel_math INTERFACE ${BILEVEL_LBFGSB})
if(BILEVEL_OPENBLAS_FOUND)
  target_link_libraries(bilevel_math INTERFACE PkgConfig::BILEVEL_OPENBLAS)
else()
  find_package(BLAS REQUIRED)
  find_path(BILEVEL_CBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas cblas REQUIRED)
  target_include_directories(bilevel_math SYSTEM INTERFACE ${BILEVEL_CBLAS_INCLUDE})
  target_link_libraries(bilevel_math INTERFACE BLAS::BLAS)
endif()
