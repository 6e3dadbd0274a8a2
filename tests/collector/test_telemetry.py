"""Our own metrics: the Collector's names, bounded series."""

from collector.telemetry import Telemetry


def test_doors_count_in_the_collectors_names() -> None:
    telemetry = Telemetry()
    telemetry.door("grpc").answered("traces", 5, 2)
    telemetry.door("http").refused("logs", "401")
    text = telemetry.exposition().decode()
    assert 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="grpc"} 5.0' in text
    assert 'otelcol_receiver_refused_spans_total{receiver="otlp",transport="grpc"} 2.0' in text
    refused = (
        'spanward_receiver_refused_requests_total{receiver="otlp",signal="logs",status="401",transport="http"} 1.0'
    )
    assert refused in text
    assert "_created" not in text


def test_readings_are_taken_when_asked_for() -> None:
    telemetry, level = Telemetry(), [1.0]
    telemetry.watch({"spanward_level": ("How full.", lambda: level[0])})
    level[0] = 7.0
    assert "spanward_level 7.0" in telemetry.exposition().decode()
