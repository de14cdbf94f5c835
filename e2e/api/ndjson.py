"""How schemathesis sends lines of JSON, a type that it does not know: as the text that they are."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_, value):
    return value if isinstance(value, bytes) else str(value).encode()
