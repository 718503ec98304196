"""Where the recipes read and write; an environment variable moves each of them (docs/weights.md).

A single path is replaced on the command line where it is used, as in ``--cfg-options model.llm.llm.path=...``.
"""

# See tiny_paths.py for this import.
from mmengine.config.config import os

root = os.environ.get("LIRA_ROOT", "work_dirs/lira")
data_root = os.environ.get("LIRA_DATA", "data")
weights_root = os.environ.get("LIRA_WEIGHTS", "pretrained")

internvl = {
    name: dict(
        path=os.environ.get(variable, f"{weights_root}/{name}"),
        obtain=f"download https://huggingface.co/OpenGVLab/{name} and set {variable} to the folder (docs/weights.md)",
    )
    for name, variable in (
        ("InternVL2-2B", "LIRA_INTERNVL2_2B"),
        ("InternVL2-8B", "LIRA_INTERNVL2_8B"),
        ("InternVL2_5-1B", "LIRA_INTERNVL2_5_1B"),
        ("InternVL2_5-2B", "LIRA_INTERNVL2_5_2B"),
        ("InternVL2_5-4B", "LIRA_INTERNVL2_5_4B"),
        ("InternVL2_5-8B", "LIRA_INTERNVL2_5_8B"),
        ("InternVL3-1B", "LIRA_INTERNVL3_1B"),
        ("InternVL3-2B", "LIRA_INTERNVL3_2B"),
        ("InternVL3-8B", "LIRA_INTERNVL3_8B"),
        ("InternVL3_5-1B", "LIRA_INTERNVL3_5_1B"),
        ("InternVL3_5-2B", "LIRA_INTERNVL3_5_2B"),
        ("InternVL3_5-4B", "LIRA_INTERNVL3_5_4B"),
        ("InternVL3_5-8B", "LIRA_INTERNVL3_5_8B"),
    )
}
internvl2_2b, internvl2_8b = internvl["InternVL2-2B"], internvl["InternVL2-8B"]
qwen2_vl_2b = dict(
    path=os.environ.get("LIRA_QWEN2_VL_2B", f"{weights_root}/Qwen2-VL-2B-Instruct"),
    obtain="download https://huggingface.co/Qwen/Qwen2-VL-2B-Instruct and set LIRA_QWEN2_VL_2B to the folder (docs/weights.md)",
)
qwen_vl = {
    name: dict(
        path=os.environ.get(variable, f"{weights_root}/{folder}"),
        obtain=f"download https://huggingface.co/Qwen/{folder} and set {variable} to the folder (docs/weights.md)",
    )
    for name, folder, variable in (
        ("Qwen2_5-VL-3B", "Qwen2.5-VL-3B-Instruct", "LIRA_QWEN2_5_VL_3B"),
        ("Qwen2_5-VL-7B", "Qwen2.5-VL-7B-Instruct", "LIRA_QWEN2_5_VL_7B"),
        ("Qwen3-VL-2B", "Qwen3-VL-2B-Instruct", "LIRA_QWEN3_VL_2B"),
        ("Qwen3-VL-4B", "Qwen3-VL-4B-Instruct", "LIRA_QWEN3_VL_4B"),
    )
}
class_embeddings = dict(
    path=os.environ.get(
        "LIRA_CLASS_EMBEDDINGS", f"{weights_root}/omg_llava/convnext_large_d_320_CocoPanopticOVDataset.pth"
    ),
    obtain="download it from https://huggingface.co/zhangtao-whu/OMG-LLaVA and set LIRA_CLASS_EMBEDDINGS to the file "
    "(docs/weights.md)",
)
omg_seg = dict(
    path=os.environ.get("LIRA_OMG_SEG", f"{weights_root}/omg_seg/model.safetensors"),
    made_by=f"python tools/convert_checkpoint.py omg-seg OMG_SEG_CONVL.PTH {weights_root}/omg_seg --clip CLIP_CONVNEXT\n"
    "or set LIRA_OMG_SEG to the file that this writes; docs/weights.md says where its two inputs come from",
)
del os
