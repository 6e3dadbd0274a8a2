"""What the collector counts about itself → Prometheus text.

Names are the OpenTelemetry Collector's where it has the same thing, `spanward_*` otherwise, so that
existing dashboards and alerts work. Labels come from our own code only: nothing a sender chooses can
add a series.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

_ITEMS = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}

Gauges = dict[str, tuple[str, Callable[[], float]]]


class Telemetry:
    """One process's metrics. Safe from any thread."""

    def __init__(self) -> None:
        # The time a counter was made doubles every series and no dashboard of the Collector's knows it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="otelcol", registry=self._registry)
        labels = ("receiver", "transport")
        self._accepted = {
            signal: Counter(
                f"otelcol_receiver_accepted_{items}", f"{items} acknowledged.", labels, registry=self._registry
            )
            for signal, items in _ITEMS.items()
        }
        self._rejected = {
            signal: Counter(f"otelcol_receiver_refused_{items}", f"{items} refused.", labels, registry=self._registry)
            for signal, items in _ITEMS.items()
        }
        self._requests = Counter(
            "spanward_receiver_refused_requests",
            "Export requests answered with an error, by status.",
            ("receiver", "transport", "signal", "status"),
            registry=self._registry,
        )

    def door(self, transport: str) -> "Door":
        """The counters of one OTLP door."""
        return Door(self._accepted, self._rejected, self._requests, transport)

    def watch(self, gauges: Gauges) -> None:
        """Publish values read when they are asked for: name → (description, reading)."""
        self._registry.register(_Readings(gauges))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class Door:
    """Counts what one door took in and refused."""

    def __init__(
        self, accepted: dict[str, Counter], rejected: dict[str, Counter], requests: Counter, transport: str
    ) -> None:
        self._accepted = {signal: counter.labels("otlp", transport) for signal, counter in accepted.items()}
        self._rejected = {signal: counter.labels("otlp", transport) for signal, counter in rejected.items()}
        self._requests = requests
        self._transport = transport

    def answered(self, signal: str, accepted: int, rejected: int) -> None:
        """A request was acknowledged, some of its rows perhaps refused."""
        self._accepted[signal].inc(accepted)
        self._rejected[signal].inc(rejected)

    def refused(self, signal: str, status: str) -> None:
        """A whole request was answered with an error."""
        self._requests.labels("otlp", self._transport, signal, status).inc()


class _Readings(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, (description, reading) in self._gauges.items():
            yield GaugeMetricFamily(name, description, value=reading())
