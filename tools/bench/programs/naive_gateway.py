"""
A naive gateway as baseline: each request polls its own key, with sleeps.

It has pooled connections, a producer per worker and backoff, and no guarantees when anything fails.
"""

import os
import time
import uuid

from flask import Flask, Response, request
from kafka import KafkaProducer
from redis import BlockingConnectionPool, Redis

TIMEOUT_S = 10.0
FIRST_PAUSE_S, LAST_PAUSE_S, BACKOFF = 0.002, 0.050, 1.5
BROKERS = os.environ["KAFKA_URL"].removeprefix("kafka://")
REQUEST_TOPIC, REPLY_TOPIC = os.environ["NAIVE_REQUESTS"], os.environ["NAIVE_REPLIES"]

app = Flask(__name__)
redis = Redis(
    connection_pool=BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=100)
)
# Created in the worker, because gunicorn imports this module after the fork.
producer = KafkaProducer(bootstrap_servers=BROKERS)


@app.post("/echo")
def echo() -> Response:
    """Publish the body, then poll for its reply."""
    correlation_id = uuid.uuid4().hex
    deadline_s = time.monotonic() + TIMEOUT_S
    headers = [
        ("correlation-id", correlation_id.encode()),
        ("reply-topic", REPLY_TOPIC.encode()),
        ("deadline", b"%d" % ((time.time() + TIMEOUT_S) * 1000)),
    ]
    producer.send(REQUEST_TOPIC, request.get_data(), key=correlation_id.encode(), headers=headers)
    pause_s = FIRST_PAUSE_S
    while time.monotonic() < deadline_s:
        body = redis.get(f"naive:{correlation_id}")
        if body is not None:
            return Response(body, mimetype="text/plain")
        time.sleep(pause_s)
        pause_s = min(pause_s * BACKOFF, LAST_PAUSE_S)
    return Response("Gateway Timeout", 503)
