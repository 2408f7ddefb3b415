"""The canary: a synthetic message that takes the way of a customer's, so that silence is noticed.

Every minute the scheduler posts one to the webhook over HTTP; it is collected, answered by the demo
model and ends in a sink. It costs no token, reaches no customer, and has a shard of its own.
``canary.channel`` is its provider, ``canary.probe`` sends it and looks for its answer.
"""
