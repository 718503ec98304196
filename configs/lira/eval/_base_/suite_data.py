"""The official files of the suites, below ``data_root/suites``: docs/suites.md says where they are had."""

from mmengine.config import read_base

from lira_plugin.datasets import (
    Ai2dDataset,
    ChartQADataset,
    ChoiceTableDataset,
    GqaDataset,
    MmeDataset,
    PopeDataset,
    ScienceQADataset,
    TextVqaDataset,
    VizWizDataset,
    VqaDataset,
)

with read_base():
    from ..._base_.paths import *

suites_root = f"{data_root}/suites"
coco_val = f"{suites_root}/coco/val2014"
vizwiz = dict(
    type=VizWizDataset,
    ann_file=f"{suites_root}/vizwiz/val.json",
    image_root=f"{suites_root}/vizwiz/val",
    source="vizwiz/val",
)
gqa = dict(
    type=GqaDataset,
    ann_file=f"{suites_root}/gqa/testdev_balanced_questions.json",
    image_root=f"{suites_root}/gqa/images",
    source="gqa/testdev",
)
vqav2 = dict(
    type=VqaDataset,
    questions=f"{suites_root}/vqav2/v2_OpenEnded_mscoco_val2014_questions.json",
    annotations=f"{suites_root}/vqav2/v2_mscoco_val2014_annotations.json",
    image_root=coco_val,
    first=4000,  # of 214,354, as the reference asks them
    source="vqav2/val",
)
okvqa = dict(
    type=VqaDataset,
    questions=f"{suites_root}/okvqa/OpenEnded_mscoco_val2014_questions.json",
    annotations=f"{suites_root}/okvqa/mscoco_val2014_annotations.json",
    image_root=coco_val,
    source="okvqa/val",
)
textvqa = dict(
    type=TextVqaDataset,
    ann_file=f"{suites_root}/textvqa/TextVQA_0.5.1_val.json",
    image_root=f"{suites_root}/textvqa/train_images",
    source="textvqa/val",
)
scienceqa = dict(
    type=ScienceQADataset,
    problems=f"{suites_root}/scienceqa/problems.json",
    splits=f"{suites_root}/scienceqa/pid_splits.json",
    image_root=f"{suites_root}/scienceqa/images/test",
    source="scienceqa/test",
)
pope = dict(
    type=PopeDataset,
    ann_files={
        "random": f"{suites_root}/pope/coco_pope_random.json",
        "popular": f"{suites_root}/pope/coco_pope_popular.json",
        "adversarial": f"{suites_root}/pope/coco_pope_adversarial.json",
    },
    image_root=coco_val,
    prompt="{question}\nAnswer the question using a single word or phrase.",  # as in llava_pope_test.jsonl
)
mmbench_en, mmbench_cn = [
    dict(type=ChoiceTableDataset, ann_file=f"{suites_root}/mmbench/{file}.tsv", source=f"mmbench_{language}/dev")
    for language, file in (("en", "mmbench_dev_20230712"), ("cn", "mmbench_dev_cn_20231003"))
]
seed_image = dict(type=ChoiceTableDataset, ann_file=f"{suites_root}/seed/SEEDBench_IMG.tsv", source="seed/image")
mme = dict(type=MmeDataset, ann_root=f"{suites_root}/mme/Your_Results", image_root=f"{suites_root}/mme/images")
ai2d = dict(
    type=Ai2dDataset,
    ann_root=f"{suites_root}/ai2d/questions",
    ids=f"{suites_root}/ai2d/ai2d_test_ids.csv",
    image_root=f"{suites_root}/ai2d/images",
    letter_root=f"{suites_root}/ai2d/abc_images",
    source="ai2d/test",
)
chartqa = dict(
    type=ChartQADataset,
    ann_files={
        "human": f"{suites_root}/chartqa/test/test_human.json",
        "augmented": f"{suites_root}/chartqa/test/test_augmented.json",
    },
    image_root=f"{suites_root}/chartqa/test/png",
    source="chartqa/test",
)
