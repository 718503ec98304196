"""A model of which some parts are trained: its checkpoints hold those, and the rest comes from files of its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lira_plugin.checkpoint.files import check_state, remember_loaded
from lira_plugin.distributed import LoggedModel
from lira_plugin.models.trainable import freeze, keep_frozen_in_eval, named_modules_of


class PartlyFrozenModel(LoggedModel):
    """MMEngine's base of models, for one that is put together from parts with weights.

    A subclass builds its parts, loads what they start from, and calls :meth:`freeze_parts` at the end of its constructor. From
    then on a state dict holds what is trained, and one to be loaded has to hold all of that and nothing unknown.
    """

    frozen: tuple[str, ...] = ()

    def freeze_parts(self, names: Sequence[str]) -> None:
        """Keep parts fixed, in evaluation mode, and out of the state dict.

        Args:
            names: of parts, or dotted names of modules inside of them: ``("pixel_encoder", "llm")``.

        Raises:
            ValueError: there is no part of a name.
        """
        self.frozen = tuple(names)
        for module in named_modules_of(self, self.frozen):
            freeze(module)
        self._register_load_state_dict_pre_hook(self._complete_state)

    def init_weights(self) -> None:
        """Keep the weights: parts initialise themselves when built, and earlier stages are loaded.

        MMEngine calls this before training; its default would initialise loaded parts anew.
        """

    def train(self, mode: bool = True) -> "PartlyFrozenModel":
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self.get_submodule(name) for name in self.frozen)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What this stage trains; frozen parts come from their own files."""
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        frozen = {prefix + name for name in self._frozen_names()}
        for name in frozen & state.keys():
            del state[name]
        return state

    def _frozen_names(self) -> set[str]:
        named = self.named_parameters(remove_duplicate=False)  # tied weights under each of their names
        parameters = {name for name, parameter in named if not parameter.requires_grad}
        buffers = {name for name, _ in self.named_buffers() if name.startswith(tuple(f"{f}." for f in self.frozen))}
        return parameters | buffers

    def _complete_state(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Check a state dict about to be loaded, and complete it with the frozen parts that it leaves out."""
        given = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        own = super().state_dict()
        check_state(given, own, "to be loaded", may_lack=tuple(self._frozen_names()))
        if not prefix:
            remember_loaded(self)
        for name in own.keys() - given.keys():
            state_dict[prefix + name] = own[name]
