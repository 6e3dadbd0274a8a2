"""Words of an operator → requests to the collector that runs on a data directory."""
