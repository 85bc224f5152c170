"""A small Dify for tests: `FakeDify` plays the console, the Service API and /openapi/v1 of 1.13.0 or 1.14.2."""

from dify_server.server import Answer, FakeDify, Request

__all__ = ["Answer", "FakeDify", "Request"]
