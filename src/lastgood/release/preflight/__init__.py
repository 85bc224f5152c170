"""Whether the version to go to would work: looked at before anything moves."""
