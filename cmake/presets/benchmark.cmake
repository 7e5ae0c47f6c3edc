# cmake -C cmake/presets/benchmark.cmake -S . -B build-benchmark: the benchmarks, in build-benchmark/tests/bench.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(BILEVEL_BENCHMARKS ON CACHE BOOL "")
set(BILEVEL_TESTS OFF CACHE BOOL "")
