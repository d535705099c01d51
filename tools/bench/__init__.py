"""How fast it is, against the floor below it and the textbook beside it, all in one run."""
