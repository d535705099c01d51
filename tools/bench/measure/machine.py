"""The machine and the versions that a figure was measured with."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from redis import Redis

from tools.devstack.kafka.jars import POM


def machine(redis: Redis, kafka: str = "") -> dict[str, str]:
    """Return hardware and versions; *redis* reports its own, *kafka* names another broker."""
    server: dict[str, Any] = redis.info("server")
    valkey = server.get("valkey_version")
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory_gb": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kafka": kafka or f"Apache Kafka {_kafka_version()}",
        "redis": f"Valkey {valkey}" if valkey else f"Redis {server['redis_version']}",
    }


def one_line(found: dict[str, str]) -> str:
    """Return the machine in one line."""
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB, {found['kernel']}, "
        f"Python {found['python']}, {found['kafka']}, {found['redis']}"
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _kafka_version() -> str:
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text(encoding="utf-8"))
    return found[1] if found else "of unknown version"
