"""What Prometheus reads of the server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lira_plugin.serving.job import Job
from lira_plugin.serving.model_thread import ModelThread, State

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)


class ServerMetrics:
    """Counts requests and tokens, and looks at the model's thread when it is asked.

    Args:
        model: the thread.
    """

    def __init__(self, model: ModelThread) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("lira_requests", "Requests by route and status", ["route", "status"], registry=registry)
        self.seconds = Histogram("lira_request_seconds", "Of a request", ["route"], buckets=_SECONDS, registry=registry)
        self.first = Histogram(
            "lira_time_to_first_token_seconds", "From the queue to the first token", buckets=_SECONDS, registry=registry
        )
        self.tokens = Counter("lira_tokens", "Read and written", ["kind"], registry=registry)
        gauges = {
            "lira_waiting": ("Questions in the queue", lambda: len(model.queue)),
            "lira_running": ("Answers that are being written", lambda: model.num_running),
            "lira_up": ("Whether the model answers", lambda: float(model.health.state is State.READY)),
            "lira_restarts": ("Batches that failed and were begun anew", lambda: model.restarts),
            "lira_image_cache_bytes": (
                "Of encoded images",
                lambda: model.encoder.cache.num_bytes if model.encoder else 0,
            ),
            "lira_image_cache_hits": (
                "Images that were encoded already",
                lambda: model.encoder.cache.hits if model.encoder else 0,
            ),
            "lira_image_cache_misses": (
                "Images that were encoded",
                lambda: model.encoder.cache.misses if model.encoder else 0,
            ),
        }
        for name, (text, read) in gauges.items():
            Gauge(name, text, registry=registry).set_function(read)

    def answered(self, job: Job, num_tokens: int) -> None:
        """An answer is done."""
        self.tokens.labels("prompt").inc(len(job.sample.input_ids))
        self.tokens.labels("completion").inc(num_tokens)
        if job.first_news is not None:
            self.first.observe(job.first_news - job.created)

    def ended(self, route: str, status: int, seconds: float) -> None:
        """A request is over."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)
