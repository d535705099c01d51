"""Programs that are started to be measured, or to measure against."""
