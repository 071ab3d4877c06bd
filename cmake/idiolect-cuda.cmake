# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# The CUDA toolkit, which idiolect::cuda links to. For our own tests and benchmarks also the language, where nvcc
# works together with a host compiler: then idiolect_has_nvcc is true. No GPU is needed for any of it.
# What is missing is one line of output with IDIOLECT_CUDA=AUTO, and an error with ON.

set(idiolect_has_nvcc FALSE)

macro(idiolect_no_cuda why)
  if(IDIOLECT_CUDA STREQUAL "AUTO")
    message(STATUS "idiolect: nothing for CUDA is built: ${why}")
  else()
    message(FATAL_ERROR "idiolect: IDIOLECT_CUDA is ${IDIOLECT_CUDA}, but ${why}")
  endif()
endmacro()

# It also knows the usual folders that are not in the PATH.
find_package(CUDAToolkit QUIET)
if(NOT CUDAToolkit_FOUND)
  idiolect_no_cuda("no CUDA toolkit was found (nvcc in the PATH, CUDACXX or CUDAToolkit_ROOT)")
elseif(IDIOLECT_BUILD_TESTS OR IDIOLECT_BUILD_BENCH)
  if(IDIOLECT_SANITIZE)
    message(STATUS "idiolect: nothing for CUDA is built with the compiler's sanitizers; bench/gpu/run.sh has CUDA's own")
    return()
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    # check_language tries what the variable names, and fails softly where it does not work.
    if(NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} "${CUDAToolkit_NVCC_EXECUTABLE}")
    endif()
    include(CheckLanguage)
    check_language(CUDA)
  endif()
  # For the GPU that is here; without one, for what a server has today.
  if(CMAKE_CUDA_COMPILER AND NOT CMAKE_CUDA_ARCHITECTURES)
    execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader --id=0
                    RESULT_VARIABLE status OUTPUT_VARIABLE capability ERROR_QUIET)
    if(status STREQUAL "0" AND capability MATCHES "^([0-9]+)\\.([0-9]+)")
      set(CMAKE_CUDA_ARCHITECTURES "${CMAKE_MATCH_1}${CMAKE_MATCH_2}")
    else()
      set(CMAKE_CUDA_ARCHITECTURES 90)
    endif()
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    idiolect_no_cuda("$ENV{CUDACXX} does not work with the host compiler it finds")
  else()
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.0)
      set(idiolect_has_nvcc TRUE)
    else()
      idiolect_no_cuda("${CMAKE_CUDA_COMPILER} is not nvcc 12 or newer, which knows C++20")
    endif()
  endif()
endif()
