"""What must learn of a move, told one by one. A kind of listener is a module here."""

from lastgood.release.listeners.alerts import alert
from lastgood.release.listeners.telling import flaw, for_move, tell, tell_all

__all__ = ["alert", "flaw", "for_move", "tell", "tell_all"]
