"""A computation written down before it is run: graphs, sessions, graph files and drawings."""
