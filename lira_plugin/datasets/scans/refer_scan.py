"""Scans of the REFER layout: refs with their sentences, and the COCO file of what they name."""

import os
from typing import Any

import msgspec

from lira_plugin.datasets.annotation_files import id_of, read_list, unknown_id
from lira_plugin.datasets.entries import Ref, RefSentence, to_entry
from lira_plugin.datasets.findings import LEFT_OUT, TAKEN, BadRecord
from lira_plugin.datasets.refer import _SPLIT, DEFAULT_SPLIT_BY, SUBSTRING_SPLITS, find_refs
from lira_plugin.datasets.scans.coco_scan import ScannedCoco, check_category, claim_image, claim_mask, scan_coco
from lira_plugin.datasets.scans.scan import ImageClaim, Scan
from lira_plugin.datasets.scans.unread import check_unread
from lira_plugin.structures import FaultKind


def scan_refer(scan: Scan, settings: Any) -> None:
    """Scan the files of a :class:`~lira_plugin.datasets.ReferSegDataset`."""
    folder = os.path.join(settings.data_root, settings.dataset)
    refs_path = find_refs(folder, settings.dataset, settings.split_by or DEFAULT_SPLIT_BY.get(settings.dataset))
    content = read_list(refs_path, "a file of refs")
    scan.files.append(refs_path)
    found = scan_coco(scan, os.path.join(folder, "instances.json"))
    for name in found.positions["images"]:
        scan.owners[f"image {name}"].add(str(name))
    for annotation in found.coco.annotations.values():
        if found.coco.categories and isinstance(annotation.category_id, int):
            check_category(scan, found, annotation)
    _RefScan(scan, refs_path, found, settings).scan_all(content)
    named = ((f"ref {id_of(ref, position, 'ref_id')}", (position,), ref) for position, ref in enumerate(content))
    check_unread(scan, refs_path, named)


class _RefScan:
    """The refs of one split; ``scan`` takes what is wrong with them."""

    def __init__(self, scan: Scan, path: str, found: ScannedCoco, settings: Any) -> None:
        self.scan, self.path, self.found, self.settings = scan, path, found, settings
        self.seen_ids: set[Any] = set()
        self.seen_texts: dict[Any, str] = {}
        self.claims: dict[Any, ImageClaim] = {}
        self.claimed: set[Any] = set()

    def scan_all(self, content: list[Any]) -> None:
        """All refs of the file, of other splits their form alone."""
        for position, value in enumerate(content):
            name = f"ref {id_of(value, f'at position {position}', 'ref_id')}"
            indices, ref = self._parse(value, name, position)
            if ref is None or not self.scan.check_id(self.seen_ids, ref.ref_id, name, self.path, (position,)):
                continue
            if self._is_of_split(ref, name, position):
                self._scan(ref, name, position, indices)

    def _parse(self, value: Any, name: str, position: int) -> tuple[list[int], Ref | None]:
        """The ref with those of its sentences that are sound, and their indices."""
        sentences = value.get("sentences") if isinstance(value, dict) else None
        indices = []
        if isinstance(sentences, list | tuple):  # pickles hold both
            faulty = []
            for index, sentence in enumerate(sentences):
                try:
                    to_entry(sentence, RefSentence)
                    indices.append(index)
                except BadRecord as error:
                    faulty.append((index, error))
            value = value | {"sentences": [sentences[index] for index in indices]}
            ref_id = id_of(value, f"at position {position}", "ref_id")
            for index, error in faulty:
                sent_id = id_of(sentences[index], str(index), "sent_id")
                self.scan.bad(f"{ref_id}-{sent_id}", self.path, (position, "sentences", index), error)
            if not sentences:
                self.scan.add(FaultKind.EMPTY_TEXT, name, self.path, (position,), "the ref has no sentence", LEFT_OUT)
                return [], None
        try:
            return indices, to_entry(value, Ref)
        except BadRecord as error:
            self.scan.bad(name, self.path, (position,), error)
            return [], None

    def _is_of_split(self, ref: Ref, name: str, position: int) -> bool:
        split, exact = self.settings.split, self.settings.dataset not in SUBSTRING_SPLITS
        part = None if exact else {"testA": "A", "testB": "B", "test": "test"}.get(split)
        if part in ref.split if part else ref.split == split:
            return True
        if self.settings.dataset in DEFAULT_SPLIT_BY and not _SPLIT.fullmatch(ref.split):
            what = f"the split is {ref.split!r}, which is none of train, val, test, testA, testB"
            self.scan.add(FaultKind.LAYOUT, name, self.path, (position,), what, LEFT_OUT)
        return False

    def _scan(self, ref: Ref, name: str, position: int, indices: list[int]) -> None:
        scan, coco, unit = self.scan, self.found.coco, (position,)
        scan.owners[name] |= {str(ref.image_id)} if self._trains else set()
        if ref.image_id not in coco.images:
            if not self.found.is_faulty("images", ref.image_id):
                error = unknown_id("image", ref.image_id, coco.images, f"the images of {coco.path}")
                scan.bad(name, self.path, unit, error)
            return
        ann_ids = tuple(ref.ann_id) if isinstance(ref.ann_id, list) else (ref.ann_id,)
        ann_ids = () if ann_ids == (-1,) else ann_ids
        are_known = [self._is_known(ann_id, ref, name, position) for ann_id in ann_ids]
        if not all(are_known):
            return
        owners = self._scan_sentences(ref, position, indices)
        self._claim(ref, position, ann_ids, owners)

    @property
    def _trains(self) -> bool:
        return self.settings.num_expressions is not None

    def _is_known(self, ann_id: Any, ref: Ref, name: str, position: int) -> bool:
        scan, coco, unit = self.scan, self.found.coco, (position,)
        annotation = coco.annotations.get(ann_id)
        if annotation is None:
            if not self.found.is_faulty("annotations", ann_id):
                error = unknown_id("annotation", ann_id, coco.annotations, f"the annotations of {coco.path}")
                scan.bad(name, self.path, unit, error)
            return False
        own, own_name = self.found.unit("annotations", ann_id), f"annotation {ann_id}"
        scan.owners[own_name] |= scan.owners[name]
        if annotation.image_id != ref.image_id:
            what = (
                f"it is about image {ref.image_id!r}, but its annotation {ann_id!r} belongs to {annotation.image_id!r}"
            )
            scan.add(FaultKind.UNKNOWN_ID, name, self.path, unit, what)
        elif annotation.segmentation is msgspec.UNSET:
            what = "it has no 'segmentation', and refs name it"
            scan.add(FaultKind.SEG_MASK_MISMATCH, own_name, coco.path, own, what)
        elif isinstance(annotation.category_id, str):
            what = f"its 'category_id' is no whole number: {annotation.category_id!r}"
            scan.add(FaultKind.LAYOUT, own_name, coco.path, own, what)
        else:
            return True
        return False

    def _scan_sentences(self, ref: Ref, position: int, indices: list[int]) -> set[str]:
        """Note faults of the sentences; returns the reader's records that they become."""
        scan, seen, owners = self.scan, set(), set()
        for index, sentence in zip(indices, ref.sentences, strict=True):
            sent_id = index if sentence.sent_id is None else sentence.sent_id
            record, unit = f"{ref.ref_id}-{sent_id}", (position, "sentences", index)
            owner = str(ref.image_id) if self._trains else record
            owners.add(owner)
            scan.owners[record].add(owner)
            label = sentence.sent.strip().lower()
            scan.units.setdefault((owner, label), (record, self.path, unit))
            if not scan.check_id(seen, sent_id, record, self.path, unit):
                continue
            scan.check_words(sentence.sent, record, self.path, unit)
            if label:
                first = self.seen_texts.setdefault((ref.image_id, label), record)
                if first is not record:
                    what = f"the sentence {label!r} is about image {ref.image_id} twice, as {first} says the same"
                    scan.add(FaultKind.DUPLICATE_SENTENCE, record, self.path, unit, what, TAKEN)
        return owners

    def _claim(self, ref: Ref, position: int, ann_ids: tuple[Any, ...], owners: set[str]) -> None:
        claim = self.claims.get(ref.image_id)
        if claim is None:
            root, exif = self.settings.image_root, self.settings.exif
            claim = self.claims[ref.image_id] = claim_image(self.scan, self.found, ref.image_id, root, exif, owners)
        claim.uses.append((self.path, (position,)))
        self.scan.owners[claim.record] |= owners
        for ann_id in ann_ids:
            self.scan.owners[f"annotation {ann_id}"] |= owners
            if ann_id not in self.claimed:
                self.claimed.add(ann_id)
                claim_mask(self.scan, self.found, self.found.coco.annotations[ann_id], claim)
