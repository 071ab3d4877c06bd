// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host that keeps its Thrust in a namespace of its own, so that no two libraries' kernels meet.
#define THRUST_CUB_WRAPPED_NAMESPACE host
#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_CPP

#include <idiolect/backend/thrust/thrust.hpp>
#include <idiolect/loss/gates.hpp>

#include <vector>

idiolect::loss_report of(const std::vector<float>& z, std::vector<float>& gradient) {
  return idiolect::loss_and_gradient(idiolect::thrust_system{host::thrust::cpp::par}, z,
                                     std::vector<int>{0}, idiolect::nll{}, gradient);
}
