// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Right.
#include <idiolect/loss/gate.hpp>
#include <idiolect/cll/score.hpp>
