"""What a process is made of: settings, accounts, clients, logs, the fleet; built once, passed down.

``build.build`` is the one place where these meet. Only ``settings`` reads the environment.
"""
