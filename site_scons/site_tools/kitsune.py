"""The SCons tool `kitsune`, for `env.Tool("kitsune")`; all of it is in `kitsune_tool.scons`."""

from kitsune_tool.scons import exists, generate  # noqa: F401
