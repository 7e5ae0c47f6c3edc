# Decides whether the CUDA back end is built. The sources do not hold one yet, so ON is refused.
if(BILEVEL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "BILEVEL_CUDA=ON: this version has no CUDA back end; configure with BILEVEL_CUDA=AUTO or OFF.")
endif()
