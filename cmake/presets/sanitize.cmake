# cmake -C cmake/presets/sanitize.cmake -S . -B build-sanitize: address and undefined-behaviour sanitizers.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(CMAKE_CXX_FLAGS "-D_GLIBCXX_ASSERTIONS" CACHE STRING "")
set(CMAKE_CXX_FLAGS_RELEASE "-O1" CACHE STRING "")
set(BILEVEL_SANITIZE "address,undefined" CACHE STRING "")
set(BILEVEL_CUDA OFF CACHE STRING "")
set(BILEVEL_WERROR OFF CACHE BOOL "")
