# bilevel_math: what Fourier transforms on the CPU run on, FFTW3 in both precisions. bilevel_blas: what matrix products run
# on, a CBLAS, which the module bilevel_cblas alone has: OpenBLAS starts a thread per core when it is loaded, each of which
# retries for ever when memory is short.
find_package(PkgConfig REQUIRED)
pkg_check_modules(BILEVEL_FFTW REQUIRED IMPORTED_TARGET fftw3 fftw3f)
pkg_check_modules(BILEVEL_OPENBLAS IMPORTED_TARGET openblas)

add_library(bilevel_math INTERFACE)
target_link_libraries(bilevel_math INTERFACE PkgConfig::BILEVEL_FFTW)
add_library(bilevel_blas INTERFACE)
if(BILEVEL_OPENBLAS_FOUND)
  target_link_libraries(bilevel_blas INTERFACE PkgConfig::BILEVEL_OPENBLAS)
else()
  find_package(BLAS REQUIRED)
  find_path(BILEVEL_CBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas cblas REQUIRED)
  target_include_directories(bilevel_blas SYSTEM INTERFACE ${BILEVEL_CBLAS_INCLUDE})
  target_link_libraries(bilevel_blas INTERFACE BLAS::BLAS)
endif()

# BILEVEL_LBFGSB_OBJECT: L-BFGS-B from its archive, with one symbol left, bilevel_lbfgsb_setulb_, and every name that it
# calls renamed to bilevel_lbfgsb_NAME, defined in src/learn/lbfgsb_runtime.cpp.
find_file(BILEVEL_LBFGSB_ARCHIVE liblbfgsb.a PATH_SUFFIXES lib lib/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
set(BILEVEL_LBFGSB_OBJECT ${PROJECT_BINARY_DIR}/lbfgsb/bilevel_lbfgsb.o)
set(renamed)
foreach(name setulb_ timer_ daxpy_ dcopy_ ddot_ dscal_ dpotrf_ dtrtrs_ _gfortran_compare_string _gfortran_st_write
    _gfortran_st_write_done _gfortran_transfer_array_write _gfortran_transfer_character_write
    _gfortran_transfer_integer_write _gfortran_transfer_real_write)
  list(APPEND renamed --redefine-sym ${name}=bilevel_lbfgsb_${name})
endforeach()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/lbfgsb)
add_custom_command(OUTPUT ${BILEVEL_LBFGSB_OBJECT}
  COMMAND ${CMAKE_AR} x ${BILEVEL_LBFGSB_ARCHIVE} lbfgsb.o
  COMMAND ${CMAKE_OBJCOPY} ${renamed} --keep-global-symbol=bilevel_lbfgsb_setulb_ lbfgsb.o ${BILEVEL_LBFGSB_OBJECT}
  WORKING_DIRECTORY ${PROJECT_BINARY_DIR}/lbfgsb DEPENDS ${BILEVEL_LBFGSB_ARCHIVE} VERBATIM)
set_source_files_properties(${BILEVEL_LBFGSB_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_custom_target(bilevel_lbfgsb DEPENDS ${BILEVEL_LBFGSB_OBJECT})
