# Warnings of every target of the project.
add_library(bilevel_warnings INTERFACE)
target_compile_options(bilevel_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wno-unknown-pragmas>)
# GCC 12 sees an overlap inside std::string where there is none (GCC bug 105651, mended in 13).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(bilevel_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(BILEVEL_WERROR)
  target_compile_options(bilevel_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
