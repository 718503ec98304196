"""What all recipes share: scope, hooks, environment, logging."""

from mmengine.config.config import import_modules_from_strings  # may be called here, see tiny_paths.py
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend

from lira_plugin.hooks import (
    CompleteCheckpointHook,
    DataProtocolHook,
    FiniteStepsHook,
    FitDataHook,
    GivenWeightsHook,
    MisspeltSettingsHook,
    ProgressBarHook,
    SeedEachIterHook,
    SpeltPhrasesHook,
    WorkDirLockHook,
)
from lira_plugin.visualization import GroundingVisualizer

default_scope = "lira_plugin"
custom_imports = dict(
    imports=[
        "lira_plugin.registry",
        "lira_plugin.compat.checked_settings",
        "lira_plugin.compat.gloo",
        "lira_plugin.compat.config_text",
        "lira_plugin.compat.plain_checkpoints",
        "lira_plugin.compat.xtuner_convert",
    ]
)
import_modules_from_strings(**custom_imports)  # MMEngine itself heeds them only in the configs of work dirs
del import_modules_from_strings

default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CompleteCheckpointHook, by_epoch=False, interval=500, max_keep_ckpts=2),
    sampler_seed=dict(type=DistSamplerSeedHook),
    finite_steps=dict(type=FiniteStepsHook),
)
custom_hooks = [
    dict(type=MisspeltSettingsHook),
    dict(type=GivenWeightsHook),
    dict(type=WorkDirLockHook),
    dict(type=FitDataHook),
    dict(type=DataProtocolHook),
    dict(type=SeedEachIterHook),
    dict(type=SpeltPhrasesHook),
    dict(type=ProgressBarHook),
]
log_processor = dict(type=LogProcessor, by_epoch=False, window_size=10)
visualizer = dict(type=GroundingVisualizer, vis_backends=[dict(type=LocalVisBackend)])
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
# By name, for MMEngine looks it up; device_ids=None are the processes' own devices, CPUs among them.
model_wrapper_cfg = dict(type="lira_plugin.DataParallel", device_ids=None, broadcast_buffers=False)
randomness = dict(seed=0, deterministic=False)
log_level = "INFO"
load_from = None
resume = False
