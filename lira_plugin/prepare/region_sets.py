"""The referring and caption sets of the paper's mixture, which recipes read as they are: where they lie, and their counts."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.prepare.official_entries import read_official
from lira_plugin.prepare.official_sets import Known, MissingFiles, first_present

_GLAMM = "https://huggingface.co/datasets/MBZUAI/GranD-f"
_REFS = {
    "refcoco": {"train": 42_404, "val": 3_811, "testA": 1_975, "testB": 1_810},
    "refcocog": {"train": 42_226, "val": 2_573, "test": 5_023},
}
"""Refs of each split, as the cards of huggingface.co/datasets/jxu124/refcoco and refcocog have them."""
_REFER = "https://github.com/lichengunc/refer; images: COCO train2014"


@dataclass(frozen=True)
class RegionSet:
    """A set whose records have regions, below the folder that recipes read (``LIRA_DATA``).

    Args:
        name: by which commands call it.
        title: as the paper calls it.
        group: of Table 1, whose total it is part of.
        licence: as its owners state it.
        address: where the files are had.
        files: all of them must be there; alternatives are in a tuple of their own.
        images: folder of the images.
        counts: what the first file holds: ``records`` are those for training.
        repeats: how often an epoch of the recipes reads them.
        wanted: samples in Table 1, None where only the total of the group is known.
        known: what the official release holds.
    """

    name: str
    title: str
    group: str
    licence: str
    address: str
    files: tuple[tuple[str, ...], ...]
    images: str
    counts: Callable[[Path], Mapping[str, int]]
    repeats: int = 1
    wanted: int | None = None
    known: tuple[Known, ...] = ()

    def find(self, root: Path) -> Path:
        """The first of the files.

        Raises:
            MissingFiles: files or the folder of images are not there.
        """
        wanted = (*self.files, (self.images,))
        found = [first_present(root, paths) for paths in wanted]
        missing = [
            " or ".join(str(root / path) for path in paths) for paths, is_there in zip(wanted, found) if not is_there
        ]
        if missing:
            raise MissingFiles(tuple(missing))
        return found[0][0]


class _Flickr(msgspec.Struct):
    images: list[msgspec.Raw]


def count_refs(path: Path) -> Mapping[str, int]:
    """``refs of`` each split. ``records`` are the images of the training split: each is one record, with some of its sentences.

    Raises:
        ValueError: it is no file of refs.
    """
    refs = read_annotations(path)
    try:
        counts = Counter(f"refs of {ref['split']}" for ref in refs)
        return {**counts, "records": len({ref["image_id"] for ref in refs if ref["split"] == "train"})}
    except (TypeError, KeyError) as error:
        message = f"{path} is not a file of refs: an entry lacks 'image_id' or 'split'; download it again"
        raise ValueError(message) from error


def count_list(path: Path) -> Mapping[str, int]:
    """Entries of a JSON list.

    Raises:
        ValueError: it is no such file.
    """
    return {"records": len(read_official(path, list[msgspec.Raw]))}


def count_flickr(path: Path) -> Mapping[str, int]:
    """Images of a COCO file, each with a caption.

    Raises:
        ValueError: it is no such file.
    """
    return {"records": len(read_official(path, _Flickr).images)}


def _refer(name: str, title: str, split_by: str, wanted: int) -> RegionSet:
    return RegionSet(
        name=name,
        title=title,
        group="RefSeg",
        licence="not stated; see the address",
        address=_REFER,
        files=(
            tuple(f"ref_seg/{name}/refs({split_by}).{suffix}" for suffix in ("p", "json")),
            (f"ref_seg/{name}/instances.json",),
        ),
        images="glamm_data/images/coco2014/train2014",
        counts=count_refs,
        repeats=3,
        wanted=wanted,
        known=tuple(
            Known(f"refs of {split}", count, f"huggingface.co/datasets/jxu124/{name}")
            for split, count in _REFS.get(name, {}).items()
        ),
    )


def _caption(
    name: str, title: str, file: str, images: str, counts: Callable[[Path], Mapping[str, int]], repeats: int = 1
) -> RegionSet:
    return RegionSet(
        name=name,
        title=title,
        group="GCG",
        licence="see the address",
        address=_GLAMM,
        files=((f"glamm_data/annotations/{file}_train_highlight_bg.json",),),
        images=f"glamm_data/images/{images}",
        counts=counts,
        repeats=repeats,
    )


REGION_SETS = (
    _refer("refcoco", "RefCOCO", "unc", 51_000),
    _refer("refcoco+", "RefCOCO+", "unc", 51_000),
    _refer("refcocog", "RefCOCOg", "umd", 66_000),
    _caption("refcocog_gcg", "RefCOCOg-GCG", "RefCOCOg_GCG", "coco2014/train2014", count_list),
    _caption("flickr30k_gcg", "Flickr30k", "flickr_mergedGT_GCG", "flickr30k/Flickr30K", count_flickr),
    _caption("grandf_gcg", "GranDf", "GranDf_HA_GCG", "grandf/train", count_list, repeats=10),
    _caption("openpsg_gcg", "OpenPSG", "OpenPsgGCG", "coco2017", count_list),
)
"""Repeats are those of ``configs/lira/_base_/datasets/paper_data.py``."""

GROUP_TOTALS = {"VQA": 411_000, "RefSeg": 168_000, "GCG": 206_000}
"""Samples of the supplement's Table 1."""
