"""What a server means by its errors, for who reads them at night: what is wrong and what to do."""

from __future__ import annotations

ADVICE = {
    "BUSY": "another script runs on and on; SCRIPT KILL ends one that has written nothing",
    "CLUSTERDOWN": "the cluster misses a master or its majority: see CLUSTER INFO and CLUSTER NODES; with"
    " cluster-require-full-coverage no the slots that have a master go on",
    "LOADING": "the server reads its data into memory and goes on by itself when it is done",
    "MASTERDOWN": "this server is a replica that has lost its master; the URL is to lead to the master",
    "MISCONF": "the server can't save to its disk and refuses writes: see its log, and free or repair the disk",
    "NOAUTH": "the server wants a password: RATELIMIT_STORE_PASSWORD, or that of the store's URL",
    "NOPERM": "the user of the store's URL may not do this: it needs EVAL, EVALSHA, TIME, and the commands on hashes,"
    " sorted sets and expiries for the keys with the store's prefix",
    "NOREPLICAS": "fewer replicas are in touch with the server than min-replicas-to-write wants",
    "OOM": "the server's memory is full under maxmemory-policy noeviction: raise maxmemory, or move what else is in it",
    "READONLY": "this server is a replica; the URL is to lead to the master, also after a failover",
    "WRONGPASS": "the user or the password is wrong, or the user is off: see the store's URL,"
    " RATELIMIT_STORE_USERNAME and RATELIMIT_STORE_PASSWORD",
    "WRONGTYPE": "something else writes keys with the store's prefix: give one of them another prefix",
}


IN_A_SCRIPT = {  # what the word of an error becomes when a script's command gets it
    "ERR ACL failure in script": "NOPERM",  # Valkey, and Redis from 7.2 on
    "ERR The user executing the script can't": "NOPERM",
}


def advised(text: str) -> str:
    """What a server says, with what to do about it where that is known."""
    word = next((word for start, word in IN_A_SCRIPT.items() if text.startswith(start)), text.partition(" ")[0])
    return f"{text} ({ADVICE[word]})" if word in ADVICE else text
