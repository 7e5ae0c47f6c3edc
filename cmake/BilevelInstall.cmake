# Install rules, find_package(bilevel) and pkg-config. Three components, each installed whole or refused:
#   library  libbilevel, libbilevel_io, and the modules: libbilevel_cblas, those of CUDA where they are built
#   headers  include/bilevel, the files of find_package and pkg-config
#   apps     the programs of this tree
include(CMakePackageConfigHelpers)

set(modules bilevel_cblas)
if(TARGET bilevel_cuda)
  list(APPEND modules bilevel_cuda bilevel_cuda_libraries)
endif()
set(library_targets bilevel bilevel_io ${modules})
set(app_targets)
foreach(app denoise mri learn experiments bench)
  if(TARGET bilevel-${app})
    list(APPEND app_targets bilevel-${app})
  endif()
endforeach()

# bilevel_refuse_unless_built(<component> <target>...): before anything is copied.
function(bilevel_refuse_unless_built component)
  foreach(target IN LISTS ARGN)
    install(CODE "if(NOT EXISTS \"$<TARGET_FILE:${target}>\")
  message(FATAL_ERROR \"bilevel: the component '${component}' cannot be installed, because \"
    \"$<TARGET_FILE_NAME:${target}> is not built. Build it with: cmake --build ${PROJECT_BINARY_DIR}\")
endif()" COMPONENT ${component})
  endforeach()
endfunction()
bilevel_refuse_unless_built(library ${library_targets})
bilevel_refuse_unless_built(apps ${app_targets})

install(TARGETS bilevel bilevel_io EXPORT bilevelTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT headers
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(TARGETS ${modules} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
if(NOT BUILD_SHARED_LIBS)
  install(TARGETS bilevel_math bilevel_formats EXPORT bilevelTargets)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/bilevel ${PROJECT_BINARY_DIR}/include/bilevel
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT headers FILES_MATCHING PATTERN "*.hpp")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bilevel)
install(EXPORT bilevelTargets NAMESPACE bilevel:: DESTINATION ${package_dir} COMPONENT headers)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/bilevelConfig.cmake.in
  ${PROJECT_BINARY_DIR}/bilevelConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bilevelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/bilevelConfig.cmake ${PROJECT_BINARY_DIR}/bilevelConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT headers)

# Relative install folders give .pc files that work from any prefix; an absolute one is written as it is.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(NOT BUILD_SHARED_LIBS)  # what a client of the archives links besides
  set(pc_math ${BILEVEL_FFTW_LDFLAGS} -lpthread -ldl -lstdc++ -lm)
  set(pc_formats -ltiff -lpng -ljpeg -lismrmrd -lnifti2 -lznz ${BILEVEL_HDF5_LDFLAGS})
  list(JOIN pc_math " " pc_math)
  list(JOIN pc_formats " " pc_formats)
endif()
foreach(name bilevel bilevel-io)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT headers)
endforeach()

# Installed commands find the libraries beside themselves, wherever the prefix is moved to.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_BINDIR})
  set(rpath ${CMAKE_INSTALL_FULL_LIBDIR})
else()
  file(RELATIVE_PATH to_lib /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
  set(rpath "$ORIGIN/${to_lib}")
endif()
if(app_targets)
  set_target_properties(${app_targets} PROPERTIES INSTALL_RPATH "${rpath}")
  install(TARGETS ${app_targets} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT apps)
endif()
