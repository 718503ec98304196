"""A packed LIRA as transformers' ``AutoModel`` gives it: ``AutoModel.from_pretrained(FOLDER, trust_remote_code=True)``."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import PretrainedConfig, PreTrainedModel

from lira_plugin.convert.packed_config import MODEL_TYPE
from lira_plugin.inference.inferencer import LIRAInferencer
from lira_plugin.structures import GroundedText

_OF_DOWNLOAD = ("revision", "cache_dir", "token", "local_files_only", "force_download")
_IGNORED = (
    "trust_remote_code",
    "_from_auto",
    "adapter_kwargs",
    "low_cpu_mem_usage",
    "attn_implementation",
    "use_safetensors",
)


class LIRAConfig(PretrainedConfig):
    """What the folder's ``config.json`` says."""

    model_type = MODEL_TYPE


class LIRAModel(PreTrainedModel):
    """A LIRA that answers: ``model("street.jpg", "Please segment the red car.")``.

    Args:
        config: of the folder.
        inferencer: with the model; its settings are those of :class:`~lira_plugin.inference.LIRAInferencer`.
    """

    config_class = LIRAConfig

    def __init__(self, config: LIRAConfig, inferencer: LIRAInferencer) -> None:
        super().__init__(config)
        self.lira = inferencer.model
        self.inferencer = inferencer

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *_: Any,
        config: LIRAConfig | None = None,
        device_map: str | dict[str, str] | None = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        **options: Any,
    ) -> "LIRAModel":
        """Load a packed folder, or one of a hub.

        Args:
            path: the folder, or its name on a hub.
            config: of the folder.
            device_map: ``auto`` takes the GPU with the most free memory, or the CPU where there is none; or a device.
            dtype: of the weights; None and ``auto`` keep that of the folder.
            torch_dtype: what transformers calls it before 4.56.
            options: of the download, such as ``revision``.

        Raises:
            TypeError: an option is unknown.
        """
        download = {name: options.pop(name) for name in _OF_DOWNLOAD if name in options}
        for name in _IGNORED:
            options.pop(name, None)
        if options:
            raise TypeError(f"LIRAModel.from_pretrained takes no {', '.join(map(repr, options))}")
        folder = Path(path) if Path(path).is_dir() else Path(snapshot_download(str(path), **download))
        dtype = torch_dtype if dtype is None else dtype
        dtype = None if dtype == "auto" else dtype
        inferencer = LIRAInferencer(folder, device=device_of(device_map), dtype=dtype, show_progress=False)
        return cls(config or LIRAConfig.from_pretrained(folder), inferencer)

    def forward(self, images: Any, questions: Any = None, **options: Any) -> list[GroundedText]:
        """Answer questions about images; see :meth:`~lira_plugin.inference.LIRAInferencer.__call__`."""
        return self.inferencer(images, questions, **options)


def device_of(device_map: str | dict[str, str] | None) -> str | None:
    """The device that a device map names; the model is on one device as a whole.

    Raises:
        ValueError: it names several.
    """
    if isinstance(device_map, dict):
        devices = set(device_map.values())
        if len(devices) != 1:
            raise ValueError(
                f"device_map={device_map!r} divides the model, which runs on one device: give 'auto' or one"
            )
        (device_map,) = devices
    if device_map != "auto":
        return None if device_map is None else str(device_map)
    if not torch.cuda.is_available():
        return "cpu"
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    return f"cuda:{free.index(max(free))}"
