"""Run a command and write its seconds, processor time and memory to a file.

A small process of its own: on Linux the peak of a new process begins with that of the one which started it, and a
benchmark that has imported torch would hide everything below its own hundreds of MiB.
"""

import json
import os
import sys
import time


def main() -> None:
    report, *command = sys.argv[1:]
    began = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    numbers = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,  # kB on Linux
    }
    with open(report, "w") as file:  # noqa: PTH123  (pathlib is not worth its import here)
        json.dump(numbers, file)
    sys.exit(os.waitstatus_to_exitcode(status) and 1)


if __name__ == "__main__":
    main()
