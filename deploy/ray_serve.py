"""lira serve as a Ray Serve application: replicas on a cluster, more of them while questions wait.

    LIRA_MODEL=work_dirs/tiny/lira serve run deploy.ray_serve:app

Variables: LIRA_MODEL, LIRA_WEIGHTS, LIRA_SERVE_TOKEN, LIRA_ALLOW_HOST (names that clients type, with commas between), and for a
replica LIRA_GPUS and LIRA_CPUS; LIRA_REPLICAS is how many there may be. A replica has one model and a batch of its own.
"""

import os
from functools import partial

from fastapi import FastAPI
from ray import serve

from lira_plugin.inference import LIRAInferencer
from lira_plugin.serving.model_thread import ModelThread
from lira_plugin.serving.service import ServerSettings, make_app

HOSTS = [name for name in os.environ.get("LIRA_ALLOW_HOST", "").split(",") if name]


def replica_app() -> FastAPI:
    """The application of a replica, with its own model."""
    load = partial(LIRAInferencer, os.environ.get("LIRA_MODEL"), os.environ.get("LIRA_WEIGHTS"), show_progress=False)
    tokens = [token for token in [os.environ.get("LIRA_SERVE_TOKEN", "")] if token]
    return make_app(ModelThread(load), ServerSettings(allow_hosts=HOSTS, tokens=tokens))


@serve.deployment(
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": int(os.environ.get("LIRA_REPLICAS", "4")),
        "target_ongoing_requests": 16,
    },
    max_ongoing_requests=128,
    ray_actor_options={
        "num_gpus": float(os.environ.get("LIRA_GPUS", "0")),
        "num_cpus": float(os.environ.get("LIRA_CPUS", "2")),
    },
    graceful_shutdown_timeout_s=40,
)
@serve.ingress(replica_app)
class LIRAServer:
    """One replica."""


app = LIRAServer.bind()
