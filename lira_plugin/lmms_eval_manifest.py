"""What lmms-eval reads from the entry point ``lmms_eval.models`` to know the model ``lira``."""

from typing import Any


def manifest() -> Any:
    """lmms-eval's ``ModelManifest``. Nothing else of this package is imported until the model is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("lira", simple_class_path="lira_plugin.inference.lmms_eval_model.LIRAForLmmsEval")
