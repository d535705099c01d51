"""What every kind of test needs before its imports."""

import warnings

with warnings.catch_warnings():
    # kafka-python reads its schemas with a function that Python 3.11 deprecated and 3.13 took back.
    # Only while it is imported; a warning of anybody's later on is still an error.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka.admin
    import kafka.consumer
    import kafka.producer  # noqa: F401
