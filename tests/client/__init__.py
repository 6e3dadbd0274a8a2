"""The client, against a real HTTP server."""
