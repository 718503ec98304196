"""A hook that looks at the checkpoint before it is loaded."""

import zipfile
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint

from lira_plugin.registry import HOOKS

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how torch's files of today and of long ago begin


@HOOKS.register_module()
class ReadableCheckpointHook(Hook):
    """Refuse a checkpoint that was cut off, or is none, by its name.

    MMEngine loads ``load_from`` and what is resumed by ``torch.load``, whose errors do not tell the file.
    """

    def before_run(self, runner: Runner) -> None:
        """Look at the file that is about to be loaded.

        Raises:
            ValueError: it is no complete checkpoint.
        """
        resumed = find_latest_checkpoint(runner.work_dir) if runner._resume and not runner._load_from else None
        path = Path(str(resumed or runner._load_from))
        if not path.is_file():  # a URL, a folder of DeepSpeed's, or missing, which MMEngine says itself
            return
        with path.open("rb") as file:
            start = file.read(4)
        if not start.startswith((_ZIP, _PICKLE)):
            raise ValueError(f"{path} is no checkpoint: it is not a file of torch.save")
        if start == _ZIP and not zipfile.is_zipfile(path):  # the list of a zip file's contents is its end
            raise ValueError(f"{path} was cut off: copy or download it again, or take an earlier checkpoint")
