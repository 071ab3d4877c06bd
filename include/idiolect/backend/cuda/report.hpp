// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a call leaves on the device beside its gradient: the report with the errors that only the
// device could find, as data. The host makes a loss_report and an exception of it.

#include <string>
#include <string_view>

#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/options.hpp>
#include <idiolect/loss/partial_report.hpp>

namespace idiolect {

/// What the device found wrong with its arguments. Rows with such a target are zeroed.
struct device_status {
  index_t bad_target_row = -1;  ///< the first whose target is neither in [0, V) nor ignored
  bool bad_offsets = false;     ///< sequence_offsets do not ascend from 0 to the row count

  [[nodiscard]] IDIOLECT_HD bool ok() const { return bad_target_row < 0 && !bad_offsets; }
};

/// Raises the error that a status stands for.
inline void check(const device_status& status) {
  require(!status.bad_offsets, "sequence_offsets", "must ascend from 0 to the row count");
  require<target_error>(status.bad_target_row < 0, "targets", "a target is outside the vocabulary",
                        status.bad_target_row);
}

/// A call's report in device memory; `valid` targets are not ignored and in range.
struct device_loss_report {
  detail::partial_report sums;
  index_t valid = 0;
  device_status status;
};

}  // namespace idiolect
