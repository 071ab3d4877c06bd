// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Right.
#include <idiolect/backend/cpu/pass.hpp>
