"""The schedule of faults and the injector that carries it out."""
