"""The remote side: zygote and worker. Standard library and cloudpickle only, Python 3.9 or newer."""
