"""
The only code that uses private or undocumented names of kafka-python, which is pinned below 3.1.

tests/unit/rendezvous/kafka_client/patches/test_private_names.py lists these names and fails with
those that the installed version lacks.
"""
