"""Where checkpoints go so that whoever keeps the log cannot rewrite it: a module for each kind of place."""

from lastgood.access.log.destinations.delivery import Delivery, Destination, named

__all__ = ["Delivery", "Destination", "named"]
