"""From the dictionary of the pipeline to a typed sample."""

from typing import Any

import torch
from mmcv.transforms import BaseTransform

from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import GroundingSample


@TRANSFORMS.register_module()
class PackGroundingInputs(BaseTransform):
    """End the pipeline: from the dictionary to a :class:`GroundingSample`.

    Args:
        for_generation: keep what prediction and evaluation need: the original image and the annotations.

    Required Keys:

    - record, pixel_images, letterbox, square_masks
    - image (for generation)

    Optional Keys:

    - input_ids, labels, kinds, seg_regions, dropped_regions, cut_answers, forced_ids, tiles, view_tiles (absent in the
      segmenter stage)
    - empty_regions
    - index (of the record in its data set)
    """

    def __init__(self, for_generation: bool = False) -> None:
        self.for_generation = for_generation

    def transform(self, results: dict[str, Any]) -> GroundingSample:
        """Pack."""
        record = results["record"]
        empty = torch.zeros(0, dtype=torch.long)
        tiles = results.get("tiles", torch.zeros((0, 3, 1, 1), dtype=torch.uint8))
        masks, labels, seg_mask_index = self._masks(results, [] if self.for_generation else results.get("seg_regions"))
        return GroundingSample(
            source=record.source,
            record_id=record.record_id,
            input_ids=results.get("input_ids", empty),
            labels=results.get("labels", empty),
            kinds=results.get("kinds", empty),
            pixel_images=results["pixel_images"],
            tiles=tiles,
            tile_counts=(len(tiles),) * len(results["pixel_images"]),
            view_tiles=results.get("view_tiles", torch.zeros((0, 3, 1, 1), dtype=torch.uint8)),
            masks=masks,
            mask_labels=labels,
            seg_mask_index=seg_mask_index,
            dropped_regions=results.get("dropped_regions", 0),
            empty_regions=0 if self.for_generation else len(results.get("empty_regions", ())),
            cut_answers=results.get("cut_answers", 0),
            letterbox=results["letterbox"],
            image=results["image"] if self.for_generation else None,
            regions=record.regions if self.for_generation else (),
            question=record.conversation.turns[-1].question,
            image_key=record.image_path if self.for_generation else None,
            forced_ids=results.get("forced_ids", ()),
            index=results.get("index"),
            truth=record.truth if self.for_generation else None,
        )

    @staticmethod
    def _masks(
        results: dict[str, Any], seg_regions: list[int] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Masks that are learnt: those that a ``<seg>`` asks for; in the segmenter stage (None) all that have a pixel."""
        regions, masks = results["record"].regions, results["square_masks"]
        every = list(range(len(masks)))
        empty = results.get("empty_regions", ())
        used = [region for region in every if region not in empty] if seg_regions is None else sorted(set(seg_regions))
        mask_index = {region: index for index, region in enumerate(used)}
        return (
            masks if used == every else masks[used],
            torch.tensor([regions[region].category_id for region in used], dtype=torch.long),
            torch.tensor([mask_index[region] for region in seg_regions or ()], dtype=torch.long),
        )
