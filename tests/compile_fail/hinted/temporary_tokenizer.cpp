// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: deleted

// A policy keeps a pointer to its tokenizer.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/model/archetypes.hpp>

int main() {
  const idiolect::archetype::byte_tokenizer named;
#ifdef MUST_FAIL
  const idiolect::hinted_policy policy(idiolect::reference{}, idiolect::archetype::byte_tokenizer{},
                                       idiolect::constant_lambda{1}, idiolect::hinted_options{});
#else
  const idiolect::hinted_policy policy(idiolect::reference{}, named, idiolect::constant_lambda{1},
                                       idiolect::hinted_options{});
#endif
  return policy.options().max_tokens == 512 ? 0 : 1;
}
