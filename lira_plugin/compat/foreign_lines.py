"""Lines that third parties write on every run, and that nobody can do anything about.

Mends mmdet 3.3.0, whose point generator calls ``torch.meshgrid`` in a way that PyTorch warns of; MMEngine 0.10.6, which
imports ``pkg_resources``, of which setuptools warns; and bitsandbytes 0.46, which says on each machine without a GPU that it was
built without one, to trainings that have not asked for it. It can go when all three are silent.
"""

import logging
import warnings


def install() -> None:
    """Leave these lines out, and no others."""
    warnings.filterwarnings("ignore", message=r"torch\.meshgrid: in an upcoming release", category=UserWarning)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated as an API")
    logging.getLogger("bitsandbytes.cextension").addFilter(_asked_for)


def _asked_for(record: logging.LogRecord) -> bool:
    return "compiled without GPU support" not in str(record.msg)
