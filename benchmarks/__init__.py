"""Measurements of Lastgood on real input; each module runs with ``python -m benchmarks.NAME``."""
