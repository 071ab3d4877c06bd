// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to 'as_token_loss

// What gives no number for a row's statistics is refused at the call, by name.
#include <idiolect/loss/token_loss.hpp>

int main() {
#ifdef MUST_FAIL
  (void)idiolect::as_token_loss([](int) { return "weight"; });
#else
  (void)idiolect::as_token_loss([](const auto& statistics) { return statistics.log_prob(); });
#endif
}
