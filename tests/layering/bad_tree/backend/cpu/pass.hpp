// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong once: an adapter. The rest is right.
#include <Eigen/Core>
#include <idiolect/linear/fused.hpp>
#include <idiolect/adapters/engine.hpp>
