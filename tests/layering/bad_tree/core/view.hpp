// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Right: own folder, root, standard library.
#include <vector>
#include "idiolect/config.hpp"
#include "types.hpp"
