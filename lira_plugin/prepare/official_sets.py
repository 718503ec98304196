"""The question sets of the paper's mixture: what each is, where it is had, and where its files lie below one root."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lira_plugin.prepare.ai2d import convert_ai2d
from lira_plugin.prepare.aokvqa import convert_aokvqa
from lira_plugin.prepare.chartqa import convert_chartqa
from lira_plugin.prepare.dvqa import convert_dvqa
from lira_plugin.prepare.gqa import convert_gqa
from lira_plugin.prepare.llava_instruct import convert_llava
from lira_plugin.prepare.official_entries import ConversionNotes, FoundFiles, Record
from lira_plugin.prepare.scienceqa import convert_scienceqa
from lira_plugin.prepare.ten_answers import convert_textvqa, convert_vizwiz, convert_vqa

_VQA_README = "README of github.com/GT-Vision-Lab/VQA"
_MOLMO = "dataset_sizes.py of huggingface.co/allenai/MolmoE-1B-0924"


class MissingFiles(FileNotFoundError):
    """Files or folders of a set that are not there.

    Args:
        paths: what was looked for, one text for each file; alternatives are joined by "or".
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__(f"there is no {'; no '.join(paths)}")
        self.paths = paths

    def __reduce__(self) -> tuple:
        return MissingFiles, (self.paths,)


@dataclass(frozen=True)
class Known:
    """A count of the official release.

    Args:
        what: name of the count in :class:`ConversionNotes`.
        count: how many the release has.
        source: who says so.
    """

    what: str
    count: int
    source: str


@dataclass(frozen=True)
class OfficialSet:
    """A question set.

    Args:
        name: by which commands and record ids call it.
        title: as the paper calls it.
        licence: of the annotations, as their owners state it; images may have others.
        address: where the files are had.
        wanted: samples in the paper's mixture (supplement, Table 1).
        convert: makes LLaVA records of the files.
        files: paths below the root by name: the first of the alternatives that is there; ``*`` stands for several files.
        images: folders below the root by name, likewise.
        optional: names that may be missing.
        known: what the official release holds.
    """

    name: str
    title: str
    licence: str
    address: str
    wanted: int
    convert: Callable[[FoundFiles, ConversionNotes], Iterator[Record]]
    files: Mapping[str, tuple[str, ...]]
    images: Mapping[str, tuple[str, ...]]
    optional: frozenset[str] = frozenset()
    known: tuple[Known, ...] = ()

    def find(self, root: Path) -> FoundFiles:
        """Look the files up.

        Raises:
            MissingFiles: some are not there.
        """
        files = {name: first_present(root, paths) for name, paths in self.files.items()}
        folders = {name: first_present(root, paths) for name, paths in self.images.items()}
        wanted = {**self.files, **self.images}
        missing = [name for name, paths in {**files, **folders}.items() if not paths and name not in self.optional]
        if missing:
            raise MissingFiles(tuple(" or ".join(str(root / path) for path in wanted[name]) for name in missing))
        images = {name: paths[0].relative_to(root).as_posix() for name, paths in folders.items() if paths}
        return FoundFiles({name: paths for name, paths in files.items() if paths}, images)


def first_present(root: Path, alternatives: tuple[str, ...]) -> tuple[Path, ...]:
    """The files or folders of the first pattern that there are any of, in order of their names; empty if there are none."""
    for pattern in alternatives:
        paths = sorted(root.glob(pattern)) if "*" in pattern else [root / pattern]
        if found := tuple(path for path in paths if path.exists()):
            return found
    return ()


QUESTION_SETS = (
    OfficialSet(
        name="textvqa",
        title="TextVQA",
        licence="CC BY 4.0; confirm at the address",
        address="https://textvqa.org/dataset",
        wanted=15_000,
        convert=convert_textvqa,
        files={"questions": ("textvqa/TextVQA_0.5.1_train.json",)},
        images={"images": ("textvqa/train_images",)},
        known=(Known("questions", 34_602, _MOLMO),),
    ),
    OfficialSet(
        name="llava_150k",
        title="LLaVA150k",
        licence="CC BY 4.0, and OpenAI's terms of use",
        address="https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K; images: COCO train2017",
        wanted=157_000,
        convert=convert_llava,
        files={"conversations": ("llava/llava_instruct_150k.json",)},
        images={"images": ("coco/train2017",)},
    ),
    OfficialSet(
        name="scienceqa",
        title="ScienceQA",
        licence="CC BY-NC-SA 4.0",
        address="https://github.com/lupantech/ScienceQA",
        wanted=15_000,
        convert=convert_scienceqa,
        files={
            "problems": ("scienceqa/problems.json", "scienceqa/data/scienceqa/problems.json"),
            "splits": ("scienceqa/pid_splits.json", "scienceqa/data/scienceqa/pid_splits.json"),
        },
        images={"images": ("scienceqa/images/train", "scienceqa/train", "scienceqa/data/scienceqa/images/train")},
        known=(Known("problems of all splits", 21_208, "README of github.com/lupantech/ScienceQA"),),
    ),
    OfficialSet(
        name="vqav2",
        title="VQAv2",
        licence="CC BY 4.0",
        address="https://visualqa.org/download.html; images: COCO train2014",
        wanted=60_000,
        convert=convert_vqa,
        files={
            "questions": ("vqav2/v2_OpenEnded_mscoco_train2014_questions.json",),
            "annotations": ("vqav2/v2_mscoco_train2014_annotations.json",),
        },
        images={"images": ("coco/train2014",)},
        known=(Known("questions", 443_757, _VQA_README),),
    ),
    OfficialSet(
        name="dvqa",
        title="DVQA",
        licence="not stated; see the address",
        address="https://github.com/kushalkafle/DVQA_dataset",
        wanted=10_000,
        convert=convert_dvqa,
        files={"questions": ("dvqa/train_qa.json", "dvqa/qa/train_qa.json")},
        images={"images": ("dvqa/images",)},
    ),
    OfficialSet(
        name="aokvqa",
        title="A-OKVQA",
        licence="Apache 2.0 (its repository)",
        address="https://github.com/allenai/aokvqa; images: COCO train2017",
        wanted=30_000,
        convert=convert_aokvqa,
        files={"questions": ("aokvqa/aokvqa_v1p0_train.json",)},
        images={"images": ("coco/train2017",)},
        known=(Known("questions", 17_056, _MOLMO),),
    ),
    OfficialSet(
        name="vizwiz",
        title="VizWiz",
        licence="CC BY 4.0; confirm at the address",
        address="https://vizwiz.org/tasks-and-datasets/vqa",
        wanted=10_000,
        convert=convert_vizwiz,
        files={"questions": ("vizwiz/Annotations/train.json", "vizwiz/annotations/train.json", "vizwiz/train.json")},
        images={"images": ("vizwiz/train",)},
    ),
    OfficialSet(
        name="ai2d",
        title="AI2D",
        licence="see license.txt in the download",
        address="https://ai2-public-datasets.s3.amazonaws.com/diagrams/ai2d-all.zip; ids of the test diagrams: "
        "https://s3-us-east-2.amazonaws.com/prior-datasets/ai2d_test_ids.csv; abc_images: see docs/data.md",
        wanted=30_000,
        convert=convert_ai2d,
        files={"questions": ("ai2d/questions/*.json",), "test_ids": ("ai2d/ai2d_test_ids.csv",)},
        images={"images": ("ai2d/images",), "abc_images": ("ai2d/abc_images",)},
        optional=frozenset({"abc_images"}),
    ),
    OfficialSet(
        name="okvqa",
        title="OKVQA",
        licence="not stated; see the address",
        address="https://okvqa.allenai.org/download.html; images: COCO train2014",
        wanted=9_000,
        convert=convert_vqa,
        files={
            "questions": ("okvqa/OpenEnded_mscoco_train2014_questions.json",),
            "annotations": ("okvqa/mscoco_train2014_annotations.json",),
        },
        images={"images": ("coco/train2014",)},
        known=(Known("questions", 9_009, "huggingface.co/datasets/HuggingFaceM4/OK-VQA"),),
    ),
    OfficialSet(
        name="chartqa",
        title="ChartQA",
        licence="GPL-3.0",
        address="https://github.com/vis-nlp/ChartQA",
        wanted=15_000,
        convert=convert_chartqa,
        files={
            kind: (f"chartqa/ChartQA Dataset/train/train_{kind}.json", f"chartqa/train/train_{kind}.json")
            for kind in ("human", "augmented")
        },
        images={"images": ("chartqa/ChartQA Dataset/train/png", "chartqa/train/png")},
        known=(Known("questions", 28_299, _MOLMO),),
    ),
    OfficialSet(
        name="gqa",
        title="GQA",
        licence="CC BY 4.0; confirm at the address",
        address="https://cs.stanford.edu/people/dorarad/gqa/download.html",
        wanted=60_000,
        convert=convert_gqa,
        files={"questions": ("gqa/train_balanced_questions.json", "gqa/train_all_questions/*.json")},
        images={"images": ("gqa/images",)},
        known=(Known("balanced questions", 943_000, _MOLMO),),
    ),
)
"""In the order of the supplement's Table 1."""

COCO_IMAGES = {
    "coco/train2014": Known("images", 82_783, _VQA_README),
    "coco/train2017": Known("images", 118_287, "https://cocodataset.org/#download"),
}
"""How many images the folders hold that several sets share."""
