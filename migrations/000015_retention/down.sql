DROP FUNCTION aibridge_drop_partitions(timestamptz);
