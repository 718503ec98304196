"""Where the recipes of scenes with fine detail read and write, below the folder of the other tiny recipes."""

from mmengine.config import read_base

with read_base():
    from .tiny_paths import *

detail_root = f"{root}/detail"
