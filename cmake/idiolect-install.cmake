# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# Headers, the CMake package and its version file. One place knows which components exist: a
# component is added to idiolect_components, and gets a section in idiolect-config.cmake.in, on the
# day its target exists.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(idiolect_components cuda thrust torch llama_cpp)
set(idiolect_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/idiolect")

install(TARGETS idiolect EXPORT idiolect-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT idiolect-targets NAMESPACE idiolect:: DESTINATION "${idiolect_package_dir}")
# A file for each component: what it links to exists only where it was asked for.
install(TARGETS idiolect_cuda EXPORT idiolect-cuda-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT idiolect-cuda-targets NAMESPACE idiolect:: DESTINATION "${idiolect_package_dir}")
install(TARGETS idiolect_thrust EXPORT idiolect-thrust-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT idiolect-thrust-targets NAMESPACE idiolect:: DESTINATION "${idiolect_package_dir}")
install(TARGETS idiolect_torch EXPORT idiolect-torch-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT idiolect-torch-targets NAMESPACE idiolect:: DESTINATION "${idiolect_package_dir}")
install(TARGETS idiolect_llama_cpp EXPORT idiolect-llama_cpp-targets
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT idiolect-llama_cpp-targets NAMESPACE idiolect:: DESTINATION "${idiolect_package_dir}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/idiolect-config.cmake.in" "${PROJECT_BINARY_DIR}/idiolect-config.cmake"
  INSTALL_DESTINATION "${idiolect_package_dir}" NO_SET_AND_CHECK_MACRO)

# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/idiolect-config-version.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(FILES "${PROJECT_BINARY_DIR}/idiolect-config.cmake" "${PROJECT_BINARY_DIR}/idiolect-config-version.cmake"
        DESTINATION "${idiolect_package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/idiolect")
