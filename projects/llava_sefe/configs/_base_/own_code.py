"""Makes the package of this project importable, wherever its folder is."""

from mmengine.config.config import os, sys  # a lazy config may call what MMEngine imports from the standard library

_project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _project not in sys.path:
    sys.path.append(_project)
del os, sys, _project
