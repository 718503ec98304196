from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.inferencer_fixtures import leave_no_trace, lira
from support.tiny_model import write_image

__all__ = ["leave_no_trace", "lira"]

if None in map(find_spec, ("fastapi", "uvicorn", "prometheus_client", "httpx")):
    collect_ignore_glob = ["test_*.py"]  # they need `uv sync --extra serve`
else:
    from support.serving import data_url, serving


@pytest.fixture(scope="module")
def served(lira):
    with serving(lambda: lira, batch_size=4) as (client, model):
        yield client, model


@pytest.fixture(scope="module")
def client(served):
    return served[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths, pixels and data URLs of some images."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [write_image(folder, name, *size) for name, size in {"a": (48, 64), "b": (40, 40), "c": (64, 30)}.items()]
    pixels = [np.array(Image.open(path)) for path in paths]
    return [Path(path) for path in paths], pixels, [data_url(one) for one in pixels]
