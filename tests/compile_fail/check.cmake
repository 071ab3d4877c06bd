# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D COMPILER= -D SOURCE= -D INCLUDE= -D SYSTEM_INCLUDES= -P check.cmake
cmake_minimum_required(VERSION 3.24)

file(STRINGS "${SOURCE}" lines LIMIT_COUNT 20 REGEX "^// expect: ")
if(NOT lines)
  message(FATAL_ERROR "${SOURCE} has no line `// expect: <regular expression>`")
endif()

set(command "${COMPILER}" -std=c++20 -I "${INCLUDE}")
foreach(folder IN LISTS SYSTEM_INCLUDES)
  list(APPEND command -isystem "${folder}")
endforeach()
# To assembly, not only syntax: everything is instantiated.
list(APPEND command -O0 -S -o /dev/null "${SOURCE}")

# The control: what fails below fails for the reason given, and not for a missing header.
execute_process(COMMAND ${command} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message("${output}")
  message(FATAL_ERROR "${SOURCE} must compile without -DMUST_FAIL")
endif()

execute_process(COMMAND ${command} -DMUST_FAIL RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must not compile with -DMUST_FAIL, and does")
endif()
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^// expect: " "" expected "${line}")
  if(NOT output MATCHES "${expected}")
    message("${output}")
    message(FATAL_ERROR "the compiler does not say `${expected}`")
  endif()
endforeach()
