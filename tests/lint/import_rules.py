#!/usr/bin/env python3
"""Checks that imports run downward only: the rules of docs/architecture.md, read off the #include lines.

Usage: import_rules.py ROOT
"""
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
ROOMS = ("common", "controlplane", "sidecar", "cli")
CODE = (".cc", ".h")

# (room whose files are read, what they must not include, why)
RULES = [
    ("common", ("controlplane/", "sidecar/", "cli/"), "common depends on neither daemon"),
    ("controlplane", ("sidecar/", "cli/"), "the control plane and the sidecar never include each other"),
    ("sidecar", ("controlplane/", "cli/"), "the sidecar and the control plane never include each other"),
    ("cli", ("controlplane/", "sidecar/"), "the CLI talks to the daemons over the API only"),
    ("sidecar/wire", ("common/policy/", "common/sql/", "sidecar/session/", "sidecar/enforce/", "sidecar/mask/",
                      "sidecar/uplink/", "sidecar/spool/"), "wire knows nothing of policy"),
    ("common/sql", ("common/policy/", "common/token/", "common/net/", "common/audit/"),
     "sql knows nothing of policy or of the wire"),
    ("common/base", ("common/sql/", "common/policy/", "common/token/", "common/crypto/", "common/net/", "common/obs/",
                     "common/audit/"), "base stands at the bottom"),
    ("sidecar/mask", ("sidecar/session/", "sidecar/wire/", "sidecar/enforce/", "sidecar/uplink/"),
     "mask is below the session"),
    ("sidecar/spool", ("sidecar/session/", "sidecar/wire/", "sidecar/enforce/", "sidecar/uplink/"),
     "spool is below the session"),
]


def violations(root):
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(root, room)):
            for name in sorted(names):
                if not name.endswith(CODE):
                    continue
                path = os.path.relpath(os.path.join(folder, name), root)
                with open(os.path.join(root, path), encoding="utf-8") as source:
                    includes = INCLUDE.findall(source.read())
                for base, forbidden, why in RULES:
                    if not path.startswith(base + "/"):
                        continue
                    for included in includes:
                        if included.startswith(forbidden):
                            yield f"{path}: includes {included}: {why}"


def self_test():
    """The check itself must be able to fail."""
    import tempfile
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "sidecar/wire"))
        with open(os.path.join(root, "sidecar/wire/a.cc"), "w", encoding="utf-8") as source:
            source.write('#include "common/policy/policy.h"\n')
        assert len(list(violations(root))) == 1


def main():
    self_test()
    found = list(violations(sys.argv[1]))
    for line in found:
        print(line)
    print(f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
