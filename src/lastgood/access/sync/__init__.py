"""Permissions kept in step with the systems where people's roles really live: events in, changes out, comparison."""
