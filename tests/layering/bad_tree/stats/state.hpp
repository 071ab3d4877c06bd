// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong: a backend library, a backend, a missing header.
#include <Eigen/Core>
#include <idiolect/backend/cpu/pass.hpp>
#include <idiolect/stats/missing.hpp>
