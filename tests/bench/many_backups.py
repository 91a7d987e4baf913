#!/usr/bin/env python3
"""Copies one backup in the directory of an S3 server under many ids, an hour apart: `many_backups.py TARGET_DIR ID COUNT`.

The manifests get the ids and new seals, and the entity tags that the server (versitygw) keeps for what it has written.
"""

import datetime
import hashlib
import os
import sys

home, original, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
SEAL = 83

objects = {}
for name in os.listdir(f"{home}/{original}"):
    path = f"{home}/{original}/{name}"
    if os.path.isfile(path):
        with open(path, "rb") as file:
            objects[name] = file.read()

begin = datetime.datetime(2020, 1, 1)
for hour in range(count):
    stamp = (begin + datetime.timedelta(hours=hour)).strftime("%Y%m%dT%H%M%SZ")
    copy = stamp + original[original.index("-") :]
    os.mkdir(f"{home}/{copy}")
    for name, body in objects.items():
        if name == "manifest.json":
            body = body[:-SEAL].replace(original.encode(), copy.encode())
            seal = hashlib.sha256(body).hexdigest().encode()
            body += b',\n  "sha256": "' + seal + b'"\n}\n'
        path = f"{home}/{copy}/{name}"
        with open(path, "wb") as file:
            file.write(body)
        os.setxattr(path, "user.etag", hashlib.md5(body).hexdigest().encode())
