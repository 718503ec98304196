"""What tests of the newest bases need; shared by tests."""

import pytest
import transformers
from packaging.version import Version

from lira_plugin.compat.newer_transformers import OLDEST

needs_newer_transformers = pytest.mark.skipif(
    Version(transformers.__version__) < Version(OLDEST),
    reason=f"needs transformers >= {OLDEST}: uv run --project envs/modern pytest",
)
