# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# cmake -D CASE=<name> ... -P check.cmake: one test of tests/consumer/CMakeLists.txt.
cmake_minimum_required(VERSION 3.24)

set(prefix "${WORK}/prefix")

# run(<command>...): it must succeed; its output is in `output`.
macro(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  message("${output}")
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}")
  endif()
endmacro()

# configure_command(<project> <argument>...): what configures that folder from nothing, in `command`.
macro(configure_command project)
  set(build "${WORK}/${CASE}")
  file(REMOVE_RECURSE "${build}")
  set(command "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/${project}" -B "${build}" -G "${GENERATOR}"
      "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}" "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=Release
      "-DCMAKE_TOOLCHAIN_FILE=${TOOLCHAIN}" "-DEigen3_DIR=${EIGEN_DIR}" ${ARGN})
endmacro()

macro(configure_build_run project)
  configure_command(${project} ${ARGN})
  run(${command})
  run("${CMAKE_COMMAND}" --build "${build}" --config Release)
  run("${CMAKE_COMMAND}" --build "${build}" --config Release --target run_consumer)
endmacro()

if(CASE STREQUAL "install")
  file(REMOVE_RECURSE "${prefix}")
  run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}" --config Release)

  # All headers, and nothing that only works where it was built.
  foreach(root IN ITEMS "${SOURCE}/include" "${prefix}/include")
    file(GLOB_RECURSE headers_${root} RELATIVE "${root}" "${root}/*.hpp" "${root}/*.cuh")
    list(SORT headers_${root})
  endforeach()
  if(NOT "${headers_${SOURCE}/include}" STREQUAL "${headers_${prefix}/include}")
    message(FATAL_ERROR "installed headers: ${headers_${prefix}/include}\nheaders: ${headers_${SOURCE}/include}")
  endif()
  file(GLOB_RECURSE package_files "${prefix}/*.cmake")
  foreach(package_file IN LISTS package_files)
    file(READ "${package_file}" text)
    string(FIND "${text}" "${SOURCE}" position)
    if(NOT position EQUAL -1)
      message(FATAL_ERROR "${package_file} names the source folder ${SOURCE}")
    endif()
  endforeach()

elseif(CASE STREQUAL "find_package")
  configure_build_run(find_package "-DCMAKE_PREFIX_PATH=${prefix}" "-DREQUEST=${VERSION}")

elseif(CASE STREQUAL "optional_component")
  configure_command(find_package "-DCMAKE_PREFIX_PATH=${prefix}" "-DREQUEST=OPTIONAL_COMPONENTS no_such_component cuda thrust torch llama_cpp"
                    -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON -DCMAKE_DISABLE_FIND_PACKAGE_Thrust=ON
                    -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON -DCMAKE_DISABLE_FIND_PACKAGE_llama=ON)
  run(${command})

elseif(CASE STREQUAL "cuda")
  # Linked, not run: there may be no device.
  configure_command(cuda "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CUDA_COMPILER=${CUDA_COMPILER}" -DCMAKE_CUDA_ARCHITECTURES=90)
  run(${command})
  run("${CMAKE_COMMAND}" --build "${build}" --config Release)

elseif(CASE STREQUAL "thrust")
  configure_build_run(thrust "-DCMAKE_PREFIX_PATH=${prefix}" "-DThrust_DIR=${THRUST_DIR}")

elseif(CASE STREQUAL "torch")
  # Debian's LibTorch 1.13 is no C++20 to Clang.
  if(NOT TORCH_DIR OR COMPILER MATCHES "clang")
    message("SKIPPED: no LibTorch of the system's, or none that this compiler takes (Debian: libtorch-dev, GCC)")
    return()
  endif()
  configure_build_run(torch "-DCMAKE_PREFIX_PATH=${prefix}" "-DTorch_DIR=${TORCH_DIR}")

elseif(CASE STREQUAL "llama_cpp")
  if(NOT LLAMA_DIR)
    message("SKIPPED: no llama.cpp was found")
    return()
  endif()
  configure_build_run(llama_cpp "-DCMAKE_PREFIX_PATH=${prefix}" "-Dllama_DIR=${LLAMA_DIR}")

elseif(CASE MATCHES "^(unknown_component|other_version|no_toolkit|no_thrust|no_torch|no_llama_cpp)$")
  if(CASE STREQUAL "unknown_component")
    set(request "COMPONENTS no_such_component")
    set(expected "has no component[ \n]+`no_such_component`.*[Ii]ts[ \n]+components:")
  elseif(CASE STREQUAL "no_toolkit")
    set(request "COMPONENTS cuda")
    set(expected "`cuda`[ \n]+needs[ \n]+the[ \n]+CUDA[ \n]+toolkit")
  elseif(CASE STREQUAL "no_thrust")
    set(request "COMPONENTS thrust")
    set(expected "`thrust`[ \n]+needs[ \n]+Thrust")
  elseif(CASE STREQUAL "no_torch")
    set(request "COMPONENTS torch")
    set(expected "`torch`[ \n]+needs[ \n]+LibTorch")
  elseif(CASE STREQUAL "no_llama_cpp")
    set(request "COMPONENTS llama_cpp")
    set(expected "`llama_cpp`[ \n]+needs[ \n]+llama.cpp")
  else()
    set(request "99.0")
    set(expected "compatible with[ \n]+requested[ \n]+version[ \n]+\"99.0\"")
  endif()
  configure_command(find_package "-DCMAKE_PREFIX_PATH=${prefix}" "-DREQUEST=${request}"
                    -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON -DCMAKE_DISABLE_FIND_PACKAGE_Thrust=ON
                    -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON -DCMAKE_DISABLE_FIND_PACKAGE_llama=ON)
  execute_process(COMMAND ${command} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(status EQUAL 0 OR NOT output MATCHES "${expected}")
    message("${output}")
    message(FATAL_ERROR "status ${status}; `${expected}` was expected above")
  endif()

elseif(CASE STREQUAL "add_subdirectory")
  configure_build_run(add_subdirectory "-DIDIOLECT_SOURCE=${SOURCE}")

else()
  message(FATAL_ERROR "unknown case `${CASE}`")
endif()
