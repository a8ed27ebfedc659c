"""Tests of the kernels in Triton's interpreter, which must be chosen before the kernels are imported.

`test_interpreted` runs them in a process of their own. By hand: TRITON_INTERPRET=1 pytest this-folder.
"""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
