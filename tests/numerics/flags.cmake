# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D COMPILER= -D ID= -D INCLUDE= -P flags.cmake: which flags of a host's build are refused, with
# a message that names them, and which are not.
cmake_minimum_required(VERSION 3.24)

function(expect what)
  execute_process(
    COMMAND "${COMPILER}" -std=c++20 -I "${INCLUDE}" ${ARGN} -fsyntax-only -x c++
            "${INCLUDE}/idiolect/config.hpp" RESULT_VARIABLE status OUTPUT_VARIABLE output
                                             ERROR_VARIABLE output)
  if(what STREQUAL "refused")
    if(status EQUAL 0 OR NOT output MATCHES "idiolect needs .*-ffast-math")
      message("${output}")
      message(FATAL_ERROR "${ARGN} must be refused, with a message that says why")
    endif()
  elseif(NOT status EQUAL 0)
    message("${output}")
    message(FATAL_ERROR "${ARGN} must not be refused")
  endif()
endfunction()

foreach(flags "" -O3 -ffp-contract=fast -ffp-contract=off -fno-math-errno -fno-trapping-math -std=gnu++20)
  expect(taken -Wno-pragma-once-outside-header -w ${flags})
endforeach()
foreach(flags -ffast-math -Ofast -ffinite-math-only)
  expect(refused -w ${flags})
endforeach()
foreach(flags "-ffast-math;-fno-finite-math-only" -funsafe-math-optimizations
        "-fassociative-math;-fno-signed-zeros;-fno-trapping-math" -freciprocal-math)
  if(ID STREQUAL "GNU")
    expect(refused -w ${flags})
  else()  # Clang defines no macro for them: tests/numerics runs with them
    expect(taken -w ${flags})
  endif()
endforeach()
