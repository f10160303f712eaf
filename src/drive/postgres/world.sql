CREATE SCHEMA deadheat;
CREATE SCHEMA deadheat_seed;

CREATE SEQUENCE deadheat.clock MINVALUE -9223372036854775807;
CREATE SEQUENCE deadheat.drawn_script;

CREATE FUNCTION deadheat.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT 'epoch'::timestamptz
        + pg_catalog.pg_sequence_last_value('deadheat.clock'::pg_catalog.regclass) * interval '1 microsecond'
$$;
CREATE FUNCTION deadheat.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(pg_catalog.current_setting('deadheat.now', true), '')::timestamptz, deadheat.clock_timestamp())
$$;
CREATE FUNCTION deadheat.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(pg_catalog.current_setting('deadheat.statement', true), '')::timestamptz, deadheat.clock_timestamp())
$$;
CREATE FUNCTION deadheat.transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()
$$;

CREATE FUNCTION deadheat."current_timestamp"() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()
$$;
CREATE FUNCTION deadheat."current_timestamp"(integer) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.timestamptz(deadheat.now(), $1)
$$;
CREATE FUNCTION deadheat."localtimestamp"() RETURNS timestamp LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()::timestamp
$$;
CREATE FUNCTION deadheat."localtimestamp"(integer) RETURNS timestamp LANGUAGE sql STABLE AS $$
    SELECT pg_catalog."timestamp"(deadheat.now()::timestamp, $1)
$$;
CREATE FUNCTION deadheat."current_date"() RETURNS date LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()::date
$$;
CREATE FUNCTION deadheat."current_time"() RETURNS timetz LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()::timetz
$$;
CREATE FUNCTION deadheat."current_time"(integer) RETURNS timetz LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.timetz(deadheat.now()::timetz, $1)
$$;
CREATE FUNCTION deadheat."localtime"() RETURNS time LANGUAGE sql STABLE AS $$
    SELECT deadheat.now()::time
$$;
CREATE FUNCTION deadheat."localtime"(integer) RETURNS time LANGUAGE sql STABLE AS $$
    SELECT pg_catalog."time"(deadheat.now()::time, $1)
$$;
CREATE FUNCTION deadheat.age(timestamptz) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.age(deadheat.now()::date::timestamptz, $1)
$$;
CREATE FUNCTION deadheat.age(timestamp) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.age(deadheat.now()::date::timestamp, $1)
$$;

CREATE FUNCTION deadheat.draw() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    owner text := coalesce(nullif(pg_catalog.current_setting('deadheat.process', true), ''), 'script');
    number bigint;
BEGIN
    -- A sequence may not go on there: then another value is as good, and is compared by where it comes up first.
    IF pg_catalog.current_setting('transaction_read_only') = 'on' THEN
        RETURN pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '');
    END IF;
    number := pg_catalog.nextval(('deadheat."drawn_' || owner || '"')::pg_catalog.regclass);
    IF owner = 'script' THEN
        owner := '253';
    END IF;
    RETURN pg_catalog.md5('deadheat ' || owner || ' ' || number);
END $$;
CREATE FUNCTION deadheat.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT overlay(overlay(deadheat.draw() PLACING '4' FROM 13 FOR 1) PLACING '8' FROM 17 FOR 1)::uuid
$$;
CREATE FUNCTION deadheat.uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT deadheat.gen_random_uuid()
$$;
CREATE FUNCTION deadheat.random() RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || pg_catalog.substr(deadheat.draw(), 1, 13))::bit(52)::bigint / 4503599627370496.0::double precision
$$;
