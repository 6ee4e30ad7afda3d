"""One step of training, what it is given, and what it depends on."""
