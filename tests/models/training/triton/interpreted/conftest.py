"""Tests of the kernels in Triton's interpreter, which must be chosen before the kernels are imported.

`test_interpreted` runs them in a process of their own; alone: TRITON_INTERPRET=1 pytest tests/models/training/triton/interpreted
"""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
