"""Lastgood: release control for Dify workflows."""

__version__ = "0.1.0"
