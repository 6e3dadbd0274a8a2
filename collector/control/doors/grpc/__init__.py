"""gRPC calls in, answers of the owner out: the control service and Envoy's external authorization."""
