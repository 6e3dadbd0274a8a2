"""OTLP bytes in, acknowledged after a durable write. The only room that speaks gRPC."""
