# One object library per instruction set, all from the files of kernels/. Each defines the namespace
# bilevel::kernels::BILEVEL_BACKEND. Contraction is off, so that every variant computes the same bits; but for the
# hand-tuned experts_*, which live on fused multiply-add and which variants without it do not have.
set(BILEVEL_KERNEL_OPTIMISATION -O3)
if(BILEVEL_SANITIZE)  # instrumented loops take minutes to vectorise
  set(BILEVEL_KERNEL_OPTIMISATION -O1)
endif()
set(BILEVEL_KERNEL_FLAGS ${BILEVEL_KERNEL_OPTIMISATION} -fno-math-errno -fno-trapping-math -ffp-contract=off -fvisibility=hidden
  -fvisibility-inlines-hidden -fno-semantic-interposition)
set(BILEVEL_KERNEL_BACKENDS baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND BILEVEL_KERNEL_BACKENDS avx2 avx512)
endif()
set(BILEVEL_KERNEL_FLAGS_baseline "")
set(BILEVEL_KERNEL_FLAGS_avx2 -march=x86-64-v3)
set(BILEVEL_KERNEL_FLAGS_avx512 -march=x86-64-v4 -mprefer-vector-width=512)

# bilevel_add_kernels(<back end> <compiler option>...)
function(bilevel_add_kernels backend)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cpp ${PROJECT_SOURCE_DIR}/kernels/overrides/cpu/*.cpp)
  set(fused ${sources})
  list(FILTER fused INCLUDE REGEX "/overrides/cpu/experts_")
  if(backend STREQUAL baseline)
    list(REMOVE_ITEM sources ${fused})
  endif()
  set_source_files_properties(${fused} PROPERTIES COMPILE_OPTIONS -ffp-contract=fast)
  add_library(bilevel_kernels_${backend} OBJECT ${sources})
  target_include_directories(bilevel_kernels_${backend} PRIVATE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/include)
  target_compile_definitions(bilevel_kernels_${backend} PRIVATE BILEVEL_BACKEND=${backend} bilevel_EXPORTS)
  target_compile_options(bilevel_kernels_${backend} PRIVATE ${BILEVEL_KERNEL_FLAGS} ${ARGN})
  if(BILEVEL_SANITIZE AND backend STREQUAL avx512)
    # Minutes per file. The bodies are those of AVX2, where undefined behaviour is looked for; here only addresses are.
    target_compile_options(bilevel_kernels_${backend} PRIVATE -fno-sanitize=undefined)
  endif()
  target_link_libraries(bilevel_kernels_${backend} PRIVATE bilevel_warnings)
endfunction()
