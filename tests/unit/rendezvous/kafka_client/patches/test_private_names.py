"""The private and undocumented names of kafka-python that the patches use."""

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords

PATCHES = Path(__file__).parents[5] / "rendezvous/kafka_client/patches"

#: Modules that the documentation of kafka-python does not mention: names that are imported.
MODULES = {
    "kafka.protocol.admin": {"DescribeGroupsRequest"},
    "kafka.structs": {"MemberState"},
    "kafka.net.compat": {"KafkaNetClient"},
    "kafka.net.sasl": {"register_sasl_mechanism"},
    "kafka.net.sasl.msk": {"SaslMechanismAwsMskIam"},
    "kafka.net.selector": {"NetworkSelector"},
    "kafka.record.default_records": {"DefaultRecord"},
    "kafka.record.util": {"decode_varint"},
    "kafka.producer.transaction_manager": {"TransactionState"},
    "kafka.protocol.schemas.fields.codecs.tagged_fields": {"TaggedFields", "UnsignedVarInt32"},
}
#: Objects in a producer and a consumer, and classes: names that are used of each.
ATTRIBUTES = {
    "kafka.codec": {"has_gzip", "has_snappy", "has_zstd", "lz4", "snappy", "zstd"},
    "kafka.net.selector.NetworkSelector": {"wait_write"},
    "kafka.record.default_records.DefaultRecordBatch": {
        "_buffer", "_decompressed", "_pos", "base_offset", "compression_type", "last_offset_delta",
        "records_count",
    },
    "kafka.protocol.schemas.fields.codecs.tagged_fields.TaggedFields": {"decode_empty"},
    "kafka.producer.transaction_manager.TransactionState": {"READY", "UNINITIALIZED"},
    "producer": {"_transaction_manager", "_accumulator", "_sender"},
    "producer._transaction_manager": {
        "_NEEDS_EPOCH_BUMP_ERRORS", "_current_state", "_lock", "has_fatal_error",
        "has_producer_id", "reset_producer_id", "set_producer_id_and_epoch",
    },
    "producer._accumulator": {"config", "ready"},
    "producer._sender": {"force_close"},
    "consumer": {
        "_cluster", "_coordinator", "_fetcher", "_manager", "_net", "_subscription",
    },
    "consumer._coordinator.heartbeat": {"session_timeout_expired"},
    "consumer._manager": {"send"},
    "consumer._subscription": {"assignment"},
    "consumer._cluster": {"topic_id"},
    "consumer._coordinator": {
        "coordinator_unknown", "ensure_coordinator_ready", "need_rejoin", "rejoining",
        "coordinator", "group_id", "heartbeat",
    },
    "consumer._fetcher": {
        "_completed_fetches", "_fetchable_partitions", "_net", "_next_partition_records",
        "_nodes_with_pending_fetch_requests", "_send_fetches_async", "PartitionRecords",
        "fetch_records", "fetched_records", "send_fetches",
    },
    "records": {"_next_inline_exception"},
    "consumer._net": {"_poll_once", "run", "stop"},
}  # fmt: skip


@pytest.fixture
def clients() -> Iterator[Mapping[str, Any]]:
    """A producer and a consumer without a broker; port 1 refuses."""
    options: dict[str, Any] = {"bootstrap_servers": "127.0.0.1:1", "api_version": (4, 0)}
    producer, consumer = KafkaProducer(**options), KafkaConsumer(**options, group_id="group")
    records = Fetcher.PartitionRecords(0, TopicPartition("t", 0), MemoryRecords(b""))
    yield {"producer": producer, "consumer": consumer, "records": records}
    consumer.close(autocommit=False, timeout_ms=0)
    producer.close(timeout=0)


def test_the_installed_version_has_every_name(clients: Mapping[str, Any]):
    missing = []
    for path, names in (MODULES | ATTRIBUTES).items():
        found = resolved(path, clients)
        missing += [f"{path}.{name}" for name in names if not hasattr(found, name)]

    if missing:
        pytest.fail(f"kafka-python {kafka.__version__} lacks: {', '.join(sorted(missing))}")


def test_every_name_is_listed():
    imported: dict[str, set[str]] = {}
    used = set()
    for file in PATCHES.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        used |= private_attributes(tree) - assigned_to_self(tree)
        for node in ast.walk(tree):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("kafka."):
                imported.setdefault(module, set()).update(alias.name for alias in node.names)

    assert imported == MODULES
    assert used == {name for names in ATTRIBUTES.values() for name in names if name.startswith("_")}


def resolved(path: str, clients: Mapping[str, Any]) -> Any:
    """Return the module, class or object at *path*; None when a part of it is missing."""
    first, *rest = path.split(".")
    if first in clients:
        found = clients[first]
    else:
        module = path if path in MODULES else path.rpartition(".")[0]
        try:
            found, rest = importlib.import_module(module), path[len(module) + 1 :].split(".")
        except ImportError:
            return None
    for name in filter(None, rest):
        found = getattr(found, name, None)
    return found


def private_attributes(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
    }


def assigned_to_self(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }
