"""Other people's gateways in front of a provider: what they see of a model call → a verdict in its provider's words."""
