# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D NVCC= -D SOURCE= -D INCLUDE= -D ARCH=80 -D WORK=<folder> [-D EXPECTED=<complaints>] -P check.cmake
#
# Compiles SOURCE for ARCH and looks at the kernels over rows, by name: they load 16 bytes at once, the
# gradient's also store so, and of what is theirs no more than 8 bytes a thread lie on a stack: the sum
# that leaves out the largest logit counts such logits, and with a tile of 32 registers and a bound of 64 that
# is a number too many, two on sm_80. (What it costs can be measured on a GPU alone; a smaller tile or more
# registers cost occupancy for certain.) With EXPECTED the complaints must be these.
cmake_minimum_required(VERSION 3.24)

set(kernels "(loss_rows|score_rows)")
set(storing "loss_rows")  # those that write a gradient
set(wide "\\.global[.a-zA-Z0-9:_]*\\.(v4\\.[bufs]32|v2\\.[bufs]64|[bu]128)")

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
execute_process(
  COMMAND "${NVCC}" -std=c++20 "-gencode=arch=compute_${ARCH},code=sm_${ARCH}" -cubin -o "${WORK}/kernels.cubin" --keep
          --keep-dir "${WORK}" -Xptxas -v -I "${INCLUDE}" "${SOURCE}"
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "nvcc failed:\n${output}")
endif()
if(output MATCHES "warning")
  message(FATAL_ERROR "nvcc warns:\n${output}")
endif()

set(complaints "")
macro(complain text)
  string(APPEND complaints "${text}\n")
endmacro()

# What ptxas says of each function: a line with its name, then one with what it keeps in local memory.
set(counted 0)
string(REGEX MATCHALL "Function properties for [^\n]*\n[^\n]*" functions "${output}")
foreach(function IN LISTS functions)
  string(REGEX MATCH "^Function properties for ([^\n ]*)\n(.*)" function "${function}")
  set(name "${CMAKE_MATCH_1}")
  string(STRIP "${CMAKE_MATCH_2}" memory)
  if(name MATCHES "${kernels}")
    math(EXPR counted "${counted} + 1")
    if(NOT memory MATCHES "^[08][ \n]+bytes stack frame")
      complain("${name}: ${memory}")
    endif()
  endif()
endforeach()
if(counted EQUAL 0)
  complain("ptxas names no kernel ${kernels}")
endif()

# The accesses between one kernel's first line and the next's.
macro(finish_kernel)
  if(name MATCHES "${kernels}" AND NOT loads)
    complain("${name}: no load of 16 bytes")
  endif()
  if(name MATCHES "${storing}" AND NOT stores)
    complain("${name}: no store of 16 bytes")
  endif()
endmacro()
file(GLOB ptx "${WORK}/*.ptx")
file(STRINGS "${ptx}" lines REGEX "\\.entry|(ld|st)${wide}")
set(name "")
foreach(line IN LISTS lines)
  if(line MATCHES "\\.entry ([^( ]*)")
    set(next "${CMAKE_MATCH_1}")
    finish_kernel()
    set(name "${next}")
    set(loads FALSE)
    set(stores FALSE)
  elseif(line MATCHES "ld${wide}")
    set(loads TRUE)
  else()
    set(stores TRUE)
  endif()
endforeach()
finish_kernel()
file(REMOVE_RECURSE "${WORK}")

if(NOT complaints STREQUAL "${EXPECTED}")
  message(FATAL_ERROR "sm_${ARCH}, the complaints are not the expected ones; found:\n${complaints}\nexpected:\n${EXPECTED}")
endif()
message(STATUS "sm_${ARCH}: ${counted} kernels checked")
