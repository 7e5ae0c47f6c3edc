# cmake -C cmake/presets/release.cmake -S . -B build: the library, the apps and the tests, optimised.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
