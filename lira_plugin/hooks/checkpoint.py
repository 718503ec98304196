"""Checkpoints that a kill or a full disk cannot spoil."""

from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from lira_plugin.registry import HOOKS
from lira_plugin.written_aside import UNFINISHED, put_in_place, remove, write_text


@HOOKS.register_module()
class CompleteCheckpointHook(CheckpointHook):
    """MMEngine's hook, which here writes each checkpoint aside and removes an old one only when the new one is complete.

    ``last_checkpoint`` always names a complete file, or DeepSpeed's complete folder. Checkpoints that go to another storage than
    a file system are written as MMEngine writes them.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if not isinstance(self.file_backend, LocalBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        outdated = self._outdated(step)
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        path = Path(self.out_dir, self.filename_tmpl.format(step))
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        unfinished = path.with_name(path.name + UNFINISHED)
        if is_main_process():
            remove(unfinished)  # what a killed process has left
        barrier()
        try:
            runner.save_checkpoint(
                str(path.parent),
                unfinished.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )
        except OSError as error:
            remove(unfinished)
            raise OSError(error.errno, f"{path} could not be written: {error.strerror or error}") from error
        barrier()
        if is_main_process():
            put_in_place(unfinished, path)
            write_text(Path(runner.work_dir, "last_checkpoint"), self.last_ckpt)
            for old in outdated:
                remove(path.with_name(self.filename_tmpl.format(old)))

    def _outdated(self, step: int) -> list[int]:
        """Steps whose checkpoints go when that of ``step`` is there, which is then among those to keep."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        outdated = [self.keep_ckpt_ids.popleft()] if len(self.keep_ckpt_ids) == self.max_keep_ckpts else []
        self.keep_ckpt_ids.append(step)
        return outdated
