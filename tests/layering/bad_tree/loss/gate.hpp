// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong: a folder of the same level.
#include <idiolect/stats/state.hpp>
#include <idiolect/cll/score.hpp>
