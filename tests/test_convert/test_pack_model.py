"""A packed model answers as it did, from its folder alone."""

import json
import runpy
import shutil
import socket
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.hub_stub import hub_stub
from support.paths import ROOT
from support.process_state import process_state_restored
from support.tiny_recipes import write_work_dir
from transformers import AutoConfig, AutoModel, AutoTokenizer

from lira_plugin.convert import pack_model, push_folder
from lira_plugin.convert.packed_config import is_packed, read_packed
from lira_plugin.inference import LIRAInferencer, find_recipe
from lira_plugin.inference.auto_model import device_of

pytestmark = pytest.mark.slow

QUESTIONS = ["Please segment red circle.", "Please describe the image.", "What is to be seen?"]


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored():
        yield


@pytest.fixture(scope="module", params=["lira_tiny", "lira_tiny_lora"])
def packed(request, tmp_path_factory):
    """A folder of a work dir that is gone, and what the model said before."""
    root = tmp_path_factory.mktemp("origin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        work_dir = write_work_dir(root, 2, 1, request.param)
        (root / "scores.json").write_text('{"protocol": "refined masks", "cIoU": 0.5}')
        torch.manual_seed(0)  # the LLM under the adapters is random, and in no checkpoint
        before = answers(LIRAInferencer(work_dir, device="cpu", show_progress=False))
        folder = tmp_path_factory.mktemp("elsewhere") / "folder"
        torch.manual_seed(0)
        pack_model(*find_recipe(work_dir, work_dir), root / "packed", scores=[root / "scores.json"], shard_bytes=2e6)
        shutil.move(root / "packed", folder)
    shutil.rmtree(root)
    return folder, before


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("the network is off")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def image():
    return np.random.default_rng(0).integers(0, 255, (80, 120, 3), dtype=np.uint8)


def answers(lira):
    """Texts, scores, masks and logits, of what the model says and of masks that it is made to give."""
    said = lira([image()] * 3, QUESTIONS, return_logits=True, max_new_tokens=12)
    said += lira(image(), QUESTIONS[0], force=True, return_logits=True)
    return [
        (answer.text, [(span.score, span.mask.tobytes(), span.logits.tobytes()) for span in answer.spans])
        for answer in said
    ]


def test_a_packed_model_answers_bit_by_bit_as_before(packed, no_network):
    folder, before = packed
    assert is_packed(folder) and len(list(folder.glob("model-*.safetensors"))) > 1
    assert any(spans for _, spans in before)
    assert answers(LIRAInferencer(folder, device="cpu", show_progress=False)) == before
    assert answers(LIRAInferencer(weights=folder, device="cpu", show_progress=False)) == before


def test_auto_model_loads_it(packed, no_network, tmp_path, monkeypatch):
    folder, before = packed
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, device_map="cpu")
    assert answers(model) == before
    for name in ("torch_dtype", "dtype"):  # transformers 4.56 renamed the first
        model = AutoModel.from_pretrained(folder, trust_remote_code=True, **{name: torch.bfloat16})
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "lira"
    own = model.lira.tokenizer
    assert AutoTokenizer.from_pretrained(folder)(QUESTIONS[0]).input_ids == own(QUESTIONS[0]).input_ids
    with pytest.raises(TypeError, match="takes no 'load_in_3bit'"):
        AutoModel.from_pretrained(folder, trust_remote_code=True, load_in_3bit=True)


def test_all_weights_are_in_it_once_and_nothing_of_the_original(packed):
    folder, _ = packed
    stored = [name for file in folder.glob("*.safetensors") for name in load_file(file)]
    model = LIRAInferencer(folder, device="cpu", show_progress=False).model
    held = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    assert sorted(stored) == sorted(held), "training's own losses are left out"
    content = (folder / "config.json").read_text()
    assert "origin" not in content and json.loads(content)["lira"]["model"]["special_tokens"]["add_missing"] is False


def test_the_card_says_data_scores_and_licences(packed):
    text = (packed[0] / "README.md").read_text()
    for part in ("license:", "## Data", "scenes", "cIoU", "refined masks", "## Licences", "| llm |"):
        assert part in text
    sizes = json.loads((packed[0] / "preprocessor_config.json").read_text())
    assert (sizes["image_size"], sizes["tile_size"]) == (96, 64)
    assert sizes["semantic_encoder_mean"] == pytest.approx([0.485, 0.456, 0.406])


def test_weights_of_16_bits(packed, tmp_path):
    folder, _ = packed
    lira = LIRAInferencer(folder, device="cpu", dtype="bfloat16", show_progress=False)
    assert {parameter.dtype for parameter in lira.model.parameters()} == {torch.bfloat16}
    frequencies = [module.inv_freq for module in lira.model.modules() if hasattr(module, "inv_freq")]
    assert frequencies and all(tensor.dtype == torch.float32 for tensor in frequencies)
    assert lira(image(), QUESTIONS[0], force=True)[0].spans


def test_the_device_of_a_device_map(monkeypatch):
    free = {0: (3e9, 8e9), 1: (7e9, 8e9)}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", free.get)
    assert device_of("auto") == "cuda:1"
    assert device_of({"": "cuda:0"}) == "cuda:0" and device_of(None) is None
    with pytest.raises(ValueError, match="runs on one device"):
        device_of({"llm": 0, "sefe": 1})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_of("auto") == "cpu"


def changed(packed, tmp_path, change):
    folder = tmp_path / "copy"
    shutil.copytree(packed[0], folder)
    content = json.loads((folder / "config.json").read_text())
    change(content["lira"]["model"])
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["sefe"].update(type="os.system"), "os.system"),
        (lambda m: m["sefe"].update(type="lira_plugin.models.lira.torch.hub.load"), "torch.hub.load"),
        (lambda m: m["sefe"].update(type="lira_plugin.models.trainable.freeze"), "may name parts of models"),
        (lambda m: m["pixel_encoder"]["backbone"].update(checkpoint_path="w.pth"), "'checkpoint_path'"),
        (lambda m: m["pixel_encoder"]["backbone"].update(model_name="hf-hub:someone/something"), "look for elsewhere"),
        (lambda m: m["semantic_encoder"].update(vit="local-dir:/somewhere"), "look for elsewhere"),
        (lambda m: m.pop("llm"), "is no packed LIRA"),
    ],
)
def test_a_folder_of_others_can_name_parts_of_models_alone(packed, tmp_path, change, message):
    folder = changed(packed, tmp_path, change)
    with pytest.raises(ValueError, match=message) as error:
        read_packed(folder)
    assert str(folder) in str(error.value)


def test_tensors_that_do_not_fit_are_named(packed, tmp_path):
    folder = changed(packed, tmp_path, lambda model: None)
    file = sorted(folder.glob("model-*.safetensors"))[0]
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("weight"))
    save_file({**tensors, name: torch.ones(3)}, file)
    with pytest.raises(ValueError, match=f"1 tensors: {name} \\(3,\\)"):
        LIRAInferencer(folder, device="cpu")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.name):
        LIRAInferencer(folder, device="cpu")


def test_an_existing_folder_is_kept_and_other_weights_are_refused(packed, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there is there already"):
        pack_model(read_packed(packed[0]), None, tmp_path / "there")
    with pytest.raises(ValueError, match="packed with its weights"):
        LIRAInferencer(packed[0], tmp_path / "iter_7.pth")


def test_it_is_pushed_to_a_hub(packed, tmp_path, monkeypatch):
    folder, before = packed
    with hub_stub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)  # as HF_ENDPOINT does
        address = push_folder(folder, "someone/lira", token="hf_none")
        assert address.startswith(f"{hub.address}/someone/lira/commit/")
    assert hub.created[0]["private"] is True and hub.created[0]["name"] == "lira"
    assert hub.files == {file.name: file.read_bytes() for file in folder.iterdir()}
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    assert answers(LIRAInferencer(tmp_path, device="cpu", show_progress=False)) == before
    with pytest.raises(ValueError, match="is no packed folder"):
        push_folder(tmp_path.parent, "someone/lira")


def test_the_tools_pack_it_and_ask_it(packed, tmp_path, monkeypatch, capsys):
    """The second packing is of the first one."""
    folder, _ = packed
    monkeypatch.setattr(
        sys, "argv", ["convert", "pack", str(folder), str(folder), str(tmp_path / "again"), "--dtype", "bfloat16"]
    )
    runpy.run_path(str(ROOT / "tools" / "convert_checkpoint.py"), run_name="__main__")
    assert f"wrote {tmp_path}/again" in capsys.readouterr().out
    stored = [tensor for file in (tmp_path / "again").glob("*.safetensors") for tensor in load_file(file).values()]
    assert torch.bfloat16 in {tensor.dtype for tensor in stored}
    Image.fromarray(image()).save(tmp_path / "image.png")
    asked = [
        "infer",
        str(tmp_path / "image.png"),
        QUESTIONS[0],
        "--model",
        str(tmp_path / "again"),
        "--force",
        "--device",
        "cpu",
    ]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / "infer.py"), run_name="__main__")
    assert not end.value.code and "red circle  score" in capsys.readouterr().out
