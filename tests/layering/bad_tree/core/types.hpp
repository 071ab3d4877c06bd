// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Wrong: upwards, by a relative name.
#  include "../stats/state.hpp"
