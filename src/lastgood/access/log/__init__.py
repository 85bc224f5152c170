"""The audit log as a tree that outsiders can check: RFC 6962 hashes in tiles, signed checkpoints, proofs, exports."""
