"""Look at the images and masks that scans have found, each file once, over processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lira_plugin.datasets.findings import CUT, LEFT_OUT, TAKEN, UNUSABLE
from lira_plugin.datasets.scans import ImageClaim, MaskClaim, Scan
from lira_plugin.datasets.transforms.image_faults import image_fault, open_orientation, size_fault
from lira_plugin.datasets.transforms.pixels import exif_advice
from lira_plugin.structures import DataFault, FaultKind, Letterbox, decode_union

_READ_TOGETHER = 8


@dataclass(frozen=True)
class _Found:
    """A fault of an image (``mask`` None) or of a mask of claim ``claim`` of a group."""

    claim: int
    mask: int | None
    kind: FaultKind
    what: str
    effect: str


def look_at_images(
    scans: Sequence[tuple[Scan, int | None]], num_workers: int, decode: bool, every: int, show_progress: bool
) -> None:
    """Decode all images and masks, and add what is wrong with them to the scans.

    Args:
        scans: each with the side of the letterboxed square in which its masks are learnt, or None.
        num_workers: processes that read; 0 reads in this one.
        decode: decode the pixels of images, not their headers alone.
        every: look at one image of so many.
        show_progress: show a progress bar on a terminal.
    """
    groups: dict[Any, list[tuple[Scan, ImageClaim, int | None]]] = {}
    for scan, square in scans:
        for claim in scan.images[::every]:
            groups.setdefault((claim.path, claim.exif), []).append((scan, claim, square))
    listed = list(groups.values())
    looks = _Looks([[(claim, square) for _, claim, square in group] for group in listed], decode)
    loader = DataLoader(looks, _READ_TOGETHER, num_workers=num_workers, collate_fn=list)
    position = 0
    with tqdm(desc="images", total=len(listed), disable=None if show_progress else True) as bar:
        for batch in loader:
            for found in batch:
                _note(listed[position], found)
                position += 1
            bar.update(len(batch))


def _note(group: Sequence[tuple[Scan, ImageClaim, int | None]], found: Sequence[_Found]) -> None:
    for fault in found:
        scan, claim, _ = group[fault.claim]
        named: ImageClaim | MaskClaim = claim if fault.mask is None else claim.masks[fault.mask]
        scan.add(fault.kind, named.record, named.file, named.unit, fault.what, fault.effect)


class _Looks(Dataset):
    """Groups of claims about one image file, as what is wrong with them."""

    def __init__(self, groups: Sequence[Sequence[tuple[ImageClaim, int | None]]], decode: bool) -> None:
        self.groups, self.decode = groups, decode

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[_Found]:
        group = self.groups[index]
        path, exif = group[0][0].path, group[0][0].exif
        size, broken = image_fault(path, exif, self.decode)
        found = []
        for position, (claim, square) in enumerate(group):
            fault, effect = broken, UNUSABLE
            if size is not None:
                fault = size_fault(path, size, claim.size, exif)
                if fault is None and claim.masks and (fault := open_orientation(path, claim.size, exif)):
                    effect = TAKEN
            if fault is not None:
                found.append(_Found(position, None, fault.kind, str(fault), effect))
            for mask, one in enumerate(claim.masks):
                wrong = _mask_fault(one, claim, size, square)
                if wrong is not None:
                    found.append(_Found(position, mask, *wrong))
        return found


def _mask_fault(
    mask: MaskClaim, claim: ImageClaim, size: tuple[int, int] | None, square: int | None
) -> tuple[FaultKind, str, str] | None:
    """Kind, message and effect of what is wrong with a mask; it is sound where it fits the annotated or the true size."""
    wrong = None
    for height, width in dict.fromkeys(one for one in (claim.size, size) if one is not None):
        wrong = _fault_at(mask, height, width, square)
        if wrong is None:
            return None
    if wrong is not None and wrong[0] is FaultKind.MASK_SIZE and size is not None and claim.size is None:
        advice = _advice(mask, claim, size)
        return (FaultKind.EXIF_ORIENTATION, wrong[1] + advice, wrong[2]) if advice else wrong
    return wrong


def _fault_at(mask: MaskClaim, height: int, width: int, square: int | None) -> tuple[FaultKind, str, str] | None:
    try:
        pixels = decode_union(mask.segmentations, height, width)
    except DataFault as error:
        return error.kind, str(error), UNUSABLE
    except Exception as error:  # such as what an RLE of wrong types makes of NumPy
        return FaultKind.BAD_RLE, f"{type(error).__name__}: {error}", UNUSABLE
    if not pixels.any():
        has_polygon = any(isinstance(part, list | tuple) and part and not isinstance(part[0], dict)
                          for part in mask.segmentations)  # fmt: skip
        kind = FaultKind.ZERO_AREA_MASK if has_polygon else FaultKind.EMPTY_MASK
        return kind, "its mask has no pixel", LEFT_OUT
    if square is not None and not Letterbox(height, width, square).apply_mask(pixels).any():
        what = f"its mask of {int(pixels.sum())} pixels has none in the letterboxed square of {square} pixels"
        return FaultKind.TINY_MASK, what, CUT
    return None


def _advice(mask: MaskClaim, claim: ImageClaim, size: tuple[int, int]) -> str:
    """What to set where a mask is of the image's other orientation."""
    sizes = [part.get("size") for part in mask.segmentations if isinstance(part, dict)]
    turned = any(isinstance(own, list | tuple) and tuple(own) == size[::-1] for own in sizes)
    return exif_advice(claim.path, size[::-1], claim.exif) if turned else ""
