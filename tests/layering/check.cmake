# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D ROOT=<include/idiolect> [-D EXPECTED=<file>] -P check.cmake
# Checks who includes whom below ROOT. With EXPECTED the complaints must be the lines of that file.
cmake_minimum_required(VERSION 3.24)

# A header may include its own folder and folders of a lower level; folders that share a level do not
# know each other, so that each can be used, tested and replaced alone.
set(level_core 0)
set(level_stats 1)
set(level_loss 2)
set(level_cll 2)
set(level_model 2)
set(level_hinted 3)
set(level_parallel 3)
set(level_linear 4)
set(level_backend 5)
set(level_adapters 6)

# Up to this level there is nothing but the standard library and ourselves.
set(last_pure_level 4)
set(backend_libraries "^(Eigen|unsupported/Eigen|cub|thrust|cuda/std)/|^cublas")

# At the root: no level of their own.
set(includable_by_all config.hpp version.hpp)
set(umbrella idiolect.hpp)

set(complaints "")
function(complain text)
  set(complaints "${complaints}${text}\n" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE headers RELATIVE "${ROOT}" "${ROOT}/*.hpp" "${ROOT}/*.cuh" "${ROOT}/*.h")
list(SORT headers)
if(NOT headers)
  message(FATAL_ERROR "no headers below ${ROOT}")
endif()

foreach(header IN LISTS headers)
  string(REGEX MATCH "^[^/]+" folder "${header}")
  if(folder STREQUAL header)
    if(NOT header IN_LIST includable_by_all AND NOT header STREQUAL umbrella)
      complain("${header}: only ${includable_by_all};${umbrella} belong at the root")
      continue()
    endif()
  elseif(NOT DEFINED level_${folder})
    complain("${header}: the folder ${folder} has no level")
    continue()
  endif()

  file(STRINGS "${ROOT}/${header}" lines REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]+)[>\"].*" "\\1" included "${line}")

    # A name of ours, relative to ROOT; or somebody else's.
    set(ours "")
    cmake_path(GET header PARENT_PATH beside)
    if(included MATCHES "^idiolect/(.+)")
      set(ours "${CMAKE_MATCH_1}")
    elseif(line MATCHES "include[ \t]*\"" AND EXISTS "${ROOT}/${beside}/${included}")
      cmake_path(SET ours NORMALIZE "${beside}/${included}")
    endif()

    if(NOT ours)
      if(DEFINED level_${folder} AND level_${folder} LESS_EQUAL last_pure_level AND included MATCHES "${backend_libraries}")
        complain("${header}: ${folder} includes ${included}, which only backends may")
      elseif(NOT DEFINED level_${folder} AND included MATCHES "${backend_libraries}")
        complain("${header}: a root header includes ${included}")
      endif()
      continue()
    endif()

    string(REGEX MATCH "^[^/]+" target "${ours}")
    if(NOT EXISTS "${ROOT}/${ours}")
      complain("${header}: includes ${ours}, which does not exist")
    elseif(ours IN_LIST includable_by_all)
      continue()
    elseif(ours STREQUAL umbrella)
      complain("${header}: includes the umbrella")
    elseif(header IN_LIST includable_by_all)
      complain("${header}: includes ${ours}, but everything includes ${header}")
    elseif(target STREQUAL "adapters" AND NOT folder STREQUAL "adapters")
      complain("${header}: nothing includes an adapter (${ours})")
    elseif(header STREQUAL umbrella)
      continue()
    elseif(NOT DEFINED level_${target})
      complain("${header}: includes ${ours}, whose folder has no level")
    elseif(NOT target STREQUAL folder AND NOT level_${target} LESS level_${folder})
      complain("${header}: ${folder} (level ${level_${folder}}) includes ${ours} (level ${level_${target}})")
    endif()
  endforeach()
endforeach()

if(EXPECTED)
  file(READ "${EXPECTED}" expected)
  if(NOT complaints STREQUAL expected)
    message(FATAL_ERROR "the complaints are not the expected ones; found:\n${complaints}\nexpected:\n${expected}")
  endif()
elseif(complaints)
  message(FATAL_ERROR "include levels are broken:\n${complaints}")
endif()
list(LENGTH headers count)
message(STATUS "${count} headers checked")
