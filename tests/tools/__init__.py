"""Package names in, real peers out: what the integration tests and the benchmarks talk to."""
