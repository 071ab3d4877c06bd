// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Everything that runs on a CPU.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/comparison.hpp>
#include <idiolect/cll/corpus.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/cll/separation.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/schedule.hpp>
#include <idiolect/model/archetypes.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_stats.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/summary.hpp>
#include <idiolect/version.hpp>
