"""In Redis an application has its own keys and channels, every normal command on them, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.engine.applications import Account
from tests.engine.platform import Platform

PAIRS = [("librarian", "reporting"), ("reporting", "librarian")]

each_direction = pytest.mark.parametrize(("one", "other"), PAIRS, ids=["-at-".join(pair) for pair in PAIRS])

# What tells of other applications, changes the server or is another's to run, whatever the key.
FOR_NOBODY = (
    "SCAN 0",
    "KEYS *",
    "RANDOMKEY",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1mb",
    "CONFIG REWRITE",
    "CONFIG RESETSTAT",
    "ACL LIST",
    "ACL GETUSER admin",
    "ACL SETUSER librarian allkeys",
    "ACL SAVE",
    "SCRIPT LOAD return",
    "SCRIPT FLUSH",
    "EVAL return{redis.call('keys','*')} 0",
    "EVALSHA 0000000000000000000000000000000000000000 0",
    "FCALL f 0",
    "FUNCTION LIST",
    "FUNCTION FLUSH",
    "INFO",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 1",
    "CLIENT NO-EVICT on",
    "CLIENT TRACKING ON BCAST",
    "MONITOR",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "LASTSAVE",
    "SHUTDOWN NOSAVE",
    "REPLICAOF 127.0.0.1 1",
    "FAILOVER",
    "SYNC",
    "PSYNC ? -1",
    "ROLE",
    "CLUSTER INFO",
    "SLOWLOG GET",
    "LATENCY LATEST",
    "MEMORY STATS",
    "MEMORY PURGE",
    "MODULE LIST",
)
# Which the server takes from nobody, before it asks who it is.
SWITCHED_OFF = ("DEBUG SLEEP 0", "MODULE LOAD /tmp/module.so")
# Each with the other's key {theirs}, some with an own one {mine} beside it.
AT_ANOTHER_S_KEY = (
    "GET {theirs}",
    "MGET {mine} {theirs}",
    "SET {theirs} mine",
    "MSET {mine} 1 {theirs} 1",
    "SETNX {theirs} mine",
    "APPEND {theirs} mine",
    "INCR {theirs}",
    "GETDEL {theirs}",
    "GETRANGE {theirs} 0 -1",
    "STRLEN {theirs}",
    "DEL {theirs}",
    "UNLINK {theirs}",
    "EXISTS {theirs}",
    "TYPE {theirs}",
    "TTL {theirs}",
    "EXPIRE {theirs} 1",
    "PERSIST {theirs}",
    "TOUCH {theirs}",
    "WATCH {theirs}",
    "DUMP {theirs}",
    "RESTORE {theirs} 0 x",
    "OBJECT ENCODING {theirs}",
    "OBJECT IDLETIME {theirs}",
    "MEMORY USAGE {theirs}",
    "COPY {theirs} {mine}",
    "COPY {mine} {theirs}",
    "RENAME {theirs} {mine}",
    "RENAME {mine} {theirs}",
    "MIGRATE 127.0.0.1 6379 {mine} 1 1000",
    "SORT {list} BY {theirs}*",
    "SORT {list} BY nosort GET {theirs}",
    "SORT {list} STORE {theirs}",
    "SORT_RO {list} BY nosort GET {theirs}",
    "HSET {theirs} a 1",
    "HGETALL {theirs}",
    "LPUSH {theirs} 1",
    "LMOVE {list} {theirs} LEFT LEFT",
    "BLPOP {theirs} 1",
    "SUNIONSTORE {mine} {theirs}",
    "SINTERSTORE {theirs} {mine}",
    "ZUNIONSTORE {mine} 1 {theirs}",
    "ZADD {theirs} 1 a",
    "BITOP NOT {mine} {theirs}",
    "PFMERGE {mine} {theirs}",
    "GEOADD {theirs} 1 1 a",
    "GEOSEARCHSTORE {mine} {theirs} FROMLONLAT 1 1 BYRADIUS 1 m",
    "XADD {theirs} * a 1",
    "XREAD STREAMS {mine} {theirs} 0 0",
    "XINFO STREAM {theirs}",
    "PUBLISH {theirs} hello",
    "SPUBLISH {theirs} hello",
    "SUBSCRIBE {theirs}",
    "SSUBSCRIBE {theirs}",
    "PSUBSCRIBE {theirs}*",
)
CHANNELS_OF_ALL = (
    "PSUBSCRIBE *",
    "SUBSCRIBE __redis__:invalidate",
    "PSUBSCRIBE __keyspace@0__:*",
    "PUBLISH news x",
)
# Near to the own prefix, and not below it.
NO_PREFIX = ("{name}", "{name}s:key", "other:{name}:key", "key")


@pytest.fixture(scope="module")
def clients(running: Platform) -> Iterator[dict[str, "redis.Redis"]]:
    """Both applications that have Redis; the admin sees to their keys."""
    admin = running.redis()
    made = {name: Account(running, name).redis() for name, _ in PAIRS}
    for name in made:
        admin.delete(*admin.keys(f"{name}:*"), f"{name}:key")
        admin.set(f"{name}:key", f"private to {name}")
        admin.rpush(f"{name}:list", "1", "2")
    yield made
    for client in made.values():
        client.close()


def _refused(client: "redis.Redis", *words: str) -> None:
    """Raw: the library must neither help nor hinder."""
    try:
        answer: Any = client.execute_command(*words)
    except NoPermissionError:
        return
    except redis.RedisError as error:
        pytest.fail(f"{words}: {error!r} where a permission is missing")
    pytest.fail(f"{words} answered {answer!r}")


@pytest.mark.parametrize("name", [name for name, _ in PAIRS])
def test_commands_for_nobody(clients: dict[str, "redis.Redis"], name: str) -> None:
    for command in FOR_NOBODY:
        _refused(clients[name], *command.split(" "))
    for command in CHANNELS_OF_ALL:
        _refused(clients[name], *command.split(" "))
    for command in SWITCHED_OFF:
        with pytest.raises(redis.ResponseError, match="not allowed"):
            clients[name].execute_command(*command.split(" "))
    assert clients[name].ping()


@each_direction
def test_another_s_keys_and_channels(
    clients: dict[str, "redis.Redis"], running: Platform, one: str, other: str
) -> None:
    names = {"mine": f"{one}:key", "list": f"{one}:list", "theirs": f"{other}:key"}
    for command in AT_ANOTHER_S_KEY:
        _refused(clients[one], *command.format(**names).split(" "))
    for key in NO_PREFIX:
        for command in ("GET", "SET"):
            _refused(clients[one], command, key.format(name=one), *(["x"] if command == "SET" else []))
    assert running.redis().get(f"{other}:key") == f"private to {other}".encode()
    assert running.redis().get(f"{one}:key") == f"private to {one}".encode()


def test_nor_inside_a_transaction(clients: dict[str, "redis.Redis"], running: Platform) -> None:
    with clients["librarian"].pipeline(transaction=True) as together:
        together.set("librarian:key", "changed")
        together.set("reporting:key", "changed")
        with pytest.raises(redis.RedisError, match=r"(?i)permissions"):
            together.execute()
    assert running.redis().get("reporting:key") == b"private to reporting"
    running.redis().set("librarian:key", "private to librarian")


def test_a_password_is_good_for_its_own_user_only(running: Platform) -> None:
    password = running.application_secrets["librarian"]["redis"]
    for user in ("reporting", "admin", "operator", "default", "trading-app", "nobody"):
        with pytest.raises(AuthenticationError):
            Account(running, "librarian").redis(username=user, password=password)


def test_an_application_without_redis_has_no_user_there(running: Platform) -> None:
    assert "redis" not in running.config["applications"]["trading-app"]
    users = {line.split()[1] for line in running.redis().acl_list()}
    assert {"librarian", "reporting"} <= users
    assert "trading-app" not in users
    assert not [name for name in Account(running, "trading-app").environment() if name.startswith("REDIS")]


def test_normal_commands_on_own_keys(clients: dict[str, "redis.Redis"]) -> None:
    client = clients["librarian"]
    assert client.set("librarian:text", "a", ex=100, nx=True)
    assert client.getex("librarian:text", persist=True) == b"a"
    assert client.append("librarian:text", "bc") == 3
    assert client.incrby("librarian:count", 7) == 7
    assert client.mset({"librarian:a": "1", "librarian:b": "2"})
    assert client.mget("librarian:a", "librarian:b") == [b"1", b"2"]
    assert client.expire("librarian:a", 100)
    assert 0 < client.ttl("librarian:a") <= 100
    assert client.persist("librarian:a")
    assert client.rename("librarian:a", "librarian:c")
    assert client.copy("librarian:c", "librarian:a")
    assert client.exists("librarian:a", "librarian:c") == 2
    assert client.type("librarian:a") == b"string"
    assert client.object("encoding", "librarian:count") == b"int"
    assert client.dump("librarian:a")
    assert client.setbit("librarian:bits", 7, 1) == 0
    assert client.bitcount("librarian:bits") == 1
    assert client.hset("librarian:hash", mapping={"a": "1", "b": "2"}) == 2
    assert client.hincrby("librarian:hash", "a", 4) == 5
    assert client.hgetall("librarian:hash") == {b"a": b"5", b"b": b"2"}
    assert list(client.hscan_iter("librarian:hash")) != []
    assert client.rpush("librarian:queue", "x", "y", "z") == 3
    assert client.lrange("librarian:queue", 0, -1) == [b"x", b"y", b"z"]
    assert client.blpop(["librarian:queue"], timeout=1) in [
        (b"librarian:queue", b"x"),
        [b"librarian:queue", b"x"],
    ]
    assert client.lmove("librarian:queue", "librarian:done", "LEFT", "RIGHT") == b"y"
    assert client.sadd("librarian:set", "a", "b", "c") == 3
    assert client.sinter(["librarian:set"]) == {b"a", b"b", b"c"}
    assert list(client.sscan_iter("librarian:set")) != []
    assert client.zadd("librarian:ranks", {"a": 1, "b": 2}) == 2
    assert client.zrange("librarian:ranks", 0, -1) == [b"a", b"b"]
    assert list(client.zscan_iter("librarian:ranks")) != []
    assert client.pfadd("librarian:visitors", "a", "b") == 1
    assert client.geoadd("librarian:places", (13.4, 52.5, "here")) == 1
    assert client.time()[0] > 0
    assert client.echo("here") == b"here"
    assert client.delete("librarian:text", "librarian:a", "librarian:b", "librarian:c") == 4
    assert client.unlink("librarian:count", "librarian:bits", "librarian:queue", "librarian:done") == 4


def test_streams_with_a_group_of_consumers(clients: dict[str, "redis.Redis"]) -> None:
    client = clients["librarian"]
    first = client.xadd("librarian:stream", {"n": "1"}, maxlen=100)
    assert client.xgroup_create("librarian:stream", "workers", id="0")
    assert client.xreadgroup("workers", "one", {"librarian:stream": ">"}, count=10)
    assert client.xpending("librarian:stream", "workers")["pending"] == 1
    assert client.xautoclaim("librarian:stream", "workers", "two", min_idle_time=0)
    assert client.xack("librarian:stream", "workers", first) == 1
    assert client.xinfo_stream("librarian:stream")["length"] == 1
    assert client.xtrim("librarian:stream", maxlen=0) == 1


def test_transactions_that_watch(clients: dict[str, "redis.Redis"], running: Platform) -> None:
    with clients["librarian"].pipeline() as together:
        together.watch("librarian:watched")
        together.multi()
        together.incr("librarian:watched")
        together.incr("librarian:watched")
        assert together.execute() == [1, 2]
        together.watch("librarian:watched")
        running.redis().set("librarian:watched", "changed")
        together.multi()
        together.get("librarian:watched")
        with pytest.raises(redis.WatchError):
            together.execute()


def test_own_channels(running: Platform) -> None:
    publisher, reader = (
        Account(running, "librarian").redis(single_connection_client=False) for _ in range(2)
    )
    with reader.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("librarian:news")
        subscription.psubscribe("librarian:*")
        subscription.get_message(timeout=5)
        subscription.get_message(timeout=5)
        assert publisher.publish("librarian:news", "hello") == 2
        # Both subscriptions hear it.
        heard = [subscription.get_message(timeout=5) for _ in range(2)]
        assert [message and message["data"] for message in heard] == [b"hello", b"hello"]


def test_what_a_client_library_says_of_itself(running: Platform) -> None:
    for protocol in (2, 3):
        with Account(running, "librarian").redis(
            protocol=protocol, client_name="reader-1", single_connection_client=True
        ) as client:
            assert client.ping()
            assert client.client_setname("reader-2")
            assert client.client_getname() in ("reader-2", b"reader-2")
            assert client.client_id() > 0
            assert client.execute_command("HELLO", str(protocol))
            assert client.execute_command("RESET") in (b"RESET", "RESET", True)
