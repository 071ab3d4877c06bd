# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# The engines that idiolect's own tests and examples run with: llama.cpp and LibTorch. Nothing here is
# for a host that embeds the library: it has its own, and the adapters link to that. What is missing is
# one line of output with AUTO, and an error with ON.

set(engines_default OFF)
if(PROJECT_IS_TOP_LEVEL)
  set(engines_default AUTO)
endif()
foreach(engine IN ITEMS LLAMA_CPP TORCH)
  set(IDIOLECT_${engine} ${engines_default}
      CACHE STRING "Build what needs this engine, where it is found: AUTO, ON or OFF")
  set_property(CACHE IDIOLECT_${engine} PROPERTY STRINGS AUTO ON OFF)
endforeach()
set(engines_dir_default "$ENV{HOME}/.cache/idiolect/engines")
if(DEFINED ENV{IDIOLECT_ENGINES})
  set(engines_dir_default "$ENV{IDIOLECT_ENGINES}")
endif()
set(IDIOLECT_ENGINES_DIR "${engines_dir_default}" CACHE PATH "Folder with the engines that were set up for idiolect alone")

# idiolect_no_engine(<option> <why>): for AUTO and ON.
function(idiolect_no_engine option why)
  if(${option} STREQUAL "AUTO")
    message(STATUS "idiolect: nothing with ${option} is built: ${why}")
  else()
    message(FATAL_ERROR "idiolect: ${option} is ${${option}}, but ${why}")
  endif()
endfunction()

# The target `llama`, with the folder of its libraries as the run path of what is built here. And
# idiolect_engines_python: a Python that has the package gguf, or empty.
set(idiolect_engines_python "")
if(IDIOLECT_LLAMA_CPP)
  find_package(llama CONFIG QUIET HINTS "${IDIOLECT_ENGINES_DIR}/llama")
  if(NOT TARGET llama)
    idiolect_no_engine(
      IDIOLECT_LLAMA_CPP
      "no llama.cpp was found: cmake/engines.sh sets one up in ${IDIOLECT_ENGINES_DIR}; or llama_DIR, its lib/cmake/llama")
  endif()
  foreach(python IN ITEMS "${IDIOLECT_ENGINES_DIR}/python/bin/python" python3)
    if(NOT idiolect_engines_python)
      execute_process(COMMAND "${python}" -c "import gguf, numpy" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
      if(status STREQUAL "0")
        set(idiolect_engines_python "${python}")
      endif()
    endif()
  endforeach()
endif()

# idiolect_import_torch(<target> <folder>): an imported target for the CPU part of the LibTorch in the
# folder, if it is there. By its files: the package of a LibTorch that was built with CUDA asks for a
# whole CUDA toolkit, though tensors on the CPU need none. (Its libraries name CUDA's, which are found at
# run time beside them.)
function(idiolect_import_torch target folder)
  set(places PATHS "${folder}" NO_DEFAULT_PATH NO_CACHE)
  set(libraries PATH_SUFFIXES "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib)
  unset(torch_include)
  unset(torch_api)
  unset(torch_cpu)
  unset(torch_c10)
  find_path(torch_include ATen/ATen.h PATH_SUFFIXES include ${places})
  find_path(torch_api torch/types.h PATH_SUFFIXES include/torch/csrc/api/include ${places})
  find_library(torch_cpu torch_cpu ${libraries} ${places})
  find_library(torch_c10 c10 ${libraries} ${places})
  if(NOT (torch_include AND torch_api AND torch_cpu AND torch_c10))
    return()
  endif()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE "${torch_include}" "${torch_api}")
  target_link_libraries(${target} INTERFACE "${torch_cpu}" "${torch_c10}")
  if(UNIX AND NOT APPLE)
    target_link_options(${target} INTERFACE LINKER:--allow-shlib-undefined)
  endif()
endfunction()

# The targets idiolect_torch_wheel and idiolect_torch_system, as far as they are there.
if(IDIOLECT_TORCH)
  file(GLOB torch_folders "${IDIOLECT_ENGINES_DIR}/python/lib/python3*/site-packages/torch")
  foreach(folder IN LISTS torch_folders)
    if(NOT TARGET idiolect_torch_wheel)
      idiolect_import_torch(idiolect_torch_wheel "${folder}")
    endif()
  endforeach()
  # The headers of Debian's LibTorch 1.13 are no C++20 to Clang.
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    idiolect_import_torch(idiolect_torch_system /usr)
  endif()
  if(NOT TARGET idiolect_torch_wheel AND NOT TARGET idiolect_torch_system)
    idiolect_no_engine(
      IDIOLECT_TORCH
      "no LibTorch was found: cmake/engines.sh sets one up in ${IDIOLECT_ENGINES_DIR}, Debian has libtorch-dev")
  endif()
endif()
