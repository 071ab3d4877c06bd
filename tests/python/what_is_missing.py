# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""Says what this Python lacks to build and test the package; nothing where nothing is missing."""

import importlib.util

missing = [name for name in ("pip", "scikit_build_core", "numpy") if importlib.util.find_spec(name) is None]
if missing:
    print("missing:", ", ".join(missing), end="")
else:
    try:
        import torch
    except Exception as error:  # a torch whose libraries are not there fails in many ways
        print(f"torch cannot be imported: {error}", end="")
    else:
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 9):
            print(f"torch {torch.__version__} is older than 2.9", end="")
