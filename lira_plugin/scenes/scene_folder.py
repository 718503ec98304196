"""A folder of generated scenes: which scenes it holds, and whether they are whole."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.written_aside import write_json


@dataclass(frozen=True)
class SceneFolder:
    """Says by a file of settings what a folder holds: one name while it is written, another when it is whole.

    Args:
        root: the folder.
        name: of the file of settings, without ``.json``.
    """

    root: Path
    name: str

    @property
    def done(self) -> Path:
        """The settings of scenes that are whole."""
        return self.root / f"{self.name}.json"

    @property
    def partial(self) -> Path:
        """The settings of scenes that are being written, or whose writing was interrupted."""
        return self.root / f"{self.name}.partial.json"

    def settings(self) -> dict[str, Any]:
        """What determines the scenes."""
        return json.loads(self.done.read_text())

    def holds(self, settings: dict[str, Any], is_whole: Callable[[], bool]) -> bool:
        """Whether the folder holds the scenes of these settings.

        Scenes that an interrupted call left behind, or that lack files, are told of; they are to be written anew.

        Args:
            settings: what determines the scenes.
            is_whole: looks for all of their files.

        Raises:
            ValueError: the folder holds other scenes, or something else.
        """
        way_on = "Choose another folder, delete this one, or call with the settings it was written with."
        path = next((path for path in (self.done, self.partial) if path.is_file()), None)
        if path is None:
            if self.root.exists() and any(self.root.iterdir()):
                raise ValueError(
                    f"{self.root} is not empty and holds no scenes ({self.done.name} is missing). {way_on}"
                )
            return False
        try:
            found = json.loads(path.read_text())
        except ValueError:
            raise ValueError(f"{path} is not readable as JSON. {way_on}") from None
        if found != settings:
            changed = {key for key in found.keys() | settings.keys() if found.get(key) != settings.get(key)}
            detail = ", ".join(
                f"{key} {found.get(key)!r} there, {settings.get(key)!r} asked" for key in sorted(changed)
            )
            raise ValueError(f"{self.root} holds other scenes: {detail}. {way_on}")
        if path == self.done and is_whole():
            return True
        print_log(
            f"{self.root} holds these scenes in part, an earlier call was interrupted or files were removed: writing anew",
            logger="current",
            level=logging.WARNING,
        )
        return False

    def begin(self, settings: dict[str, Any]) -> None:
        """Note that scenes are being written."""
        write_json(self.partial, settings)
        self.done.unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that they are whole."""
        os.replace(self.partial, self.done)
