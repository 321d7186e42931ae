"""Beneath the loop: bridges between threads and Trio, the process's signals, its log.

==============  ==============================  ==============================================
bridge          from → to                       what it is for
==============  ==============================  ==============================================
`worker`        Trio → a thread, and back       blocking calls of one client, one at a time
`lane`          Trio → one ordered thread       many small jobs that must keep their order
`inbox`         any thread → Trio               what comes by callbacks, which must not block
`loop`          any thread → the Trio loop      the loop itself, in a thread of its own
==============  ==============================  ==============================================

They are the only modules with tokens, and with threads that meet Trio.
"""
