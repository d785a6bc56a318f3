"""What a server means by its errors, for who reads them at night: what is wrong and what to do."""

from __future__ import annotations

ADVICE = {
    "BUSY": "another script runs on and on; SCRIPT KILL ends one that has written nothing",
    "CLUSTERDOWN": "the cluster misses a master or its majority: see CLUSTER INFO and CLUSTER NODES; with"
    " cluster-require-full-coverage no the slots that have a master go on",
    "LOADING": "the server reads its data into memory and goes on by itself when it is done",
    "MASTERDOWN": "this server is a replica that has lost its master; the URL is to lead to the master",
    "MISCONF": "the server can't save to its disk and refuses writes: see its log, and free or repair the disk",
    "NOAUTH": "the server wants a password: put it into the URL of the store",
    "NOPERM": "the user of the store's URL may not do this: it needs EVAL, EVALSHA, TIME, and the commands on hashes,"
    " sorted sets and expiries for the keys with the store's prefix",
    "NOREPLICAS": "fewer replicas are in touch with the server than min-replicas-to-write wants",
    "OOM": "the server's memory is full under maxmemory-policy noeviction: raise maxmemory, or move what else is in it",
    "READONLY": "this server is a replica; the URL is to lead to the master, also after a failover",
    "WRONGPASS": "the user or the password of the store's URL is missing or wrong, or the user is off",
    "WRONGTYPE": "something else writes keys with the store's prefix: give one of them another prefix",
}


def advised(text: str) -> str:
    """What a server says, with what to do about it where that is known."""
    advice = ADVICE.get(text.partition(" ")[0])
    return f"{text} ({advice})" if advice else text
