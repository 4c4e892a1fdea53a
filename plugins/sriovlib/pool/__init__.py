"""The pool: who has what by xapi and the ledger, which VF a VM gets, and how that is written."""
