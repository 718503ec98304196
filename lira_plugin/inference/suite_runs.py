"""A checkpoint tested on several suites, one after the other, by the recipes of the suites."""

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from lira_plugin.checkpoint.files import read_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.evaluation.suite_table import SuiteResult
from lira_plugin.hooks.evaluation_settings import EvaluationSettingsHook, plain_settings
from lira_plugin.recipes import find_recipe_file, recipes
from lira_plugin.registry import DATASETS
from lira_plugin.written_aside import write_json

RESULT = "result.json"
"""What is written into the folder of a suite once it is finished."""
_OF_SUITE = ("test_dataloader", "test_evaluator", "test_cfg")
_GENERATION = ("ilvc", "max_new_tokens", "batch_size")
SETTINGS_HOOK = f"{EvaluationSettingsHook.__module__}.{EvaluationSettingsHook.__qualname__}"
_RUNNER = [name for name in inspect.signature(Runner.__init__).parameters if name not in ("self", "model", "cfg")]


@dataclass(frozen=True)
class Suite:
    """A suite.

    Args:
        name: by which commands call it: the last part of its recipe's work dir.
        recipe: its recipe, for a model of the same kind.
    """

    name: str
    recipe: Config


def find_suites(recipe: str | Path, folder: str | Path | None = None, wanted: Sequence[str] = ()) -> list[Suite]:
    """The suites of a recipe.

    Args:
        recipe: of the model; the recipes of suites are in the folder ``eval`` beside it, or, where it is a recipe in a work dir,
            beside the recipe of this package with its name.
        folder: of the recipes of suites, where it is another.
        wanted: names of suites; by default all.

    Raises:
        FileNotFoundError: there is no recipe, or no recipe of a suite.
        ValueError: a wanted suite is unknown.
    """
    if folder is None:
        path = find_recipe_file(recipe)
        beside = [path.parent / "eval", *(found.parent / "eval" for found in [recipes().get(path.stem)] if found)]
        folder = next((each for each in beside if each.is_dir()), beside[0])
    files = sorted(Path(folder).glob("*.py"))
    if not files:
        raise FileNotFoundError(f"no recipes of suites in {folder}; name their folder, such as configs/lira/eval")
    suites = {
        Path(config.work_dir).name: Suite(Path(config.work_dir).name, config) for config in map(Config.fromfile, files)
    }
    if unknown := [name for name in wanted if name not in suites]:
        raise ValueError(
            f"no suite is called {', '.join(map(repr, unknown))}; those in {folder} are {', '.join(suites)}"
        )
    return [suites[name] for name in wanted or suites]


def suite_config(model: Config, suite: Suite, folder: Path) -> Config:
    """The recipe of a model, tested as the recipe of a suite says, with its files in ``folder``."""
    config, asked = (
        Config(model.to_dict()),
        suite.recipe.to_dict(),
    )  # classes by their names, as in the config of a work dir
    for name in _OF_SUITE:
        config[name] = asked[name]
    generation = asked["model"]["generation"]
    config.model.setdefault("generation", {}).update(
        {name: generation[name] for name in _GENERATION if name in generation}
    )
    for evaluator in config.test_evaluator:
        for name in ("out_file", "dump", "submission"):
            if evaluator.get(name):
                evaluator[name] = str(folder / Path(evaluator[name]).name)
    config.custom_hooks = [*config.get("custom_hooks", []), {"type": SETTINGS_HOOK}]
    config.work_dir = config.experiment_name = str(folder)
    config.load_from, config.resume, config.log_level = None, False, "WARNING"
    return config


def run_suites(
    model: Config,
    checkpoint: str | Path,
    suites: Sequence[Suite],
    folder: str | Path,
    say: Callable[[str], None],
    again: bool = False,
) -> Iterator[SuiteResult]:
    """Test the suites one after the other; one that is finished already, with the same settings and weights, is not run again.

    The model is built once. All data sets are built before the first test, so that a missing file is an error at once.

    Args:
        model: recipe of the model.
        checkpoint: its weights, or a work dir.
        suites: what to test it on.
        folder: for the files of the suites, a folder each.
        say: takes lines about the progress.
        again: run finished suites too.

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of a suite is not there; all suites without files are named.
        ValueError: the checkpoint does not fit, or files of a suite are not of their form.
    """
    checkpoint, folder = find_checkpoint(checkpoint), Path(folder)
    configs = {suite.name: suite_config(model, suite, folder / suite.name) for suite in suites}
    keys = {name: run_key(config, checkpoint) for name, config in configs.items()}
    done = {} if again else {name: found for name in configs if (found := read_result(folder / name, keys[name]))}
    counts = _count_questions({name: config for name, config in configs.items() if name not in done})
    tester, began, answered = None, time.monotonic(), 0
    for index, (name, config) in enumerate(configs.items(), 1):
        if name in done:
            say(f"[{index}/{len(configs)}] {name}: finished before")
            yield done[name]
            continue
        left = sum(counts.values()) - answered
        rest = f", about {(time.monotonic() - began) / answered * left / 60:.0f} min left" if answered else ""
        say(f"[{index}/{len(configs)}] {name}: {counts[name]:,} questions{rest}")
        tester = tester or _Tester(config, checkpoint)
        result = tester.run(name, config)
        write_json(folder / name / RESULT, {"key": keys[name], **asdict(result)}, indent=1)
        answered += counts[name]
        yield result


class _Tester:
    """A model with its weights, tested by one runner after the other."""

    def __init__(self, config: Config, checkpoint: Path) -> None:
        self.model: nn.Module | None = None
        self.state: dict[str, Any] | None = read_state_dict(checkpoint)

    def run(self, name: str, config: Config) -> SuiteResult:
        """Test the model on one suite."""
        settings = {key: config[key] for key in _RUNNER if key in config}
        runner = Runner(model=config.model if self.model is None else self.model, cfg=config, **settings)
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if self.state is not None:
            self.model.load_state_dict(self.state, strict=False)
            self.state = None
        self.model.generation = dict(config.model.generation)
        began = time.monotonic()
        figures = runner.test()
        metric = runner.test_evaluator.metrics[0]
        written = json.loads(Path(metric.out_file).read_text(encoding="utf-8"))
        (source,) = runner.test_loop.dataloader.dataset.protocols()
        return SuiteResult(name, source, metric.rule, figures, time.monotonic() - began, written["settings"])


def run_key(config: Config, checkpoint: Path) -> str:
    """What a finished suite is known by: a hash of all settings of its test, and of the checkpoint's path, size and date."""
    state = checkpoint.stat()
    settings = plain_settings({name: config[name] for name in (*_OF_SUITE, "model")})
    content = [settings, str(checkpoint.resolve()), state.st_size, state.st_mtime_ns]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_result(folder: Path, key: str) -> SuiteResult | None:
    """The result of a finished suite; None where there is none, or one of other settings or weights."""
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return SuiteResult(**content) if content.pop("key") == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _count_questions(configs: dict[str, Config]) -> dict[str, int]:
    """How many questions each suite has; builds its data set."""
    counts, missing = {}, []
    for name, config in configs.items():
        try:
            counts[name] = len(DATASETS.build(config.test_dataloader.dataset))
        except FileNotFoundError as error:
            missing.append(f"  {name}: {error}")
    if missing:
        raise FileNotFoundError("files of suites are not there:\n" + "\n".join(missing))
    return counts
