"""Two processes share the tests (``-n 2`` in ``pyproject.toml``), so each of them, and what it starts, gets one thread."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
