"""The tiny LIRA that also learns and is tested on gRefCOCO: sentences that name one thing, several, or nothing.

Its test gives N-acc and T-acc beside the scores of RefCOCO, for a checkpoint of ``lira_tiny.py`` as well. Figures are with and
without the rule that a mask of fewer than 50 pixels says "nothing" (which suits larger images), and with calibrated presence.
The training goes on from ``lira_tiny.py`` and takes a third of that one's iterations.
"""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_grefcoco"
made_by = "xtuner train configs/lira_tiny/lira_tiny.py"
model.init_from.append(dict(path=f"{root}/lira", may_lack=["semantic_encoder", "pixel_encoder"], made_by=made_by))
generalized = refer | dict(dataset="grefcoco")
train_dataloader.dataset.update(
    datasets=[
        generalized | dict(num_expressions=4, share=3),
        refer | dict(num_expressions=4, share=1),
        gcg | dict(share=0.5),
        vqa | dict(share=0.5),
    ],
    epoch_size=2400,
)
test_dataloader.dataset.datasets.append(generalized | dict(split="val"))
test_evaluator.update(spans="union", min_pixels=[0, 50], presence=True, out_file=f"{work_dir}/grefcoco.json")
train_cfg.update(max_iters=300)
