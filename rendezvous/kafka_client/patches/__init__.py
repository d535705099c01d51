"""
The only code that uses private names of kafka-python, pinned below 3.1.

tests/unit/rendezvous/kafka_client/patches/test_private_names.py lists these names and fails with
those that the installed version lacks.
"""
