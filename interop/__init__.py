"""Official clients and servers driven against ours. Never packaged; needs a JDK, Maven and (for its cases) Go."""
