"""mmcv without compiled operators; every import test runs in a fresh process."""

import subprocess
import sys

import pytest
from support.paths import ROOT


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_importing_the_package_imports_no_framework():
    code = (
        "import sys, lira_plugin\n"
        "heavy = 'torch mmengine mmcv mmdet xtuner transformers peft numpy deepspeed'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_install_twice_adds_one_finder():
    code = (
        "import sys, lira_plugin\nfrom lira_plugin.compat import mmcv_ops\nmmcv_ops.install()\n"
        "print(sum(isinstance(finder, mmcv_ops._ExtensionFinder) for finder in sys.meta_path))"
    )
    assert run_python(code) == "1"


@pytest.mark.parametrize("compiled", [True, False])
def test_a_real_extension_wins(tmp_path, compiled):
    """With an mmcv of the test's own, so that it does not matter which one is installed."""
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    if compiled:
        (tmp_path / "mmcv" / "_ext.py").write_text("def nms():\n    return 'compiled'\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import lira_plugin\n"
        "from lira_plugin.compat.mmcv_ops import has_compiled_ops\n"
        "print(has_compiled_ops(), 'mmcv._ext' in sys.modules)\n"
        "from mmcv._ext import nms\n"
        "try:\n    print(nms())\nexcept RuntimeError:\n    print('stand-in')"
    )
    assert run_python(code).split() == [str(compiled), "False", "compiled" if compiled else "stand-in"]


@pytest.fixture(scope="module")
def stand_in():
    import lira_plugin  # noqa: F401
    from lira_plugin.compat.mmcv_ops import has_compiled_ops

    if has_compiled_ops():
        pytest.skip("the compiled mmcv is installed")


def test_deformable_attention_equals_autograd(stand_in):
    import torch
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    generator = torch.Generator().manual_seed(0)
    shapes = torch.tensor([[5, 7], [3, 4]])
    starts = torch.tensor([0, 35])
    batch, heads, channels, queries, points = 2, 3, 4, 6, 2
    value = torch.randn(batch, 47, heads, channels, generator=generator, dtype=torch.float64)
    # a little outside of the image too, where the value is 0
    places = torch.rand(batch, queries, heads, 2, points, 2, generator=generator, dtype=torch.float64) * 1.2 - 0.1
    weights = torch.rand(batch, queries, heads, 2, points, generator=generator, dtype=torch.float64)
    upstream = torch.randn(batch, queries, heads * channels, generator=generator, dtype=torch.float64)

    ours = [tensor.clone().requires_grad_() for tensor in (value, places, weights)]
    theirs = [tensor.clone().requires_grad_() for tensor in (value, places, weights)]
    output = MultiScaleDeformableAttnFunction.apply(ours[0], shapes, starts, ours[1], ours[2], 64)
    expected = multi_scale_deformable_attn_pytorch(theirs[0], shapes, theirs[1], theirs[2])
    torch.testing.assert_close(output, expected)

    output.backward(upstream)
    expected.backward(upstream)
    for got, want in zip(ours, theirs):
        assert want.grad.abs().sum() > 0
        torch.testing.assert_close(got.grad, want.grad)


def test_a_missing_operator_names_itself_and_the_way_out(stand_in):
    import torch
    from mmcv.ops import nms, roi_align

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 4.0, 4.0]])
    with pytest.raises(RuntimeError, match=r"'nms'.*extra 'ops'"):
        nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    with pytest.raises(RuntimeError, match=r"'roi_align_forward'.*extra 'ops'"):
        roi_align(torch.zeros(1, 1, 8, 8), torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]]), (2, 2), 1.0, 0, "avg", True)


def test_a_missing_attribute_of_the_module_protocol_is_an_attribute_error(stand_in):
    from mmcv import _ext

    with pytest.raises(AttributeError, match="__wrapped__"):
        _ = _ext.__wrapped__
