# cmake -C cmake/presets/debug.cmake -S . -B build-debug: host code unoptimised, libstdc++ containers checked.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS "-D_GLIBCXX_ASSERTIONS" CACHE STRING "")
set(BILEVEL_WERROR ON CACHE BOOL "")
