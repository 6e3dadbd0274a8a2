"""The write path and the control plane: OTLP in, priced and attributed entries out, answers to agents."""
