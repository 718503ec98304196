"""One answer of the command ``lira infer``: what it imports, which is most of its time, and what it writes."""

import os
import subprocess
import sys

import pytest
import transformers
from support.paths import ROOT
from support.tiny_model import write_image

pytestmark = pytest.mark.slow

SLOW = {
    "bitsandbytes", "deepspeed", "IPython", "matplotlib", "networkx", "pandas", "peft", "pytorch_optimizer", "scipy.optimize",
    "shapely", "sympy", "torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "torch.distributed.optim", "triton",
    "xtuner",
}  # fmt: skip
"""What no answer needs, and takes a tenth of a second or more to import."""
RECIPE = """
made = __import__("support.tiny_recipes", fromlist=["tiny_recipe"]).tiny_recipe()
model, test_dataloader = made["model"], made["test_dataloader"]
del made
"""
CODE = """
import sys
from lira_plugin import command
try:
    command.main(sys.argv[1:])
finally:
    print(*sys.modules, file=open("modules.txt", "w"))
"""


def test_an_answer_imports_nothing_that_is_slow_and_not_needed(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    image = write_image(tmp_path, "a", 20, 30)
    asked = ["infer", image, "Please segment the dog.", "--model", "recipe.py", "--force", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "foreign warnings"
    assert f"{image}: Please segment the dog.\nthe dog\n  [0:7] the dog  score" in done.stdout
    found = (tmp_path / "modules.txt").read_text().split()
    assert "torch" in found and "mmdet.models" in found
    if transformers.__version__.startswith("4.48."):  # a newer one imports what it imports
        assert [name for name in found if name in SLOW] == []
    assert "deepspeed" not in found and "bitsandbytes" not in found
