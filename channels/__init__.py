"""Adapters to the providers that carry messages: each parses webhooks and sends through an API.

An adapter is pure: it turns a decoded body into events and a part into one HTTP call. It knows no
web framework, no settings and (the simulator apart) no Redis. To add one, write a package with a
``parse`` and a class that is a ``batching.ports.Channel``; CONTRIBUTING.md says where to name it.
"""
