"""The compiled part, which is optional: without a C compiler the package installs and works without it."""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "rmqwire._speed",
            sorted(glob("rmqwire/_*.c")),
            depends=sorted(glob("rmqwire/_*.h")),
            extra_compile_args=["-O3", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
