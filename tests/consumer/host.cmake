# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# What a host may expect of a library it embeds, whichever way it came.
# remember_host(): before. check_host(<target>): after.

set(host_variables
    CMAKE_CXX_FLAGS CMAKE_CXX_FLAGS_RELEASE CMAKE_EXE_LINKER_FLAGS CMAKE_CXX_STANDARD CMAKE_CXX_EXTENSIONS
    CMAKE_BUILD_TYPE CMAKE_POSITION_INDEPENDENT_CODE BUILD_SHARED_LIBS BUILD_TESTING CMAKE_MODULE_PATH
    CMAKE_RUNTIME_OUTPUT_DIRECTORY CMAKE_EXPORT_COMPILE_COMMANDS CMAKE_CXX_CLANG_TIDY)
set(host_properties COMPILE_OPTIONS COMPILE_DEFINITIONS COMPILE_FEATURES INCLUDE_DIRECTORIES LINK_OPTIONS
                    LINK_LIBRARIES TESTS BUILDSYSTEM_TARGETS)

macro(remember_host)
  foreach(name IN LISTS host_variables)
    set(before_${name} "${${name}}")
  endforeach()
  foreach(name IN LISTS host_properties)
    get_directory_property(before_${name} ${name})
  endforeach()
endmacro()

function(expect what actual expected)
  if(NOT "${actual}" STREQUAL "${expected}")
    message(SEND_ERROR "${what} is `${actual}`, not `${expected}`")
  endif()
endfunction()

macro(check_host target)
  foreach(name IN LISTS host_variables)
    expect("the variable ${name}" "${${name}}" "${before_${name}}")
  endforeach()
  foreach(name IN LISTS host_properties)
    get_directory_property(after ${name})
    expect("the directory's ${name}" "${after}" "${before_${name}}")
  endforeach()

  # Headers, Eigen, threads and the language: nothing else comes with the target.
  foreach(name IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS LINK_OPTIONS SOURCES PRECOMPILE_HEADERS)
    get_target_property(value ${target} INTERFACE_${name})
    expect("INTERFACE_${name} of ${target}" "${value}" "value-NOTFOUND")
  endforeach()
  get_target_property(value ${target} INTERFACE_COMPILE_FEATURES)
  expect("INTERFACE_COMPILE_FEATURES of ${target}" "${value}" "cxx_std_20")
  get_target_property(value ${target} INTERFACE_LINK_LIBRARIES)
  expect("INTERFACE_LINK_LIBRARIES of ${target}" "${value}" "Eigen3::Eigen;Threads::Threads")
endmacro()

# The host's program, built with the host's own strict options.
macro(add_consumer)
  add_executable(consumer "${CMAKE_CURRENT_SOURCE_DIR}/../softmax_regression.cpp")
  target_link_libraries(consumer PRIVATE idiolect::idiolect)
  if(NOT MSVC)
    target_compile_options(consumer PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Werror)
  endif()
  add_custom_target(run_consumer COMMAND consumer VERBATIM)
endmacro()
