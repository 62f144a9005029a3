#!/usr/bin/env python3
"""What drgn sees in a core: core.py CORE VMLINUX prints one JSON object.

Tasks, the stack of each CPU, the stack of a sleeping task, and the CPU that panicked, if one did.
"""

import json
import sys

import drgn
from drgn.helpers.linux.cpumask import for_each_present_cpu
from drgn.helpers.linux.pid import find_task, for_each_task
from drgn.helpers.linux.sched import cpu_curr, task_cpu, task_state_to_char


def frames(stack):
    """The functions of a stack, the innermost first."""
    return [frame.name or hex(frame.pc) for frame in stack]


def describe(task):
    return {"pid": task.pid.value_(), "comm": task.comm.string_().decode(errors="replace")}


def main(core, vmlinux):
    prog = drgn.Program()
    prog.set_core_dump(core)
    prog.load_debug_info([vmlinux])

    tasks = [{**describe(task), "cpu": task_cpu(task), "state": task_state_to_char(task)} for task in for_each_task(prog)]
    cpus = []
    # After a panic, only one is still online.
    for cpu in for_each_present_cpu(prog):
        task = cpu_curr(prog, cpu)
        cpus.append({"cpu": cpu, **describe(task), "stack": frames(prog.stack_trace(task))})
    sleeper = next(task for task in tasks if task["state"] in "SDI" and task["pid"] > 1)
    stack = frames(prog.stack_trace(find_task(prog, sleeper["pid"])))
    try:
        thread = prog.crashed_thread()
        crashed = {"tid": thread.tid, "stack": frames(thread.stack_trace())}
    except LookupError:
        crashed = None
    return {
        "release": prog["UTS_RELEASE"].string_().decode(),
        "tasks": tasks,
        "cpus": cpus,
        "sleeper": {**sleeper, "stack": stack},
        "crashed": crashed,
    }


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    json.dump(main(*sys.argv[1:]), sys.stdout)
    print()
