"""The benchmark's python: start | freeze | fork (see ../programs.ts)."""

import argparse
import asyncio
import datetime
import decimal
import email.message
import hashlib
import http.client
import json
import logging
import os
import pathlib
import re
import signal
import sqlite3
import sys
import time
import xml.dom.minidom


def work():
    record = {"name": "Jörg", "list": list(range(20)), "at": str(datetime.date(1970, 1, 2))}
    text = json.dumps(json.loads(json.dumps(record)), sort_keys=True)
    words = re.findall(r"\w+", text)
    total = sum(decimal.Decimal(n) / 7 for n in record["list"])
    title = xml.dom.minidom.parseString("<a><b>title</b></a>").getElementsByTagName("b")[0].firstChild.data
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{len(words)} {total} {title} {digest} {pathlib.PurePath('/usr/bin').name}"


def serve():
    while os.read(3, 1):
        start = time.monotonic_ns()
        pid = os.fork()
        if pid == 0:
            return
        _, status = os.waitpid(pid, 0)
        os.write(4, b"%d %d\n" % (time.monotonic_ns() - start, status))
    sys.exit(0)


mode = sys.argv[1]
if mode != "start":
    work()
if mode == "fork":
    serve()
if mode == "freeze":
    os.kill(os.getpid(), signal.SIGSTOP)
print(work())
