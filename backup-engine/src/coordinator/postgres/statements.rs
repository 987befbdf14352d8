//! The statements; each is a transaction of its own, and may be repeated when its answer is lost.

/// Creates what is not there. Two workers that begin at once take turns.
pub(super) const SCHEMA: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(365036503650);
    CREATE SCHEMA IF NOT EXISTS m365_backup;
    CREATE TABLE IF NOT EXISTS m365_backup.worker (
        id text PRIMARY KEY, budget text NOT NULL,
        entered timestamptz NOT NULL, until timestamptz NOT NULL
    );
    CREATE TABLE IF NOT EXISTS m365_backup.run (
        id text PRIMARY KEY, store text NOT NULL, name text NOT NULL,
        sync_check boolean NOT NULL, listed boolean NOT NULL DEFAULT false,
        closed boolean NOT NULL DEFAULT false
    );
    CREATE UNIQUE INDEX IF NOT EXISTS run_open
        ON m365_backup.run (store, name) WHERE NOT closed;
    CREATE TABLE IF NOT EXISTS m365_backup.work (
        number bigserial, run text NOT NULL, resource text NOT NULL, sealed bytea NOT NULL,
        ended integer NOT NULL DEFAULT 0, cause text, PRIMARY KEY (run, resource)
    );
    CREATE INDEX IF NOT EXISTS work_open ON m365_backup.work (run, number) WHERE ended = 0;
    CREATE TABLE IF NOT EXISTS m365_backup.claim (
        store text NOT NULL, resource text NOT NULL, token bigint NOT NULL, worker text NOT NULL,
        until timestamptz, touched timestamptz NOT NULL, PRIMARY KEY (store, resource)
    );
    COMMIT;";

/// The table that is created last.
pub(super) const TABLES_THERE: &str =
    "SELECT to_regclass('m365_backup.claim') IS NOT NULL AS there";

pub(super) const ENTER: &str = "
    INSERT INTO m365_backup.worker (id, budget, entered, until)
    VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3::float8 * interval '1 second')
    ON CONFLICT (id) DO UPDATE
    SET budget = excluded.budget, entered = excluded.entered, until = excluded.until";

pub(super) const LEAVE: &str = "
    WITH released AS (
        UPDATE m365_backup.claim SET until = NULL, touched = clock_timestamp()
        WHERE worker = $1 AND until IS NOT NULL
    )
    DELETE FROM m365_backup.worker WHERE id = $1";

pub(super) const FIND_RUN: &str = "
    SELECT id, sync_check, listed FROM m365_backup.run
    WHERE store = $1 AND name = $2 AND NOT closed";

pub(super) const FORGET_RUNS: &str = "
    WITH old AS (
        DELETE FROM m365_backup.run WHERE store = $1 AND name = $2 AND closed RETURNING id
    )
    DELETE FROM m365_backup.work WHERE run IN (SELECT id FROM old)";

pub(super) const OPEN_RUN: &str = "
    INSERT INTO m365_backup.run (id, store, name, sync_check) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

pub(super) const OFFER: &str = "
    INSERT INTO m365_backup.work (run, resource, sealed)
    SELECT $1, offered.resource, offered.sealed
    FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS offered (resource, sealed, place)
    WHERE EXISTS (SELECT 1 FROM m365_backup.run WHERE id = $1 AND NOT closed)
    ORDER BY offered.place
    ON CONFLICT (run, resource) DO NOTHING";

pub(super) const SET_LISTED: &str = "UPDATE m365_backup.run SET listed = true WHERE id = $1";

/// `before` is what the claim was: it is read by the same snapshot of the database that decides.
pub(super) const CLAIM_RESOURCE: &str = "
    WITH before AS (
        SELECT worker, touched FROM m365_backup.claim WHERE store = $1 AND resource = $2
    ), taken AS (
        INSERT INTO m365_backup.claim AS claim (store, resource, token, worker, until, touched)
        VALUES ($1, $2, $3, $4, clock_timestamp() + $5::float8 * interval '1 second',
                clock_timestamp())
        ON CONFLICT (store, resource) DO UPDATE
        SET token = greatest(claim.token + 1, excluded.token), worker = excluded.worker,
            until = excluded.until, touched = excluded.touched
        WHERE claim.until IS NULL OR claim.until <= clock_timestamp()
           OR (claim.worker = $4 AND NOT $6::boolean)
        RETURNING token
    )
    SELECT token, EXISTS (
        SELECT 1 FROM before WHERE before.worker <> $4 AND before.touched >= coalesce(
            (SELECT entered FROM m365_backup.worker WHERE id = $4), '-infinity')
    ) AS moved FROM taken";

pub(super) const CLAIM_NEXT: &str = "
    WITH candidate AS (
        SELECT work.resource, work.sealed, claim.worker AS worker, claim.touched AS touched
        FROM m365_backup.work AS work
        LEFT JOIN m365_backup.claim AS claim
            ON claim.store = $1 AND claim.resource = work.resource
        WHERE work.run = $2 AND work.ended = 0
          AND (claim.until IS NULL OR claim.until <= clock_timestamp()
               OR (claim.worker = $4 AND NOT work.resource = ANY ($6::text[])))
        ORDER BY work.number
        LIMIT 1
        FOR UPDATE OF work SKIP LOCKED
    ), taken AS (
        INSERT INTO m365_backup.claim AS claim (store, resource, token, worker, until, touched)
        SELECT $1, resource, $3, $4, clock_timestamp() + $5::float8 * interval '1 second',
               clock_timestamp()
        FROM candidate
        ON CONFLICT (store, resource) DO UPDATE
        SET token = greatest(claim.token + 1, excluded.token), worker = excluded.worker,
            until = excluded.until, touched = excluded.touched
        WHERE claim.until IS NULL OR claim.until <= clock_timestamp()
           OR (claim.worker = $4 AND NOT claim.resource = ANY ($6::text[]))
        RETURNING claim.resource, claim.token
    )
    SELECT taken.resource, taken.token, candidate.sealed,
           coalesce(candidate.worker <> $4 AND candidate.touched >= coalesce(
               (SELECT entered FROM m365_backup.worker WHERE id = $4), '-infinity'), false)
           AS moved
    FROM taken JOIN candidate USING (resource)";

/// A row shows that the run was listed and that nothing of it is open, or that it is long gone.
pub(super) const CLOSE_RUN: &str = "
    WITH closed AS (
        UPDATE m365_backup.run SET closed = true
        WHERE id = $1 AND listed AND NOT EXISTS (
            SELECT 1 FROM m365_backup.work WHERE run = $1 AND ended = 0
        )
        RETURNING id
    )
    SELECT 1 AS ended WHERE EXISTS (SELECT 1 FROM closed)
        OR NOT EXISTS (SELECT 1 FROM m365_backup.run WHERE id = $1)";

pub(super) const STANDING: &str = "
    SELECT count(*) FILTER (WHERE ended = 1) AS done, count(*) FILTER (WHERE ended = 2) AS failed
    FROM m365_backup.work WHERE run = $1";

pub(super) const FIRST_EXPIRY: &str = "
    SELECT ceil(extract(epoch FROM min(claim.until) - clock_timestamp()) * 1000)::int8 AS left_ms
    FROM m365_backup.work AS work
    JOIN m365_backup.claim AS claim ON claim.store = $1 AND claim.resource = work.resource
    WHERE work.run = $2 AND work.ended = 0";

pub(super) const END_CLAIM: &str = "
    WITH held AS (
        UPDATE m365_backup.claim SET until = NULL, touched = clock_timestamp()
        WHERE store = $1 AND resource = $2 AND token = $3 AND worker = $4
        RETURNING resource
    ), ended AS (
        UPDATE m365_backup.work SET ended = $6, cause = $7
        WHERE run = $5 AND resource IN (SELECT resource FROM held) AND $6 <> 0
    )
    SELECT resource FROM held";

pub(super) const HEARTBEAT: &str = "
    WITH alive AS (
        UPDATE m365_backup.worker
        SET until = clock_timestamp() + $2::float8 * interval '1 second' WHERE id = $1
    )
    UPDATE m365_backup.claim AS claim
    SET until = clock_timestamp() + $2::float8 * interval '1 second', touched = clock_timestamp()
    FROM unnest($3::text[], $4::text[], $5::int8[]) AS kept (store, resource, token)
    WHERE claim.store = kept.store AND claim.resource = kept.resource
      AND claim.token = kept.token AND claim.worker = $1 AND claim.until IS NOT NULL
    RETURNING claim.store, claim.resource, claim.token";

pub(super) const SHARE: &str = "
    SELECT count(*) AS workers FROM m365_backup.worker AS other
    JOIN m365_backup.worker AS own ON own.id = $1
    WHERE other.budget = own.budget AND (other.until > clock_timestamp() OR other.id = $1)";
