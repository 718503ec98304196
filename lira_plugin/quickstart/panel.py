"""Draw answers to questions of every task about val scenes: ``python -m lira_plugin.quickstart.panel``."""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction

from lira_plugin.inference import LIRAInferencer
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.scenes.scene_questions import scene_questions
from lira_plugin.visualization import draw_panels, save_image


def main() -> None:
    """Draw a picture.

    Raises:
        SystemExit: the arguments are wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="recipe of the model")
    parser.add_argument("model", help="its work dir")
    parser.add_argument("scenes", type=Path, help="folder of the scenes")
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    args = parser.parse_args()
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options)
    lira = LIRAInferencer(config, args.model)
    save_image(args.picture, draw_panels(lira, scene_questions(SceneFiles(args.scenes))))


if __name__ == "__main__":
    main()
