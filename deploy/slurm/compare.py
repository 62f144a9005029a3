#!/usr/bin/env python3
"""Compares two reports of one plan (`mmtorture report --format json`): the same but for times and counters."""

import json
import sys


def essence(path):
    """What two executions of a plan have in common: which trials came to what, on which kernel, and which bugs broke which."""
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    return {
        "verdict": report["verdict"],
        "headline": report["headline"],
        "outcomes": report["outcomes"],
        "not run": report["not_run"],
        "trials": sorted(
            [t["cell"], t["seed"], t["variant"], t["kernel"], t["outcome"], t["finding"]] for t in report["trials"]
        ),
        "bugs": sorted(
            [b["finding"]["title"], b["finding"]["signature"], sorted([t["cell"], t["seed"]] for t in b["trials"])]
            for b in report["bugs"]
        ),
        "matrix": report["matrix"],
        "cells": report["cells"],
    }


def main():
    one, other = (essence(path) for path in sys.argv[1:3])
    differ = [key for key in one if one[key] != other[key]]
    for key in differ:
        print(f"{key} differs:\n  {json.dumps(one[key])}\n  {json.dumps(other[key])}")
    if not differ:
        print(f"same: {len(one['trials'])} trials, {len(one['bugs'])} bugs, {one['headline']}")
    return 1 if differ else 0


sys.exit(main())
