"""The domain: collect a customer's burst into a batch, answer it once, or alert a person.

Read ``flow.py`` first. These are the words of the code; docs/glossary.md has them for users, with
the field's standard term for each:

account
    One business number on one channel.
alert
    An entry that the ledger writes in the step that decides it, until a person was notified.
amend
    Carry out what a customer edited or deleted, in the step before a model is asked.
ambiguous
    Handed to the provider, outcome unknown.
apology
    What an account says to a customer whose batch becomes a dead letter without an answer.
attempt
    The number of the try of a stage, from 1.
batch
    The messages that are answered together. Open: they still collect. In flight: being answered.
channel
    The adapter of a provider: parses its webhooks, sends through its API.
circuit
    Open while an account cannot send, or cannot ask its model; its batches wait.
collect
    Move a due batch from open to in flight, under a lease.
conversation
    One customer talking to one account. Its id is a keyed digest, safe to log.
cooldown
    A time in which an alert of one kind is not repeated.
counters
    How many messages of a shard were accepted, and what became of them; they must add up.
dead letter
    A batch that will not be tried again automatically; a person replays or discards it.
debounce window
    ``idle_ms`` after the last message; when it ends, the batch is due.
defer
    Let a batch wait without spending an attempt.
delivered
    The customer has the part; until then it may be reported as failed.
draft
    An answer of which nothing has left.
due
    To be collected: the debounce window or the longest wait is over, or the batch is full.
fallback
    A further model of an account, asked while the one before cannot answer.
flush
    Collect what is due, and handle expired leases.
lease
    The time by which the holder of a batch must act, or another takes over.
ledger
    The store in Redis that owns every message until it is answered.
limits
    The numbers that a batch obeys, stored with it when it is opened.
message
    What a customer wrote, recorded or pressed.
outage
    What the model or the channel lacks for a while; it spends no attempt.
hand-over
    A person is awaited in a conversation: a model or a rule said so, and they were alerted.
outcome
    What became of a step of a run, such as retry, defer or dead letter.
part
    A piece of the reply within the channel's length limit, sent in one call.
probe
    The one batch that may call while a circuit is open.
reply
    The answer to a batch, stored before its first part is sent.
run
    One attempt of one stage by one worker.
shard
    A part of the ledger, one hash tag; a conversation is in one shard.
stage
    What a batch in flight waits for: generate or send.
supersede
    Put a batch back in front of the open one: its customer wrote before any of the answer left.
suppressed
    Deliberately not answered, with a reason: takeover, reaction, deleted, hand-over, discarded,
    erased.
takeover
    A person answers the customer; we do not, for a while.
token
    The fencing token of a run: a step with another token changes nothing.
wake-up
    A message through the broker that says only "look at batch B, attempt N".
"""
