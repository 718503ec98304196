"""Where the tiny recipes read and write: one folder, ``LIRA_TINY_ROOT`` or ``work_dirs/tiny``."""

# A lazy config may not call what it imports, except for the standard library; inside a virtual environment MMEngine does
# not recognise that, but it does recognise its own modules.
from mmengine.config.config import os

root = os.environ.get("LIRA_TINY_ROOT", "work_dirs/tiny")
data_root = f"{root}/data"
del os
