// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: a model with logits in device memory needs a policy that reads them there

// A policy on the host would read device memory.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/model/archetypes.hpp>

#include <vector>

struct device_lm : idiolect::archetype::markov_lm {
  using markov_lm::markov_lm;
#ifdef MUST_FAIL
  static constexpr bool device_logits = true;
#endif
};

int main() {
  const std::vector<float> table(16, 0.0F);
  device_lm model(table, 4, 32, 0);
  const idiolect::archetype::byte_tokenizer tokens;
  const idiolect::hinted_policy policy(idiolect::reference{}, tokens, idiolect::linear_lambda{}, {});
  const idiolect::hinted_decoder decoder(model, policy);
  return static_cast<int>(decoder.counts().calls);
}
