"""The addresses of the service, one module a subject.

Handlers are plain functions, which the framework runs in a worker thread: they read disks.
"""
