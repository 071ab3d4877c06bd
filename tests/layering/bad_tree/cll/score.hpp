// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong: the umbrella.
#include <idiolect/idiolect.hpp>
