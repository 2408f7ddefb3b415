"""The domain: collect a customer's burst into a batch, answer it once, or tell a person.

Read ``flow.py`` first: it is the story. The words, used everywhere and only so:

conversation
    One customer talking to one account. Its id is a keyed digest, opaque and safe to log.
account
    One business number on one channel.
channel
    A provider's adapter: parses its webhooks, sends through its API.
inbound message
    What a customer wrote, recorded or pressed.
open batch
    The messages of a conversation that still collect.
idle
    The quiet period after the last message; when it ends, the batch is due.
max wait
    The longest a batch collects from its first message, however busy the customer is.
due, flush, collect
    A due batch is taken out of the open state by the flush and put in flight under a lease.
lease
    The time by which the present holder of a batch must act, or another takes over.
attempt, token
    The number of the try of a stage; the fencing token of the one run that may act on it.
reply, part
    The answer; it leaves in one or more parts, each within the channel's length limit.
dead letter
    A batch that will not be answered by itself; a person replays or discards it.
suppressed
    Deliberately not answered, with a reason: human takeover, reaction, discarded, erased.
ambiguous
    Handed to the provider, outcome unknown.
wake-up
    A message through the broker that says only "look at batch B, attempt N".
"""
