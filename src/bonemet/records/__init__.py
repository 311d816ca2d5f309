"""The MiceMediRec table: one row per tibia and week."""
