"""The verification checklist: whether a channel serves what it should, and everything around it does."""
