"""The metrics of the replies process, which count whether or not they are served."""

from prometheus_client import Counter, Gauge

RECORDS = Counter(
    "rendezvous_reply_records_total",
    "Records of the reply topic by outcome: stored, duplicate, partial (a value before the last of "
    "a stream), expired, foreign, malformed, undecodable",
    ("outcome",),
)
UNUSABLE = Counter(
    "rendezvous_unusable_replies_total",
    "Replies that no HTTP response can be made of (reason unusable), and of these the ones that "
    "are too large (reason dropped); they are stored as errors",
    ("reason",),
)
LAG = Gauge(
    "rendezvous_reply_lag_seconds",
    "Age of the last record that was read of a partition of the reply topic; 0 at its end",
    ("partition",),
)
PARTITIONS = Gauge("rendezvous_reply_partitions", "Partitions of the reply topic that are read")
STORE_FAILS = Gauge("rendezvous_reply_store_fails", "1 while replies cannot be stored in Redis")
