# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# What idiolect's own executables are built with. Nothing here touches the target idiolect::idiolect
# or a directory: a program that embeds the library never sees these options.

option(IDIOLECT_WERROR "Treat warnings in idiolect's own executables as errors" OFF)
option(IDIOLECT_NATIVE "Build idiolect's own executables for this machine's processor" OFF)
option(IDIOLECT_VERIFY_HEADERS "Offer the target that compiles each header alone" OFF)
set(IDIOLECT_SANITIZE "" CACHE STRING "Sanitizers for idiolect's own executables, for example address,undefined")

set(data_dir_default "${PROJECT_SOURCE_DIR}/../shared/data")
cmake_path(NORMAL_PATH data_dir_default)
if(NOT IS_DIRECTORY "${data_dir_default}")
  set(data_dir_default "")
endif()
set(IDIOLECT_DATA_DIR "${data_dir_default}"
    CACHE PATH "Folder with a real model and texts; empty: the tests that need them are skipped")

add_library(idiolect_own_options INTERFACE)
if(MSVC)
  target_compile_options(idiolect_own_options INTERFACE /W4 $<$<BOOL:${IDIOLECT_WERROR}>:/WX>)
else()
  target_compile_options(
    idiolect_own_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion
                                   $<$<BOOL:${IDIOLECT_WERROR}>:-Werror>
                                   $<$<BOOL:${IDIOLECT_NATIVE}>:-march=native>)
  # GCC 12 warns inside its own AVX-512 intrinsics, whoever calls them.
  # At -O3 it also takes a std::string that is joined to others for one that is copied over itself
  # (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(
      idiolect_own_options INTERFACE -Wno-restrict
                                     $<$<BOOL:${IDIOLECT_NATIVE}>:-Wno-uninitialized
                                     -Wno-maybe-uninitialized>)
  endif()
endif()
# nvcc's own code breaks -Wpedantic, and Clang's warnings come with Clang.
add_library(idiolect_own_cuda_options INTERFACE)
target_compile_options(idiolect_own_cuda_options INTERFACE -Xcompiler=-Wall,-Wextra
                       "$<$<BOOL:${IDIOLECT_WERROR}>:SHELL:-Werror all-warnings -Xcompiler=-Werror>")
if(IDIOLECT_SANITIZE)
  # A finding ends the program: a report that scrolls by in a passing test helps nobody.
  set(sanitize "-fsanitize=${IDIOLECT_SANITIZE}" -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_compile_options(idiolect_own_options INTERFACE ${sanitize})
  target_link_options(idiolect_own_options INTERFACE ${sanitize})
endif()

# Each header as a translation unit of its own, so that none leans on what was included before it.
# The target is all_verify_interface_header_sets.
if(IDIOLECT_VERIFY_HEADERS)
  set_target_properties(idiolect PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endif()

# idiolect_add_executable(<name> <source>...): an executable of ours.
function(idiolect_add_executable name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE idiolect::idiolect idiolect_own_options)
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()

# idiolect_add_example(<name> <source>...): an example, in <build>/bin.
function(idiolect_add_example name)
  idiolect_add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE tiny_llama example_world)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  set_property(GLOBAL APPEND PROPERTY idiolect_examples ${name})
endfunction()

# idiolect_add_benchmark(<folder> <source>...): bench_<folder>, with the main of bench/support.
function(idiolect_add_benchmark folder)
  idiolect_add_executable(bench_${folder} ${ARGN})
  target_link_libraries(bench_${folder} PRIVATE tiny_llama example_world idiolect_bench_main)
  target_compile_definitions(
    bench_${folder} PRIVATE IDIOLECT_BENCH_DATA_DIR="${IDIOLECT_DATA_DIR}"
                            IDIOLECT_BENCH_DEFAULT_MODEL_DIR="${PROJECT_SOURCE_DIR}/examples/default_model")
  set_target_properties(bench_${folder} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  set_property(GLOBAL APPEND PROPERTY idiolect_benchmarks bench_${folder})
endfunction()

# idiolect_add_test(<folder> <source>...): test_<folder>, each of its test cases known to ctest as
# "<folder>: <name>" with the label `unit`.
function(idiolect_add_test folder)
  idiolect_add_executable(test_${folder} ${ARGN})
  target_link_libraries(test_${folder} PRIVATE idiolect_test_support)
  idiolect_discover_tests(${folder} unit)
endfunction()

# idiolect_discover_tests(<folder> <label> <property>...): makes the test cases of test_<folder> known to
# ctest.
function(idiolect_discover_tests folder label)
  set(target test_${folder})
  # Catch2 v2 knows no PRE_TEST discovery, lets a name that matches no test pass, and hands the prefix
  # to `cmake -D`, which drops the trailing blank of anything that is not in single quotes.
  if(Catch2_VERSION VERSION_LESS 3)
    set(discovery TEST_PREFIX "'${folder}: '" EXTRA_ARGS --warn NoTests)
  else()
    set(discovery TEST_PREFIX "${folder}: " DISCOVERY_MODE PRE_TEST)
  endif()
  set(timeout 300)
  if(IDIOLECT_SANITIZE)
    set(timeout 1200)
  endif()
  # The code 4 comes from tests/support/main.cpp, for a test case that passed. (By a regular expression
  # alone ctest would also turn a failed test case into a skipped one.) The expression catches a
  # `SKIPPED: why` that went past std::cout, which would otherwise count as passed.
  catch_discover_tests(
    ${target} ${discovery}
    PROPERTIES LABELS ${label} TIMEOUT ${timeout} SKIP_RETURN_CODE 4 ENVIRONMENT IDIOLECT_TEST_SKIP_CODE=4
               FAIL_REGULAR_EXPRESSION "SKIPPED: " ${ARGN})
  set_property(GLOBAL APPEND PROPERTY idiolect_tests ${target})
endfunction()

# idiolect_folders(<out> <excluded>...): the subfolders of the current source folder.
function(idiolect_folders out)
  file(GLOB children LIST_DIRECTORIES true CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*")
  set(folders "")
  foreach(child IN LISTS children)
    cmake_path(GET child FILENAME name)
    if(IS_DIRECTORY "${child}" AND NOT name IN_LIST ARGN)
      list(APPEND folders "${name}")
    endif()
  endforeach()
  set(${out} "${folders}" PARENT_SCOPE)
endfunction()

# idiolect_add_group(<target>): one target that builds everything recorded under its name.
function(idiolect_add_group target)
  get_property(members GLOBAL PROPERTY ${target})
  add_custom_target(${target})
  if(members)
    add_dependencies(${target} ${members})
  endif()
endfunction()
