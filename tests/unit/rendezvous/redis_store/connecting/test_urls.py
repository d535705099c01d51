"""REDIS_URL of several servers."""

from rendezvous.redis_store.connecting.urls import cluster_nodes, sentinel_options


def test_a_cluster_has_one_url_and_further_addresses():
    url, others = cluster_nodes("rediss+cluster://u:p%40@h:1,h2,[::1]:3/0?ssl_ca_certs=/etc/ca")

    assert url == "redis://u:p%40@h:1/?ssl_ca_certs=/etc/ca"
    assert others == [("h2", 6379), ("::1", 3)]


def test_a_sentinel_has_a_password_of_its_own_and_the_tls_of_the_primary():
    service, primary, sentinels = sentinel_options(
        "rediss+sentinel://u:p%40@h:1,h2/main/3?sentinel_password=s%20&ssl_ca_certs=/etc/ca"
    )

    tls = {"ssl_ca_certs": "/etc/ca"}
    own = {"username": None, "password": "s "} | tls
    assert service == "main"
    assert primary == {"username": "u", "password": "p@", "db": 3} | tls
    assert sentinels == [{"host": "h", "port": 1} | own, {"host": "h2", "port": 26379} | own]


def test_the_database_is_optional():
    assert sentinel_options("redis+sentinel://h/main")[1] == {}
