"""The errors that a server replies: what each means for what was sent, and what to do about it, for who reads it at
night."""

from __future__ import annotations

from ratelimit.ground.printable import LONGEST, in_a_line
from ratelimit.ground.words import kind_of
from ratelimit.model import StoreUnavailable


class Replied(StoreUnavailable):
    """The server replied an error: it did nothing. After anything else a command may have been applied."""


class NoScript(Replied):
    """The script cache lost the script: a restart, a failover or SCRIPT FLUSH."""


class Refused(Replied):
    """LOADING, BUSY: the server did nothing, and will do it in some seconds."""


class ClusterDown(Refused):
    """CLUSTERDOWN: the server did nothing, and may do it in a moment."""


class Unwritable(Replied):
    """OOM, MISCONF, NOREPLICAS: the server writes nothing until somebody has seen to it."""


class NotMaster(Refused):
    """READONLY, MASTERDOWN: what was the master is a replica now, and keeps its connections open."""


class Redirected(Replied):
    """What a node of a cluster says when it did nothing: another node has the slot, or this one a part of the keys."""


class Moved(Redirected):
    """MOVED: another node has the slot from now on."""


class AskRedirect(Redirected):
    """ASK: the keys are at another node already, while the slot is on its way there."""


class TryAgain(Redirected):
    """TRYAGAIN: the slot is on its way, and the keys of the call are not all at one of the two nodes."""


def of_all(error: object) -> bool:
    """Whether a server would reply this to whatever is to be written: it is no matter of a slot or a key."""
    return isinstance(error, Refused | Unwritable) and not isinstance(error, ClusterDown)


KINDS = {
    "NOSCRIPT": NoScript,
    "MOVED": Moved,
    "ASK": AskRedirect,
    "TRYAGAIN": TryAgain,
    "READONLY": NotMaster,
    "MASTERDOWN": NotMaster,
    "LOADING": Refused,
    "BUSY": Refused,
    "CLUSTERDOWN": ClusterDown,
    "OOM": Unwritable,
    "MISCONF": Unwritable,
    "NOREPLICAS": Unwritable,
}


def error_of(message: object) -> StoreUnavailable:
    """An error that the server replied, by its first word; of a text without end the beginning."""
    text = in_a_line(message[:LONGEST].decode(errors="replace") if isinstance(message, bytes) else message)
    return KINDS.get(text.partition(" ")[0], Replied)(advised(text))


A_CLUSTER = "a cluster's URL begins with redis+cluster:// or rediss+cluster://"
ADVICE = {
    "BUSY": "another script runs on and on; SCRIPT KILL ends one that has written nothing",
    "CLUSTERDOWN": "the cluster misses a master or its majority: see CLUSTER INFO and CLUSTER NODES; with"
    " cluster-require-full-coverage no the slots that have a master go on",
    "CROSSSLOT": f"the server is a node of a cluster, and its URL that of a single one: {A_CLUSTER}",
    "LOADING": "the server reads its data into memory and goes on by itself when it is done",
    "MASTERDOWN": "this server is a replica that has lost its master; the URL is to lead to the master",
    "MISCONF": "the server can't save to its disk and refuses writes: see its log, and free or repair the disk",
    "MOVED": f"another node of the cluster has this slot: {A_CLUSTER}",
    "NOAUTH": "the server wants a password: RATELIMIT_STORE_PASSWORD, or that of the store's URL",
    "NOPERM": "the user of the store's URL needs +@read +@write +@scripting +time on the keys with the store's prefix"
    " (ACL SETUSER), and none of these commands renamed; for a database other than 0 +select too, and on a cluster"
    " +cluster|slots +asking",
    "NOREPLICAS": "fewer replicas are in touch with the server than min-replicas-to-write wants",
    "OOM": "the server's memory is full under maxmemory-policy noeviction: raise maxmemory, or move what else is in it",
    "READONLY": "this server is a replica; the URL is to lead to the master, also after a failover",
    "WRONGPASS": "the user or the password is wrong, or the user is off: see the store's URL,"
    " RATELIMIT_STORE_USERNAME and RATELIMIT_STORE_PASSWORD",
    "WRONGTYPE": "something else writes keys with the store's prefix: give one of them another prefix",
}


BY_BEGINNING = {  # errors that have no word of their own, but ERR
    "ACL failure in script": ADVICE["NOPERM"],  # Valkey, and Redis from 7.2 on
    "The user executing the script can't": ADVICE["NOPERM"],
    "This instance has cluster support disabled": "it is a single server: its URL begins with redis:// or rediss://",
    "unknown command 'CLUSTER'": "it is no node of a cluster: a single server's URL begins with redis://, that of"
    " sentinels with redis+sentinel://",
    "unknown command 'EVAL'": "it runs no scripts: it is a sentinel, and then it is no node of a cluster: a URL with"
    " sentinels begins with redis+sentinel://; or EVAL was renamed",
    "unknown command 'SELECT'": "it is a sentinel: a URL with sentinels begins with redis+sentinel://",
    "unknown command 'SENTINEL'": f"it is no sentinel: a single server's URL begins with redis://, and {A_CLUSTER}",
    "SELECT is not allowed in cluster mode": f"it is a node of a cluster, which has one database: {A_CLUSTER}",
    "DB index is out of range": "the server has no database of this number, which ends the store's URL",
}
ARGUMENTS = ", with args beginning with"  # of a command that is unknown: names of callers


def advised(text: str) -> str:
    """What a server says, with what to do about it where that is known."""
    text = text.partition(ARGUMENTS)[0]
    said = text.removeprefix("ERR ")
    advice = ADVICE.get(text.partition(" ")[0])
    advice = advice or next((told for start, told in BY_BEGINNING.items() if said.startswith(start)), None)
    return f"{text} ({advice})" if advice else text


A_CLIENT = "a URL or redis.asyncio.Redis(…)"
INSTEAD = {  # of what redis-py has: what to give in its place
    "Redis": "redis.asyncio.Redis with the same arguments, as this one would halt the event loop",
    "RedisCluster": "the cluster's URL: redis+cluster://h1:7000,h2:7001",
    "Sentinel": "what master_for(name) of redis.asyncio.sentinel.Sentinel returns, or redis+sentinel://h1:26379/name",
    "ConnectionPool": "redis.asyncio.Redis(connection_pool=…) with a pool of redis.asyncio, or a URL",
}


def no_client(given: object) -> TypeError:
    """Of what is neither a URL nor a client of redis.asyncio: what it is, and what to give instead."""
    kind = given if isinstance(given, type) else type(given)
    known = (base.__name__ for base in kind.__mro__ if base.__module__.startswith("redis."))
    instead = next((INSTEAD[name] for name in known if name in INSTEAD), A_CLIENT)
    given_is = kind_of(given)
    return TypeError(f"a store on Redis is given a URL or a client of redis.asyncio, not {given_is}: give {instead}")
