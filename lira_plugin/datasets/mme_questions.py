"""MME: yes-or-no questions, two about each image, a file of lines for each of 14 categories."""

import os
from collections import Counter
from pathlib import Path

from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, FaultKind, Record, shown

_FIELDS = ("image", "question", "answer")


@DATASETS.register_module()
class MmeDataset(AnswerDataset):
    """MME's questions, as the folder ``Your_Results`` of its evaluation tool holds them: ``existence.txt`` and 13 others.

    A line is the name of an image, a question and ``Yes`` or ``No``, between tabs. A category is called by its file. Records are
    called ``<category>/<image>/<position>``, by the position of the line in its file, from 0. Blank lines are passed over.

    Args:
        ann_root: folder of the files.
        image_root: folder with a folder of images for each category.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`; ``first``
            counts lines of each category.

    Raises:
        FileNotFoundError: there is no such folder, or no file in it.
        ValueError: with ``on_bad_record='raise'``, lines are not of this form, or an image has not two questions. All are named
            at once.
    """

    def __init__(
        self,
        ann_root: str,
        image_root: str,
        source: str = "mme",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        paths = sorted(Path(ann_root).glob("*.txt"))
        if not paths:
            raise FileNotFoundError(
                f"no files of MME's questions in {ann_root}: it must hold existence.txt and those of the other categories, as "
                "Your_Results of MME's eval_tool does"
            )

        def parse(category: str, name: str, line: tuple[str, int]) -> Record:
            text, count = line
            fields = text.split("\t")
            if len(fields) != len(_FIELDS):
                raise BadRecord(f"a line must be {', '.join(_FIELDS)} between tabs", f"got {shown(text)}")
            image, question, answer = (field.strip() for field in fields)
            if answer.lower() not in ("yes", "no"):
                raise BadRecord("the answer must be 'Yes' or 'No'", f"got {answer!r}")
            if not image:
                raise BadRecord("it names no image", f"got {shown(text)}", FaultKind.MISSING_IMAGE)
            if count != 2:
                raise BadRecord(f"MME asks two questions about each image, not {count}", repr(image))
            truth = AnswerTruth(label=answer.lower(), category=category, group=image, question=question)
            where = os.path.join(image_root, category, image)
            return self.ask(f"{category}/{image}/{name}", where, question, truth, answer)

        self.read_categories({path.stem: str(path) for path in paths}, _lines, parse)


def _lines(path: str) -> list[tuple[str, tuple[str, int]]]:
    """Each line with its position, and the count of lines about its image."""
    lines = [(str(position), line) for position, line in enumerate(read_text(path).splitlines()) if line.strip()]
    images = [line.split("\t")[0].strip() for _, line in lines]
    counts = Counter(images)
    return [(name, (line, counts[image])) for (name, line), image in zip(lines, images)]
