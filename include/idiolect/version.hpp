// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// The library's version. The build reads these three lines, so the number is written once.
#pragma once

#define IDIOLECT_VERSION_MAJOR 0
#define IDIOLECT_VERSION_MINOR 1
#define IDIOLECT_VERSION_PATCH 0
