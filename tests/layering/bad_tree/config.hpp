// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong: everything includes this header.
#include <idiolect/core/view.hpp>
