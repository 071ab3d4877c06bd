// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Everything that runs on a CPU, but for the verifiers that need <regex> or start a program.

// Platforms that define min and max as macros: put aside, for the standard library's headers too.
#pragma push_macro("min")
#pragma push_macro("max")
#undef min
#undef max

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/comparison.hpp>
#include <idiolect/cll/corpus.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/cll/separation.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/kept_span.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/processors.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/core/thread_pool.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/decoder_options.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/hinted/prompts.hpp>
#include <idiolect/hinted/recipes.hpp>
#include <idiolect/hinted/reference_score.hpp>
#include <idiolect/hinted/rewrite.hpp>
#include <idiolect/hinted/sample.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/hinted/text.hpp>
#include <idiolect/hinted/verifier.hpp>
#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/exact.hpp>
#include <idiolect/hinted/verifiers/numeric.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/options.hpp>
#include <idiolect/loss/report.hpp>
#include <idiolect/loss/schedule.hpp>
#include <idiolect/loss/token_loss.hpp>
#include <idiolect/model/archetypes.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_state.hpp>
#include <idiolect/stats/row_stats.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>
#include <idiolect/stats/summary.hpp>
#include <idiolect/version.hpp>

#pragma pop_macro("max")
#pragma pop_macro("min")
