-- Records that are old enough go by month, parents and children together, which costs nothing like deleting rows.
-- Yields how many interceptions went with them. Safe to call at any time and from several servers at once.
CREATE FUNCTION aibridge_drop_partitions(before timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    part    text;
    parent  text;
    month   text;
    dropped bigint := 0;
    rows    bigint;
    locked  boolean := false;
BEGIN
    -- Writers share this lock: they touch the tables in another order than readers do.
    PERFORM pg_advisory_xact_lock(14);
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'aibridge_interceptions'::regclass AND c.relname ~ '^aibridge_interceptions_[0-9]{6}$'
         ORDER BY c.relname
    LOOP
        month := right(part, 6);
        CONTINUE WHEN (to_date(month, 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' > before;
        IF NOT locked THEN
            -- All at once, in the order in which pages are read, so that nobody waits for each other.
            LOCK TABLE ONLY aibridge_interceptions, ONLY aibridge_token_usages, ONLY aibridge_user_prompts,
                       ONLY aibridge_tool_usages, ONLY aibridge_model_thoughts IN ACCESS EXCLUSIVE MODE;
            locked := true;
        END IF;
        EXECUTE format('SELECT count(*) FROM %I', part) INTO rows;
        dropped := dropped + rows;
        FOREACH parent IN ARRAY ARRAY['aibridge_interceptions', 'aibridge_token_usages', 'aibridge_user_prompts', 'aibridge_tool_usages', 'aibridge_model_thoughts'] LOOP
            EXECUTE format('DROP TABLE IF EXISTS %I', parent || '_' || month);
        END LOOP;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION aibridge_drop_partitions(timestamptz) IS 'Drops the months of records that ended before an instant.';
