// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong once: the umbrella covers backends, not adapters.
#include <idiolect/backend/cpu/pass.hpp>
#include <idiolect/adapters/engine.hpp>
