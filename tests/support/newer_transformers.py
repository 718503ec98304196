"""What tests of the newest bases need; shared by tests."""

import pytest
import transformers
from packaging.version import Version

from lira_plugin.compat.newer_transformers import OLDEST

HAS_NEWER_TRANSFORMERS = Version(transformers.__version__) >= Version(OLDEST)
needs_newer_transformers = pytest.mark.skipif(
    not HAS_NEWER_TRANSFORMERS,
    reason=f"needs transformers >= {OLDEST}: uv run --project envs/modern pytest",
)
