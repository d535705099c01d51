"""The parts of the gateway that timed_gateway.py times."""

from flask import Flask
from kafka.producer.sender import Sender

from gateway.exchange.requester import Requester
from gateway.exchange.waiting.poller import Poller
from gateway.exchange.waiting.waiter import Waiter
from gateway.server.access_log import TextAccessLogger
from gateway.server.http.channel import Channel
from gateway.server.http.parser import RequestParser
from gateway.server.http.task import ApplicationTask
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.redis_store.replies import ReplyStore

#: Name, class and method of each part; how they nest is in experiments/cpu_profile.py.
PARTS: tuple[tuple[str, type, str], ...] = (
    ("read", Channel, "handle_read"),
    ("parse", RequestParser, "received"),
    ("request", ApplicationTask, "service"),
    ("application", Flask, "wsgi_app"),
    ("id", Requester, "issue_id"),
    ("exchange", Requester, "exchange"),
    ("send", RequestProducer, "send"),
    ("wait", Waiter, "wait"),
    ("write", Channel, "write_soon"),
    ("access log", TextAccessLogger, "access"),
    ("sender", Sender, "run_once"),
    ("poller", Poller, "_poll"),
    ("query", ReplyStore, "fetch_available"),
)
