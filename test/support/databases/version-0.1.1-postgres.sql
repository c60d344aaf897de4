CREATE TABLE agents (
    id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    name character varying(64) NOT NULL,
    description character varying(500),
    os character varying(64),
    arch character varying(64),
    version character varying(64),
    tags text NOT NULL,
    token_id character varying(36) NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    online boolean NOT NULL,
    connected_at timestamp with time zone,
    seen_at timestamp with time zone,
    stats text,
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);
CREATE TABLE audit_entries (
    id character varying(36) NOT NULL,
    at timestamp with time zone NOT NULL,
    action character varying(64) NOT NULL,
    outcome character varying(64) NOT NULL,
    user_id character varying(36),
    token_id character varying(36),
    subject_user_id character varying(36),
    container_id character varying(36),
    target_id character varying(128),
    address character varying(64),
    request_id character varying(128),
    finished_at timestamp with time zone,
    detail text
);
CREATE TABLE container_docker_ids (
    docker_id character varying(64) NOT NULL,
    short_id character varying(12) NOT NULL,
    container_id character varying(36) NOT NULL
);
CREATE TABLE containers (
    id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    name character varying(64) NOT NULL,
    image character varying(255) NOT NULL,
    role character varying(64),
    env text NOT NULL,
    memory_mb integer NOT NULL,
    cpu_shares integer NOT NULL,
    disk_mb integer NOT NULL,
    status character varying(16) NOT NULL,
    status_reason character varying(64),
    docker_id character varying(128),
    generation integer DEFAULT 0 NOT NULL,
    volume_name character varying(128) NOT NULL,
    runtime character varying(16),
    ip_address character varying(45),
    run_started_at character varying(35),
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone NOT NULL,
    operation character varying(16),
    operation_id character varying(36),
    operation_expires_at timestamp with time zone,
    operation_cancelled boolean NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    purge_at timestamp with time zone,
    purged_at timestamp with time zone,
    expiry_warned_at timestamp with time zone,
    role_status character varying(16),
    role_claim_id character varying(36),
    role_claim_expires_at timestamp with time zone,
    run_since timestamp with time zone,
    operation_holder character varying(36),
    role_claim_holder character varying(36),
    labels text DEFAULT '{}'::text NOT NULL,
    reserved_memory_mb integer DEFAULT 0 NOT NULL,
    reserved_cpu_shares integer DEFAULT 0 NOT NULL,
    network text DEFAULT '"internet"'::text NOT NULL,
    image_id character varying(80),
    image_digest character varying(80),
    auto_stop_seconds integer,
    auto_delete_seconds integer,
    idle_warned_at timestamp with time zone,
    stopped_at timestamp with time zone,
    deletion_warned_at timestamp with time zone,
    removal_pending_since timestamp with time zone,
    metered_since timestamp with time zone,
    start text,
    start_run character varying(36),
    start_due_at timestamp with time zone,
    start_failures integer DEFAULT 0 NOT NULL,
    start_ready boolean,
    node_id character varying(64),
    unreachable_since timestamp with time zone,
    other_node_id character varying(64),
    not_moved_because character varying(64),
    former_node_id character varying(64)
);
CREATE TABLE daily_usage (
    user_id character varying(36) NOT NULL,
    day timestamp with time zone NOT NULL,
    running_ms bigint NOT NULL,
    memory_mb_ms bigint NOT NULL,
    cpu_shares_ms bigint NOT NULL,
    disk_mb_ms bigint NOT NULL
);
CREATE TABLE events (
    user_id character varying(36) NOT NULL,
    seq integer NOT NULL,
    type character varying(32) NOT NULL,
    data text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE held_programs (
    id character varying(36) NOT NULL,
    kind character varying(16) NOT NULL,
    container_id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    docker_id character varying(128) NOT NULL,
    run_as character varying(255),
    program character varying(255) NOT NULL,
    holder character varying(36) NOT NULL,
    started_at timestamp with time zone NOT NULL
);
CREATE TABLE idempotency_keys (
    user_id character varying(36) NOT NULL,
    key character varying(255) NOT NULL,
    request_hash character varying(64) NOT NULL,
    answer text NOT NULL,
    container_id character varying(36) NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE images (
    docker_id character varying(64) NOT NULL,
    reference character varying(350) NOT NULL,
    image_id character varying(80) NOT NULL,
    brought boolean NOT NULL,
    previous_id character varying(80),
    checked_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone NOT NULL
);
CREATE TABLE migrations (
    id integer NOT NULL,
    "timestamp" bigint NOT NULL,
    name character varying NOT NULL
);
CREATE SEQUENCE migrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE migrations_id_seq OWNED BY migrations.id;
CREATE TABLE nodes (
    id character varying(64) NOT NULL,
    name character varying(255) NOT NULL,
    address character varying(255) NOT NULL,
    pool character varying(64) NOT NULL,
    labels text NOT NULL,
    state character varying(16) NOT NULL,
    availability character varying(16) NOT NULL,
    is_manager boolean NOT NULL,
    memory_mb integer,
    cpu_shares integer,
    problem text,
    reachable_at timestamp with time zone,
    forgotten_at timestamp with time zone,
    emptied_since timestamp with time zone,
    version integer DEFAULT 0 NOT NULL,
    silent_since timestamp with time zone,
    avoided_until timestamp with time zone,
    avoided_because character varying(64),
    faults integer DEFAULT 0 NOT NULL
);
CREATE TABLE placement (
    id integer NOT NULL
);
CREATE TABLE reserved_capacity (
    node character varying(64) NOT NULL,
    memory_mb integer NOT NULL,
    cpu_shares integer NOT NULL,
    is_open boolean DEFAULT true NOT NULL
);
CREATE TABLE settings (
    key character varying(64) NOT NULL,
    value character varying(255) NOT NULL
);
CREATE TABLE sign_in_codes (
    hash character varying(64) NOT NULL,
    token_id character varying(36) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE tokens (
    id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    name character varying(64) NOT NULL,
    hash character varying(64) NOT NULL,
    prefix character varying(12) NOT NULL,
    scopes text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    agent_id character varying(36)
);
CREATE TABLE users (
    id character varying(36) NOT NULL,
    username character varying(64) NOT NULL,
    tier character varying(32) NOT NULL,
    event_seq integer DEFAULT 0 NOT NULL,
    session_expires_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    suspended_at timestamp with time zone,
    deleted_at timestamp with time zone
);
ALTER TABLE ONLY migrations ALTER COLUMN id SET DEFAULT nextval('migrations_id_seq'::regclass);
INSERT INTO container_docker_ids VALUES ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'aaaaaaaaaaaa', 'b1f5c9e2-0000-4000-8000-000000000003');
INSERT INTO containers VALUES ('b1f5c9e2-0000-4000-8000-000000000003', 'b1f5c9e2-0000-4000-8000-000000000001', 'dev', 'ubuntu:24.04', NULL, '{}', 1024, 1000, 10240, 'running', NULL, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0, 'berth-b1f5c9e2-0000-4000-8000-000000000003', NULL, NULL, NULL, NULL, '2026-11-01 08:01:00+00', NULL, NULL, NULL, false, 0, '2026-11-01 08:01:00+00', '2026-11-01 08:01:00+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', 1024, 1000, '"internet"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO events VALUES ('b1f5c9e2-0000-4000-8000-000000000001', 1, 'container_started', '{"db_id":"b1f5c9e2-0000-4000-8000-000000000003"}', '2026-11-01 08:01:00+00');
INSERT INTO migrations VALUES (1, 1764000000000, 'InitialSchema1764000000000');
INSERT INTO migrations VALUES (2, 1764100000000, 'SessionsAndRoles1764100000000');
INSERT INTO migrations VALUES (3, 1764100001000, 'Agents1764100001000');
INSERT INTO migrations VALUES (4, 1764100002000, 'IdempotencyKeys1764100002000');
INSERT INTO migrations VALUES (5, 1764100003000, 'Runs1764100003000');
INSERT INTO migrations VALUES (6, 1764100009000, 'Audit1764100009000');
INSERT INTO migrations VALUES (7, 1764200002000, 'ClaimHolders1764200002000');
INSERT INTO migrations VALUES (8, 1764200004000, 'Labels1764200004000');
INSERT INTO migrations VALUES (9, 1764300001000, 'ReservedCapacity1764300001000');
INSERT INTO migrations VALUES (10, 1764300002000, 'NetworkPolicies1764300002000');
INSERT INTO migrations VALUES (11, 1764300010000, 'Images1764300010000');
INSERT INTO migrations VALUES (12, 1764300020000, 'AbandonedContainers1764300020000');
INSERT INTO migrations VALUES (13, 1764300030000, 'PendingRemovals1764300030000');
INSERT INTO migrations VALUES (14, 1764300040000, 'SuspendedUsers1764300040000');
INSERT INTO migrations VALUES (15, 1764300050000, 'Usage1764300050000');
INSERT INTO migrations VALUES (16, 1764300065000, 'ExecScope1764300065000');
INSERT INTO migrations VALUES (17, 1764300070000, 'HeldPrograms1764300070000');
INSERT INTO migrations VALUES (18, 1764300080000, 'StartCommands1764300080000');
INSERT INTO migrations VALUES (19, 1764300090000, 'AuditDetail1764300090000');
INSERT INTO migrations VALUES (20, 1764400000000, 'NodesOfContainers1764400000000');
INSERT INTO migrations VALUES (21, 1764400010000, 'Nodes1764400010000');
INSERT INTO migrations VALUES (22, 1764600000000, 'SignInCodes1764600000000');
INSERT INTO migrations VALUES (23, 1764700000000, 'Moves1764700000000');
INSERT INTO migrations VALUES (24, 1764710000000, 'NodeVersions1764710000000');
INSERT INTO migrations VALUES (25, 1764720000000, 'SilentNodes1764720000000');
INSERT INTO migrations VALUES (26, 1764730000000, 'OpenNodes1764730000000');
INSERT INTO migrations VALUES (27, 1764740000000, 'NamesInAnyCase1764740000000');
INSERT INTO migrations VALUES (28, 1764750001000, 'SickNodes1764750001000');
INSERT INTO migrations VALUES (29, 1764750002000, 'FormerNodes1764750002000');
INSERT INTO placement VALUES (1);
INSERT INTO reserved_capacity VALUES ('local', 1024, 1000, true);
INSERT INTO tokens VALUES ('b1f5c9e2-0000-4000-8000-000000000002', 'b1f5c9e2-0000-4000-8000-000000000001', 'laptop', '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'berth_012345', '["read","write","exec"]', '2026-11-01 08:00:00+00', NULL, NULL, NULL);
INSERT INTO users VALUES ('b1f5c9e2-0000-4000-8000-000000000001', 'ada', 'pro', 1, NULL, '2026-11-01 08:00:00+00', NULL, NULL);
SELECT pg_catalog.setval('migrations_id_seq', 29, true);
ALTER TABLE ONLY images
    ADD CONSTRAINT "PK_036ac88ea1d0565aea306442ca2" PRIMARY KEY (docker_id, reference, image_id);
ALTER TABLE ONLY events
    ADD CONSTRAINT "PK_19b2f2a782ff9dba25bd9682961" PRIMARY KEY (user_id, seq);
ALTER TABLE ONLY containers
    ADD CONSTRAINT "PK_21cbac3e68f7b1cf53d39cda70c" PRIMARY KEY (id);
ALTER TABLE ONLY tokens
    ADD CONSTRAINT "PK_3001e89ada36263dabf1fb6210a" PRIMARY KEY (id);
ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT "PK_392b1af86f210d98d3f0c764728" PRIMARY KEY (user_id, key);
ALTER TABLE ONLY sign_in_codes
    ADD CONSTRAINT "PK_4bed0e90c262f9917ae1f8cdf30" PRIMARY KEY (hash);
ALTER TABLE ONLY placement
    ADD CONSTRAINT "PK_4f8b29ee2db5213bcb38b6c71c4" PRIMARY KEY (id);
ALTER TABLE ONLY nodes
    ADD CONSTRAINT "PK_682d6427523a0fa43d062ea03ee" PRIMARY KEY (id);
ALTER TABLE ONLY audit_entries
    ADD CONSTRAINT "PK_6b1623bcad4d04530b76548d619" PRIMARY KEY (id);
ALTER TABLE ONLY migrations
    ADD CONSTRAINT "PK_8c82d7f526340ab734260ea46be" PRIMARY KEY (id);
ALTER TABLE ONLY agents
    ADD CONSTRAINT "PK_9c653f28ae19c5884d5baf6a1d9" PRIMARY KEY (id);
ALTER TABLE ONLY users
    ADD CONSTRAINT "PK_a3ffb1c0c8416b9fc6f907b7433" PRIMARY KEY (id);
ALTER TABLE ONLY daily_usage
    ADD CONSTRAINT "PK_b16d5f1c873788e2e5a51949b33" PRIMARY KEY (user_id, day);
ALTER TABLE ONLY settings
    ADD CONSTRAINT "PK_c8639b7626fa94ba8265628f214" PRIMARY KEY (key);
ALTER TABLE ONLY container_docker_ids
    ADD CONSTRAINT "PK_cd0c5857e7ddcba7f9224925d12" PRIMARY KEY (docker_id);
ALTER TABLE ONLY reserved_capacity
    ADD CONSTRAINT "PK_e2d096fc43babb83449e3af237e" PRIMARY KEY (node);
ALTER TABLE ONLY held_programs
    ADD CONSTRAINT "PK_ec01ad7911ec9ddca609f9a4556" PRIMARY KEY (id);
ALTER TABLE ONLY tokens
    ADD CONSTRAINT "UQ_4b52f52d067ed65de68ca7eff31" UNIQUE (hash);
ALTER TABLE ONLY users
    ADD CONSTRAINT "UQ_fe0bb3f6520ee0469504521e710" UNIQUE (username);
CREATE UNIQUE INDEX agents_live_name ON agents USING btree (user_id, name) WHERE (deleted_at IS NULL);
CREATE INDEX agents_silent ON agents USING btree (seen_at) WHERE (online = true);
CREATE INDEX audit_entries_at ON audit_entries USING btree (at);
CREATE INDEX audit_entries_container_id ON audit_entries USING btree (container_id, at);
CREATE INDEX audit_entries_subject_user_id ON audit_entries USING btree (subject_user_id, at);
CREATE INDEX audit_entries_user_id ON audit_entries USING btree (user_id, at);
CREATE INDEX container_docker_ids_container_id ON container_docker_ids USING btree (container_id);
CREATE INDEX container_docker_ids_short_id ON container_docker_ids USING btree (short_id);
CREATE INDEX containers_claimed ON containers USING btree (operation) WHERE (operation IS NOT NULL);
CREATE INDEX containers_expires_at ON containers USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX containers_former_node ON containers USING btree (former_node_id) WHERE (former_node_id IS NOT NULL);
CREATE UNIQUE INDEX containers_live_name ON containers USING btree (user_id, name) WHERE (deleted_at IS NULL);
CREATE INDEX containers_metered ON containers USING btree (user_id, metered_since) WHERE (metered_since IS NOT NULL);
CREATE INDEX containers_node ON containers USING btree (node_id) WHERE (node_id IS NOT NULL);
CREATE INDEX containers_other_node ON containers USING btree (other_node_id) WHERE (other_node_id IS NOT NULL);
CREATE INDEX containers_pending_removal ON containers USING btree (removal_pending_since) WHERE (removal_pending_since IS NOT NULL);
CREATE INDEX containers_reserving ON containers USING btree (id) WHERE (reserved_memory_mb > 0);
CREATE INDEX containers_role_claimed ON containers USING btree (role_claim_id) WHERE (role_claim_id IS NOT NULL);
CREATE INDEX containers_running ON containers USING btree (last_used_at) WHERE (((status)::text = 'running'::text) AND (deleted_at IS NULL));
CREATE INDEX containers_start_due ON containers USING btree (start_due_at) WHERE (start_due_at IS NOT NULL);
CREATE INDEX containers_stopped ON containers USING btree (stopped_at) WHERE ((stopped_at IS NOT NULL) AND (deleted_at IS NULL));
CREATE INDEX daily_usage_day ON daily_usage USING btree (day);
CREATE INDEX events_created_at ON events USING btree (created_at);
CREATE INDEX held_programs_container ON held_programs USING btree (container_id, kind);
CREATE INDEX held_programs_holder ON held_programs USING btree (holder);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING btree (created_at);
CREATE INDEX images_used_at ON images USING btree (used_at);
CREATE INDEX sign_in_codes_expires_at ON sign_in_codes USING btree (expires_at);
CREATE INDEX tokens_user_id ON tokens USING btree (user_id);
CREATE INDEX users_suspended ON users USING btree (suspended_at) WHERE (suspended_at IS NOT NULL);
CREATE UNIQUE INDEX users_username_lower ON users USING btree (lower(((username)::text COLLATE "C")));
