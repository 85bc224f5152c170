"""The canvas of a workflow as an SVG picture, alone or two versions in one."""

from lastgood.dsl.drawing.picture import draw, draw_comparison

__all__ = ["draw", "draw_comparison"]
