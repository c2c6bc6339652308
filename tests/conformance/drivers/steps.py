"""What the Python programs share: the loop over the steps, and the SQL of the matrix."""
import json
import sys
import traceback

STEPS = ("tls", "prepared", "batch", "copy", "cancel", "cursor", "error", "masked", "held", "denied")
LONG = "select count(*) from generate_series(1, 100000000000)"
MASKED = "select email from app.customers where id = 7"
DENIED = "grant all on app.orders to public"


def masked(value):
    assert value.startswith("***@"), f"not masked: {value}"


def run(steps):
    """`steps`: name → function; a missing one is an error. Prints the result and ends the program."""
    result = {}
    for name in STEPS:
        try:
            answer = steps[name]()
            result[name] = answer if isinstance(answer, str) else "ok"
        except Exception as error:  # whatever the driver raises is what the table shows
            traceback.print_exc(file=sys.stderr)
            result[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))
