#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads a KCIDB and a JUnit report with others' programs; prints what they saw as JSON."""

import json
import sys

from junitparser import JUnitXml
from kcidb_io.schema import V5_3

kcidb, junit = sys.argv[1:]
with open(kcidb, encoding="utf-8") as file:
    data = V5_3.validate(json.load(file))
xml = JUnitXml.fromfile(junit)
print(json.dumps({
    "kcidb": {name: len(items) for name, items in data.items() if name != "version"},
    "junit": {"suites": len(list(xml)), "tests": xml.tests, "failures": xml.failures, "errors": xml.errors, "skipped": xml.skipped},
}))
