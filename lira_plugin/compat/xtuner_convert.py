"""``xtuner convert pth_to_hf`` on recipes of this package.

Mends xtuner 0.2.0: its converter knows its own models alone, and ends here with an AttributeError after all weights have been
read. It can go when xtuner asks the model whether it can be converted.

Importing this module in the converter's process ends it with a message. The recipes import it
(``configs/lira/_base_/default_runtime.py``).
"""

import sys
from pathlib import Path

NO_HF = (
    "xtuner convert pth_to_hf does not know models of lira_plugin. Nothing has to be converted: LIRAInferencer, tools/infer.py "
    "and xtuner test read checkpoints as they are. For other programs: tools/convert_checkpoint.py merge-lora writes the LLM as "
    "a Hugging Face folder, export-lira the layout of the released files (docs/weights.md)"
)

if Path(sys.argv[0]).name == "pth_to_hf.py":
    raise SystemExit(NO_HF)
