# bilevel_formats: the libraries that read MRI files, HDF5, ISMRMRD (its XML header) and nifti2.
find_package(PkgConfig REQUIRED)
pkg_search_module(BILEVEL_HDF5 REQUIRED IMPORTED_TARGET hdf5 hdf5-serial)
find_path(BILEVEL_ISMRMRD_INCLUDE ismrmrd/xml.h REQUIRED)
find_library(BILEVEL_ISMRMRD_LIBRARY ismrmrd REQUIRED)
find_path(BILEVEL_NIFTI2_INCLUDE nifti2_io.h PATH_SUFFIXES nifti REQUIRED)
find_library(BILEVEL_NIFTI2_LIBRARY nifti2 REQUIRED)
find_library(BILEVEL_ZNZ_LIBRARY znz REQUIRED)

add_library(bilevel_formats INTERFACE)
target_include_directories(bilevel_formats SYSTEM INTERFACE ${BILEVEL_ISMRMRD_INCLUDE} ${BILEVEL_NIFTI2_INCLUDE})
target_link_libraries(bilevel_formats INTERFACE PkgConfig::BILEVEL_HDF5 ${BILEVEL_ISMRMRD_LIBRARY}
  ${BILEVEL_NIFTI2_LIBRARY} ${BILEVEL_ZNZ_LIBRARY})
