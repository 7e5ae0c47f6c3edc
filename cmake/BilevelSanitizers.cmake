# -DBILEVEL_SANITIZE=address,undefined instruments the library, the apps and the tests.
if(BILEVEL_SANITIZE)
  add_compile_options(-fsanitize=${BILEVEL_SANITIZE} -fno-omit-frame-pointer -g1)  # lines for stack traces, at half the cost of -g
  add_link_options(-fsanitize=${BILEVEL_SANITIZE})
  if(BILEVEL_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
