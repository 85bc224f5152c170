"""Who and what a move affects: callers, workflows that use it as a tool, what its changed nodes touch, and the
services behind them with their risk."""

from lastgood.release.impact.assessment import assess, of_workflow
from lastgood.release.impact.impact import Impact, Module, Part
from lastgood.release.impact.risk import RISKS, Risk, risk_of

__all__ = ["RISKS", "Impact", "Module", "Part", "Risk", "assess", "of_workflow", "risk_of"]
