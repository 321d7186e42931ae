"""Configuration by the *Flow* entities of the newest SDP.

====================  ==========================================================================
`entities`            what the database holds: flows, processing and execution blocks, states
`choosing`            which flows are those of a subarray's connector, and why the others are not
`ends`                what flows read from and write to
`mapping`             a flow and those that it reads from → an exchange
`reading`             views of the database → what is wanted of each group
`checking`            what is wrong with flows that nobody carries yet, in a file or a database
`states`              tells the database which flows are FLOWING, and which have FAILED
`monitor`             follows the database for a device
====================  ==========================================================================
"""
