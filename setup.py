"""The compiled part, which is optional: without a C compiler the package installs and works without it."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "rmqwire._speed",
            [
                "rmqwire/_speed.c",
                "rmqwire/_heads.c",
                "rmqwire/_properties.c",
                "rmqwire/_reading.c",
                "rmqwire/_halves.c",
                "rmqwire/_sends.c",
                "rmqwire/_syncs.c",
            ],
            depends=["rmqwire/_speed.h", "rmqwire/_requests.h"],
            extra_compile_args=["-O3", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
