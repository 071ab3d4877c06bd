// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every gate.

#include <idiolect/loss/gates/chord.hpp>
#include <idiolect/loss/gates/deft.hpp>
#include <idiolect/loss/gates/dft.hpp>
#include <idiolect/loss/gates/eaft.hpp>
#include <idiolect/loss/gates/endorsement.hpp>
#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/gates/power.hpp>
#include <idiolect/loss/gates/protect.hpp>
#include <idiolect/loss/gates/reverse.hpp>
#include <idiolect/loss/gates/talr.hpp>
#include <idiolect/loss/gates/threshold.hpp>
