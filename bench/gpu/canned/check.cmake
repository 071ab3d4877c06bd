# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D PYTHON= -D SOURCE=<bench/gpu> -D OUT=<prefix> -P check.cmake
# The page made of the canned figures must be page.md; without figures there must be a page too.
cmake_minimum_required(VERSION 3.24)

macro(write_page folder prefix)
  execute_process(COMMAND "${PYTHON}" -B "${SOURCE}/table.py" "${folder}" "${prefix}" RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "table.py failed on ${folder}")
  endif()
endmacro()

write_page("${SOURCE}/canned" "${OUT}")
file(READ "${OUT}.md" found)
file(READ "${SOURCE}/canned/page.md" expected)
if(NOT found STREQUAL expected)
  message(FATAL_ERROR "the page of the canned figures has changed:\n${found}")
endif()

file(MAKE_DIRECTORY "${OUT}_empty")
write_page("${OUT}_empty" "${OUT}_empty/page")
