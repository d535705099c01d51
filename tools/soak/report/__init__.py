"""Tables, plots and progress of a run."""
